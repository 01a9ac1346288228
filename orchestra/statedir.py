"""Where state lives: the ledger, the folders of runs, locks and sockets. The one place that knows these paths.

State directory (0700, it holds environment values): `$ORCHESTRA_HOME`, else `$XDG_STATE_HOME/orchestra`, else
`~/.local/state/orchestra`. Sockets: `$ORCHESTRA_HOME/run`, else `$XDG_RUNTIME_DIR/orchestra`, else
`/tmp/orchestra-<uid>`. Locks lie beside the ledger, not beside the sockets: two shells of one user that differ in
XDG_RUNTIME_DIR must still agree on what is live.
"""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from orchestra.errors import StateError

SOCKET_PATH_MAX = 100  # sun_path holds 108 bytes; keep room for a suffix
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"  # 32 letters, none that is read as another


def new_token(length: int = 8) -> str:
    """Return a random word for run ids and nonces: 5 bits a letter, unique enough to prove origin."""
    return "".join(_ALPHABET[byte & 31] for byte in os.urandom(length))  # `secrets` loads OpenSSL


class StateDir(NamedTuple):
    """The paths of one user's state on this host."""

    home: Path
    runtime: Path

    @classmethod
    def locate(cls, environment: Mapping[str, str] | None = None) -> StateDir:
        """Work out both folders from the environment; relative XDG values are ignored, as the XDG rules say."""
        env = os.environ if environment is None else environment
        own = env.get("ORCHESTRA_HOME", "")
        if own:
            home = _absolute(own)
            return cls(home, home / "run")
        state = env.get("XDG_STATE_HOME", "")
        base = Path(state) if state.startswith("/") else _user_home(env) / ".local" / "state"
        runtime = env.get("XDG_RUNTIME_DIR", "")
        sockets = (
            Path(runtime) / "orchestra" if runtime.startswith("/") else Path(f"/tmp/orchestra-{os.getuid()}")  # noqa: S108 owner and mode are checked
        )
        return cls(_readable(base / "orchestra"), sockets)

    @property
    def ledger(self) -> Path:
        """The SQLite file of this host."""
        return self.home / "ledger.db"

    def run_folder(self, run: str) -> Path:
        """Folder of one run: plan.json, log.jsonl, derived FIFOs."""
        return self.home / "runs" / run

    def log(self, run: str) -> Path:
        """The log of one run."""
        return self.run_folder(run) / "log.jsonl"

    def lock(self, instance: str) -> Path:
        """The file whose flock says that an instance is live. Never removed: that would split the lock in two."""
        return self.home / "locks" / f"{instance}.lock"

    def socket(self, instance: str) -> Path:
        """Control socket of an instance; hashed when the path would not fit sun_path."""
        path = self.runtime / f"{instance}.sock"
        if len(os.fsencode(path)) <= SOCKET_PATH_MAX:
            return path
        import hashlib

        digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
        return Path(f"/tmp/orchestra-{os.getuid()}") / f"{digest}.sock"  # noqa: S108

    def create(self) -> None:
        """Make the folders, 0700. Raises StateError when one is not ours, not private or not writable."""
        if not os.path.exists(self.ledger):  # also where others' folders may not be looked into
            _refuse_shared(self.home)
        for folder in (self.home, self.home / "runs", self.home / "locks", self.runtime):
            private_folder(folder)

    def create_run(self, run: str) -> Path:
        """Make the folder of a new run."""
        folder = self.run_folder(run)
        try:
            folder.mkdir(mode=0o700)
        except OSError as err:
            raise _unusable(folder, err) from err
        return folder


def is_text(text: str) -> bool:
    """Whether a path or a word from outside is valid UTF-8, as JSON, SQLite and a terminal need it."""
    try:
        text.encode()
    except UnicodeEncodeError:  # bytes that are none are surrogates in Python: PEP 383
        return False
    return True


def _absolute(own: str) -> Path:
    try:
        return _readable(Path(os.path.abspath(own)))
    except OSError as err:  # it counts from the current folder, and that was removed
        raise StateError(
            f"the state folder {own} cannot be found: {err.strerror}", hint="Set ORCHESTRA_HOME to an absolute path."
        ) from err


def _readable(home: Path) -> Path:
    if not is_text(str(home)):
        raise StateError(f"the path of the state folder is not UTF-8: {home}", hint="Set ORCHESTRA_HOME to another.")
    return home


def _refuse_shared(home: Path) -> None:
    """Refuse a folder that others can enter and that holds things of theirs: it would be closed to them.

    Raises StateError; whatever else may be wrong with the folder is for `private_folder` to say.
    """
    try:
        shared = stat.S_IMODE(home.stat().st_mode) & 0o077 and os.listdir(home)
    except OSError:
        return
    if shared:
        raise StateError(
            f"{home} cannot be made private: it holds other files, and others may enter it",
            hint=f"Set ORCHESTRA_HOME to a folder of its own, such as {home / 'orchestra'}",
        )


def private_folder(folder: Path) -> None:
    """Make `folder` and its parents; refuse one that others own or can enter. Raises StateError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = os.lstat(folder)
    except (FileExistsError, NotADirectoryError) as err:
        there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
        raise StateError(
            f"{there} is not a folder", hint="Move it away, or set ORCHESTRA_HOME to another place."
        ) from err
    except OSError as err:
        raise _unusable(folder, err) from err
    if not stat.S_ISDIR(info.st_mode):
        raise StateError(f"{folder} is not a folder", hint="Move it away, or set ORCHESTRA_HOME to another place.")
    if info.st_uid != os.getuid():
        raise StateError(
            f"{folder} belongs to uid {info.st_uid}, not to you",
            hint="Somebody else made it. Set ORCHESTRA_HOME to a folder of your own.",
        )
    if info.st_mode & 0o077:
        os.chmod(folder, 0o700)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StateError(f"{folder} cannot be written to", hint="Set ORCHESTRA_HOME to a folder you can write to.")


def take_lock(path: Path, *, tries: int = 20) -> int | None:
    """Take the exclusive flock of an instance; return its descriptor, or None when somebody holds it.

    A `ps` that looks (see `is_locked`) holds a shared lock for microseconds, hence the few tries.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as err:
        raise _unusable(path, err) from err
    for left in range(tries, 0, -1):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if left > 1:
                time.sleep(0.01)
        else:
            return fd
    os.close(fd)
    return None


def is_locked(path: Path) -> bool:
    """Whether some process holds the lock of an instance now."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as err:
        raise _unusable(path, err) from err
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def wait_until_free(path: Path) -> None:
    """Wait until no process holds the lock of an instance. Blocks: for a thread that has nothing else to do."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)  # at once: `take_lock` is patient with that


def _user_home(env: Mapping[str, str]) -> Path:
    home = env.get("HOME", "")
    if home.startswith("/"):
        return Path(home)
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return Path("/nonexistent")


def _unusable(path: Path, err: OSError) -> StateError:
    name = errno.errorcode.get(err.errno or 0, "?")
    hint = "Set ORCHESTRA_HOME to a folder you can write to."
    if err.errno == errno.ENOSPC:
        hint = "The disk is full. Free some space, or set ORCHESTRA_HOME to another file system."
    return StateError(f"cannot use the state folder {path}: {err.strerror}", detail=f"{path} -> {name}", hint=hint)
