"""Log records: catalogue, capture, store, query."""
