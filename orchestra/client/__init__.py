"""What a program inside a run imports."""
