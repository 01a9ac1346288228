"""Following a log until its run has ended: every wait is for the kernel to tell, an idle run costs nothing.

Three things wake it: the log grew (inotify), the run's supervisor is gone (the lock of its instance came free), and
nobody reads the answer any more. A run says itself when it ends, `run.ended`; the lock tells of those that could not.
"""

from __future__ import annotations

import errno
import os
import select
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from orchestra.cli.exits import closed_output, has_reader, tell
from orchestra.errors import NotFound
from orchestra.kernel.changes import Changes
from orchestra.logs.follow import Follower
from orchestra.logs.records import record_of, split
from orchestra.statedir import wait_until_free

_UNTOLD = 250  # ms between two looks where this user may have no more of what tells of changes
_LIMITS = (errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.ENOMEM)
_LAST_EVENT = b'"event":"run.ended"'


class Ended:
    """How following ended. `told`: the run said so itself; `code`: the exit status."""

    def __init__(self, *, told: bool, code: int = 0) -> None:
        self.told = told
        self.code = code


def follow(follower: Follower, lock: Path, run: str, show: Callable[[bytes], None]) -> Ended:
    """Pass on what is appended to the log of a live run, until that has ended or nobody reads stdout any more.

    `show` gets whole lines. Raises NotFound without the run's folder, OSError when the log cannot be read, and what
    `show` raises.
    """
    watch = _Watch(follower, lock, run, show)
    try:
        return watch.until_over()
    finally:
        watch.close()


class _Watch:
    def __init__(self, follower: Follower, lock: Path, run: str, show: Callable[[bytes], None]) -> None:
        self._follower, self._run, self._show = follower, run, show
        self._watched = 0  # which of the follower's files
        self._changes = _changes_in(follower.path)
        self._poll = select.poll()
        self._over = _tell_when_free(lock)
        self._poll.register(self._over, select.POLLIN)
        if has_reader(sys.stdout):
            self._poll.register(sys.stdout.fileno(), 0)  # tells only when the reader has left
        if self._changes is not None:
            self._poll.register(self._changes.fileno(), select.POLLIN)

    def close(self) -> None:
        os.close(self._over)
        if self._changes is not None:
            self._changes.close()

    def until_over(self) -> Ended:
        while True:
            if self._read():
                return Ended(told=True)
            for fd, _ in self._poll.poll(None if self._changes is not None else _UNTOLD):
                if self._changes is not None and fd == self._changes.fileno():
                    self._changes.take()
                elif fd == self._over:
                    return Ended(told=self._read())  # what was written last
                else:
                    return Ended(told=False, code=closed_output())

    def _read(self) -> bool:
        """Pass on all there is; return whether the run's last event is in it."""
        while True:
            lines = self._follower.read()
            if missed := self._follower.missed:
                self._follower.missed = 0
                tell(words_of_dropped(missed))
            if lines:
                self._show(lines)
                if _LAST_EVENT in lines and any(map(self._is_last, split(lines))):
                    return True
            elif self._follower.files == self._watched:
                return False
            else:  # watch the file it has come to, then look whether it grew before that
                self._watched = self._follower.files
                self._watch_file()

    def _watch_file(self) -> None:
        if self._changes is None:
            return
        try:
            self._changes.watch(self._follower.file)
        except OSError as err:
            if err.errno not in _LIMITS:
                raise
            self._poll.unregister(self._changes.fileno())
            self._changes.close()
            self._changes = None

    def _is_last(self, line: bytes) -> bool:
        record = record_of(line) if _LAST_EVENT in line else None
        return record is not None and record.get("event") == "run.ended" and record.get("run") == self._run


def words_of_dropped(files: int) -> str:
    """Return what to say when the rotation was faster than the reader."""
    what = "a file of the log was" if files == 1 else f"{files} files of the log were"
    return f"lines are missing here: {what} dropped before being read\nhelp: Raise `keep` of `log: {{rotate: …}}`."


def _tell_when_free(lock: Path) -> int:
    """Return a descriptor that is readable once nobody holds a lock. A thread waits for it: flock(2) has no other way.

    Nobody waits for the thread.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)

    def wait() -> None:
        try:
            wait_until_free(lock)
        finally:
            os.close(writer)

    threading.Thread(target=wait, daemon=True).start()
    return reader


def _changes_in(path: str) -> Changes | None:
    try:
        return Changes(os.path.dirname(path))
    except FileNotFoundError as err:
        raise NotFound(f"the folder of the run is gone, and the log with it: {os.path.dirname(path)}") from err
    except OSError as err:
        if err.errno not in _LIMITS:
            raise
        return None
