"""Where the files lie that programs of a run import and include.

Not in `orchestra.client`: asking it would load the library itself, and ctypes, into every command that starts a run.
"""

from __future__ import annotations

from pathlib import Path

import orchestra


def library_folder() -> Path:
    """Return the folder that holds `orchestra_client.py`, and nothing else that Python could import by accident."""
    return Path(orchestra.__file__).resolve().parent / "client" / "lib"


def include_folder() -> Path:
    """Return the folder that holds `orchestra.h`."""
    return library_folder()
