"""orchestra: processes and kernel IPC objects, declared in one file, run, watched and torn down."""

__version__ = "0.1.0"
