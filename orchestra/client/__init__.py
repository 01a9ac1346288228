"""What a program inside a run imports: `from orchestra.client import attach, log, ready`.

The same names come from the one file `orchestra_client.py`, which every child of a run can import with any Python,
also one in which orchestra is not installed: its folder is on the PYTHONPATH we set. There lies `orchestra.h` too.
"""

from __future__ import annotations

from orchestra.client.lib.orchestra_client import (
    Message,
    NotInRun,
    Pipe,
    Queue,
    Run,
    Semaphore,
    attach,
    log,
    notify,
    ready,
)

__all__ = ["Message", "NotInRun", "Pipe", "Queue", "Run", "Semaphore", "attach", "log", "notify", "ready"]
