"""Other worlds to test in: another user in a forked child, and private namespaces in a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestra.kernel.registry import all_adapters

NOBODY = 65534
ROOT = Path(__file__).parents[2]
all_adapters()  # loads their modules now: after a change of user the files may be out of reach


def in_child(function: Callable[[], Any], *, as_nobody: bool = False) -> Any:
    """Run a function in a forked child, without privileges if asked; return its JSON-ready answer.

    A child that fails fails the test with its own traceback.
    """
    import posix_ipc  # noqa: F401 loaded before the change of user
    import sysv_ipc  # noqa: F401

    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside the thread that guards the time limit
        pid = os.fork()
    if pid == 0:
        answer = {"failed": "the child could not even start"}
        try:
            os.close(reading)
            if as_nobody and os.getuid() == 0:
                os.setgroups([])
                os.setresgid(NOBODY, NOBODY, NOBODY)
                os.setresuid(NOBODY, NOBODY, NOBODY)
            answer = {"value": function()}
        except BaseException:
            answer = {"failed": traceback.format_exc()}
        finally:
            with os.fdopen(writing, "w") as pipe:
                json.dump(answer, pipe)
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    answer = json.loads(text)
    if "failed" in answer:
        pytest.fail(answer["failed"])
    return answer["value"]


@contextmanager
def holding(hold: Callable[[], Any], *, blocks: bool = False) -> Iterator[int]:
    """Run `hold` in a forked child that then keeps what it has; yields its pid once it does.

    With `blocks` the call itself never returns: the child counts as ready when the kernel shows it asleep.
    """
    reading, writing = os.pipe()
    ending, keep = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        try:
            os.close(keep)
            if blocks:
                os.write(writing, b"x")
            kept = hold()
            os.write(writing, b"x")
            os.read(ending, 1)
            del kept
        finally:
            os._exit(0)
    os.close(writing)
    os.close(ending)
    try:
        assert os.read(reading, 1) == b"x", "the holder could not hold"
        yield pid
    finally:
        os.close(keep)
        if blocks:
            os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(reading)


def in_world(function: str, setup: str, *, new_ipc: bool = True, wrap: Sequence[str] = ()) -> Any:
    """Run a function of `tests.conformance.inner` after `setup` (shell) in private mount and IPC namespaces.

    Skips the test, with the reason, where such namespaces may not be made.
    """
    spaces = [*(["-i"] if new_ipc else []), "-m", "--propagation", "private"]
    if os.getuid() != 0:
        spaces = ["-U", "-r", *spaces]
    command = ["unshare", *spaces, "sh", "-ec", f'{setup}; exec "$@"', "world", *wrap]
    done = subprocess.run(
        [*command, sys.executable, "-m", "tests.conformance.inner", function],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    if done.returncode and any(words in done.stderr for words in ("unshare:", "mount:", "ermission", "permitted")):
        pytest.skip(f"private namespaces cannot be had here: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
