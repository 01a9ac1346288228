"""The record of what runs made: rows in SQLite. Knows no kernel."""
