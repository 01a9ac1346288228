"""Line buffering for programs that were not written to ask for it, through the environment.

The C library decides by itself: lines on a terminal, blocks of 4 KiB on a pipe. The library that stdbuf(1) preloads
changes that for programs that use stdio and are linked dynamically; Python has a variable of its own. What buffers in
another way (Go, Rust, Java, static programs) is not reached.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache

LIBRARY = "libstdbuf.so"
_FOLDERS = ("/usr/libexec/coreutils", "/usr/lib/coreutils", "/usr/lib64/coreutils", "/usr/local/libexec/coreutils")


@cache
def find_library() -> str | None:
    """Return the path of stdbuf's library on this host, None where it is not installed."""
    folders = list(_FOLDERS)
    import shutil  # loads three compressors

    program = shutil.which("stdbuf")
    if program is not None:  # a prefix of its own: Nix, Homebrew, /opt
        folders.append(os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(program))), "libexec/coreutils"))
    return next((path for folder in folders if os.path.isfile(path := os.path.join(folder, LIBRARY))), None)


def by_lines(environment: Mapping[str, str], library: str | None) -> dict[str, str]:
    """Return what to change in `environment` so that stdout is written line by line. What is declared there stays."""
    changes = {} if "PYTHONUNBUFFERED" in environment else {"PYTHONUNBUFFERED": "1"}
    if library is not None:
        loaded = environment.get("LD_PRELOAD", "")
        changes["LD_PRELOAD"] = f"{library}:{loaded}" if loaded else library
        changes["_STDBUF_O"] = "L"
    return changes
