"""Facts about files and users of this host, for the pure checks of a topology. Nothing here raises."""

from __future__ import annotations

import grp
import importlib.util
import os
import pwd
import stat
from importlib.machinery import PathFinder

from orchestra.kinds import Account


class RealHost:
    """Answers from the file system and the user database; see `orchestra.topology.host.HostFacts`."""

    def kind_of(self, path: str) -> str | None:
        """Return "file", "directory" or "other"; None when there is nothing, or when it cannot be told."""
        found = _stat(path)
        if found is None:
            return None
        if stat.S_ISREG(found.st_mode):
            return "file"
        return "directory" if stat.S_ISDIR(found.st_mode) else "other"

    def is_executable(self, path: str) -> bool:
        """Whether we may execute a file, or enter a folder."""
        return _access(path, os.X_OK)

    def is_readable(self, path: str) -> bool:
        """Whether we may read a file."""
        return _access(path, os.R_OK)

    def is_writable(self, path: str) -> bool:
        """Whether we may write to a file, or make files in a folder."""
        return _access(path, os.W_OK)

    def size_of(self, path: str) -> int | None:
        """Return the size of a file in bytes."""
        found = _stat(path)
        return None if found is None else found.st_size

    def head(self, path: str, count: int) -> bytes | None:
        """Return the first bytes of a regular file; a FIFO or a device would block or answer differently each time."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, ValueError):
            return None
        try:
            return os.read(fd, count) if stat.S_ISREG(os.fstat(fd).st_mode) else None
        except OSError:
            return None
        finally:
            os.close(fd)

    def ftok(self, path: str, project: int) -> int | None:
        """Return the System V key that ftok(3) makes, unsigned; None when the file is missing.

        Source: glibc sysvipc/ftok.c: the low 16 bits of the inode, the low 8 of the device, the low 8 of the project.
        """
        found = _stat(path)
        if found is None:
            return None
        return (project & 0xFF) << 24 | (found.st_dev & 0xFF) << 16 | found.st_ino & 0xFFFF

    def uid_of(self, name: str) -> int | None:
        """Return the number of a user."""
        try:
            return pwd.getpwnam(name).pw_uid
        except (KeyError, ValueError):
            return None

    def gid_of(self, name: str) -> int | None:
        """Return the number of a group."""
        try:
            return grp.getgrnam(name).gr_gid
        except (KeyError, ValueError):
            return None

    def account(self, user: int | str) -> Account | None:
        """Return a user by number or name; None when the user database has none."""
        try:
            found = pwd.getpwuid(user) if isinstance(user, int) else pwd.getpwnam(user)
            groups = os.getgrouplist(found.pw_name, found.pw_gid)
        except (KeyError, ValueError, OverflowError, OSError):
            return None
        return Account(found.pw_uid, found.pw_gid, tuple(groups), found.pw_dir, found.pw_name)

    def own_uid(self) -> int:
        """Return the effective user id of this process."""
        return os.geteuid()

    def own_gid(self) -> int:
        """Return the effective group id of this process."""
        return os.getegid()

    def module(self, name: str, folder: str) -> bool:
        """Whether Python, started by us, would find a module: in `folder` first. Imports nothing."""
        parts = name.split(".")
        try:
            found = PathFinder.find_spec(parts[0], [folder]) or importlib.util.find_spec(parts[0])
            for part in parts[1:]:
                if found is None or found.submodule_search_locations is None:
                    return False
                # By its last word: for a name with dots, Python would ask packages that were never imported.
                found = PathFinder.find_spec(part, list(found.submodule_search_locations))
        except (ImportError, ValueError, OSError):
            return False
        return found is not None


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except (OSError, ValueError):
        return None


def _access(path: str, wanted: int) -> bool:
    try:
        return os.access(path, wanted)
    except ValueError:
        return False
