"""Open the ledger's file and turn every error of SQLite into a LedgerError with words.

Write-ahead log with `synchronous=NORMAL`: a commit survives SIGKILL of the process, which is what the ledger is
about, and costs microseconds. A power cut may take the last rows; the objects they describe are gone with it.
The write-ahead log needs shared memory between its users, so a network file system gets `journal_mode=TRUNCATE`.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from orchestra.errors import LedgerError

BUSY_SECONDS = 5.0
NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "glusterfs", "fuse.glusterfs", "fuse.sshfs", "9p"}
)

_ELSEWHERE = "set ORCHESTRA_HOME to another folder."
_DAMAGED = (
    "Nothing was changed. Try `sqlite3 {path} .recover`, or move the file away to start a new one: what it knew about "
    "objects left behind is then lost, so look at the host first (ipcs, ls /dev/shm)."
)
# Primary result codes (sqlite.org/rescode.html): problem, hint. `{path}` is the file, `{folder}` its folder.
_WORDS: dict[int, tuple[str, str]] = {
    sqlite3.SQLITE_BUSY: (
        "the ledger {path} is busy",
        f"Another orchestra command held it for more than {BUSY_SECONDS:g} s; try again.",
    ),
    sqlite3.SQLITE_LOCKED: ("the ledger {path} is busy", "Another orchestra command holds it; try again."),
    sqlite3.SQLITE_READONLY: (
        "the ledger {path} cannot be written to",
        "Check that the file and its folder {folder} are writable for you, or " + _ELSEWHERE,
    ),
    sqlite3.SQLITE_PERM: ("the ledger {path} may not be used by you", "Check its owner and mode, or " + _ELSEWHERE),
    sqlite3.SQLITE_CANTOPEN: (
        "the ledger {path} cannot be opened",
        "Check that its folder {folder} exists and is writable for you, or " + _ELSEWHERE,
    ),
    sqlite3.SQLITE_FULL: (
        "no space is left for the ledger {path}",
        "Free some space on its file system (df -h {folder}), or " + _ELSEWHERE,
    ),
    sqlite3.SQLITE_IOERR: (
        "the ledger {path} cannot be read or written",
        "The file system reported an error: check free space (df -h {folder}) and the disk, or " + _ELSEWHERE,
    ),
    sqlite3.SQLITE_CORRUPT: (
        "the ledger {path} is damaged",
        _DAMAGED,
    ),
    sqlite3.SQLITE_NOTADB: (
        "{path} is not a ledger",
        _DAMAGED,
    ),
}


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn sqlite3 errors inside the block into LedgerError; the original stays as `__cause__`."""
    try:
        yield
    except UnicodeEncodeError as err:
        problem = f"the ledger {path} holds text, and this is not UTF-8: {err.object!r}"
        raise LedgerError(problem, hint="Rename the file or the folder.") from err
    except sqlite3.Error as err:
        raise _translate(err, path) from err


def _translate(err: sqlite3.Error, path: Path) -> LedgerError:
    code = int(getattr(err, "sqlite_errorcode", 0) or 0) & 0xFF
    problem, hint = _WORDS.get(code, ("the ledger {path} could not be used", ""))
    name = getattr(err, "sqlite_errorname", None) or type(err).__name__
    return LedgerError(
        problem.format(path=path),
        detail=f"{name}: {err}",
        hint=hint.format(path=path, folder=path.parent),
    )


def connect(path: Path, *, file_system: Callable[[Path], str]) -> sqlite3.Connection:
    """Open or make the file, private to this user, and set the modes. Raises LedgerError."""
    _make_private(path)
    with translated(path):
        # isolation_level None: transactions begin where we say so.
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=True)
        try:
            _set_journal(connection, "truncate" if file_system(path.parent) in NETWORK_FILE_SYSTEMS else "wal")
            connection.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            connection.close()
            raise
    return connection


def is_there(path: Path) -> bool:
    """Whether there is a file at all. Raises LedgerError where that may not be looked at."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as err:
        raise LedgerError(
            f"the ledger {path} cannot be looked at: {err.strerror}", hint="Check its folder, or " + _ELSEWHERE
        ) from err
    return True


def in_memory() -> sqlite3.Connection:
    """An empty ledger that no file stands behind."""
    return sqlite3.connect(":memory:", isolation_level=None)


def _make_private(path: Path) -> None:
    # Only when absent: opening and closing the file of a ledger that this process already uses would drop
    # SQLite's fcntl locks (sqlite.org/howtocorrupt.html, 2.2). The -wal and -shm files inherit this mode.
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        pass
    except OSError as err:
        raise LedgerError(
            f"the ledger {path} cannot be made: {err.strerror}",
            detail=f"open({path}) -> {err.errno}",
            hint="Check its folder, or " + _ELSEWHERE,
        ) from err


def _set_journal(connection: sqlite3.Connection, wanted: str) -> None:
    # The busy timeout does not cover a change of the journal mode, so two first openers may collide.
    deadline = time.monotonic() + BUSY_SECONDS
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != wanted:
        try:
            connection.execute(f"PRAGMA journal_mode = {wanted}")
        except sqlite3.OperationalError as err:
            busy = (err.sqlite_errorcode & 0xFF) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        else:
            return  # "wal" is not granted everywhere (in memory, some file systems): then what SQLite chose stays


def file_system_of(folder: Path, *, mountinfo: Path = Path("/proc/self/mountinfo")) -> str:
    """Return the file system type that holds `folder` ("ext4", "nfs4"), or "" when it cannot be told.

    Source: proc_pid_mountinfo(5): field 3 is major:minor of st_dev, the type is the first field after " - ".
    """
    try:
        device = os.stat(folder).st_dev
        text = mountinfo.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in text.splitlines():
        fields, _, rest = line.partition(" - ")
        if fields.split(" ", 3)[2:3] == [number]:
            return rest.split(" ", 1)[0]
    return ""
