"""What the whole-file checks and the compiler ask of this host; `orchestra.kernel.hostfacts` answers for real."""

from __future__ import annotations

from typing import Protocol

from orchestra.kinds import Account


class HostFacts(Protocol):
    """Facts about files and users. Nothing here raises: what cannot be told is None or False."""

    def kind_of(self, path: str) -> str | None:
        """Return "file", "directory" or "other"; None when there is nothing, or when it cannot be told."""

    def is_executable(self, path: str) -> bool:
        """Whether we may execute a file, or enter a folder."""

    def is_readable(self, path: str) -> bool:
        """Whether we may read a file."""

    def is_writable(self, path: str) -> bool:
        """Whether we may write to a file, or make files in a folder."""

    def size_of(self, path: str) -> int | None:
        """Return the size of a file in bytes."""

    def head(self, path: str, count: int) -> bytes | None:
        """Return the first bytes of a regular file."""

    def ftok(self, path: str, project: int) -> int | None:
        """Return the System V key that ftok(3) makes, unsigned; None when the file is missing."""

    def uid_of(self, name: str) -> int | None:
        """Return the number of a user."""

    def gid_of(self, name: str) -> int | None:
        """Return the number of a group."""

    def account(self, user: int | str) -> Account | None:
        """Return a user by number or name; None when the user database has none."""

    def own_uid(self) -> int:
        """Return the effective user id of this process."""

    def own_gid(self) -> int:
        """Return the effective group id of this process."""

    def module(self, name: str, folder: str) -> bool:
        """Whether Python, started by us, would find a module: in `folder` first. Imports nothing."""
