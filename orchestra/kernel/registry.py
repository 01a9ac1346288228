"""Which adapter does what. Adapters are loaded when first asked for, so that `ps` does not pay for ten."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from orchestra.kernel.api import Adapter
from orchestra.kinds import OBJECT_KINDS, Family, Kind

_CLASSES: dict[tuple[Family, Kind], tuple[str, str]] = {
    (Family.POSIX, Kind.QUEUE): ("posix_mq", "PosixMq"),
    (Family.POSIX, Kind.SEGMENT): ("posix_shm", "PosixShm"),
    (Family.POSIX, Kind.SEMAPHORE): ("posix_sem", "PosixSem"),
    (Family.SYSV, Kind.QUEUE): ("sysv_mq", "SysvMq"),
    (Family.SYSV, Kind.SEGMENT): ("sysv_shm", "SysvShm"),
    (Family.SYSV, Kind.SEMAPHORE): ("sysv_sem", "SysvSem"),
    (Family.FILE, Kind.SEGMENT): ("files", "FileSegment"),
    (Family.MEMFD, Kind.SEGMENT): ("memfd", "Memfd"),
    (Family.ANONYMOUS, Kind.PIPE): ("pipes", "AnonymousPipe"),
    (Family.FIFO, Kind.PIPE): ("pipes", "Fifo"),
}


@cache
def adapter_for(family: Family, kind: Kind) -> Adapter:
    """Return the one adapter of this kind; adapters keep no state. Raises KeyError for a combination that is not."""
    module, name = _CLASSES[family, kind]
    adapter: Adapter = getattr(import_module(f"orchestra.kernel.{module}"), name)()
    return adapter


def all_adapters() -> list[Adapter]:
    """Return all ten, in the order of OBJECT_KINDS."""
    return [adapter_for(family, kind) for family, kind in OBJECT_KINDS]
