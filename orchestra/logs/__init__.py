"""The log of a run: what children wrote and what happened to them, one JSON object a line.

`catalogue` names every event, `encode` and `capture` make lines, `sink` appends them to the file, `query` reads
them back, `render` shows them on a terminal, `pipeline` lets commands log the same way through structlog.
The supervisor loads the first four, so those need nothing but a few small modules of the standard library.
"""
