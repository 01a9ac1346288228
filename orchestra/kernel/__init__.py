"""The only folder with system calls on IPC objects. Returns or raises, never logs."""
