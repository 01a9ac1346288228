"""The doors from ledger objects to the kernel, in one place, so that a test can put a fake behind each."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestra.kernel.api import Adapter
from orchestra.kernel.host import boot_id, ipc_namespace
from orchestra.kernel.process import is_running
from orchestra.kernel.procfs import start_time
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import Family, Holders, Identity, Kind
from orchestra.objects.entitlement import Here
from orchestra.statedir import new_token

SHM_FOLDER = "/dev/shm"  # noqa: S108 this is where glibc puts POSIX segments and semaphores


def random_key() -> int:
    """Return a System V key: 31 bits, never 0 (IPC_PRIVATE), and never negative where a tool prints it signed."""
    while not (key := int.from_bytes(os.urandom(4), "little") & 0x7FFFFFFF):
        pass
    return key


def here() -> Here:
    """Where this process stands."""
    return Here(boot_id(), ipc_namespace())


def holders(identities: Sequence[Identity]) -> dict[int, Holders]:
    """Who holds these objects, by index; one pass over /proc."""
    from orchestra.kernel.holders import holders_of

    return holders_of(identities)


def device_of(folder: str) -> int | None:
    """Return st_dev of a folder, None when it is not there."""
    try:
        return os.stat(folder).st_dev
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class World:
    """Everything outside that create, reuse and remove ask."""

    adapter: Callable[[Family, Kind], Adapter] = adapter_for
    here: Callable[[], Here] = here
    holders: Callable[[Sequence[Identity]], dict[int, Holders]] = holders
    start_time: Callable[[int], int | None] = start_time
    is_running: Callable[[int, int | None], bool] = is_running
    device: Callable[[str], int | None] = device_of
    key: Callable[[], int] = random_key
    nonce: Callable[[], str] = new_token


KERNEL = World()
