"""A host made of words, for the pure checks of a topology: files, folders, users and limits as a test states them."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field

from orchestra.kinds import Account, KernelLimits


@dataclass
class FakeHost:
    """HostFacts out of dicts. Every parent of a file is a folder; `/`, too."""

    files: dict[str, bytes] = field(default_factory=dict)  # path → content
    executable: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    special: set[str] = field(default_factory=set)  # FIFOs, devices
    unreadable: set[str] = field(default_factory=set)
    unwritable: set[str] = field(default_factory=set)
    closed: set[str] = field(default_factory=set)  # folders nobody may enter
    users: dict[str, int] = field(default_factory=lambda: {"root": 0, "nobody": 65534})
    groups: dict[str, int] = field(default_factory=lambda: {"root": 0, "nogroup": 65534})
    uid: int = 0  # ours
    modules: set[str] = field(default_factory=set)  # that Python finds wherever it starts

    def __post_init__(self) -> None:
        """Add the folders that the files lie in."""
        for path in [*self.files, *self.folders, *self.special, *self.closed]:
            folder = posixpath.dirname(path)
            while folder not in self.folders:
                self.folders.add(folder)
                folder = posixpath.dirname(folder)

    def kind_of(self, path: str) -> str | None:
        if path in self.files:
            return "file"
        if path in self.special:
            return "other"
        return "directory" if path in self.folders or path in self.closed else None

    def is_executable(self, path: str) -> bool:
        return path in self.executable or (path in self.folders and path not in self.closed)

    def is_readable(self, path: str) -> bool:
        return path not in self.unreadable

    def is_writable(self, path: str) -> bool:
        return path not in self.unwritable

    def size_of(self, path: str) -> int | None:
        return len(self.files[path]) if path in self.files else None

    def head(self, path: str, count: int) -> bytes | None:
        return self.files[path][:count] if path in self.files and path not in self.unreadable else None

    def ftok(self, path: str, project: int) -> int | None:
        return project << 24 | 0x11 << 16 | 0x2222 if path in self.files else None

    def account(self, user: int | str) -> Account | None:
        found = {name: uid for name, uid in self.users.items() if user in (name, uid)}
        return next((Account(uid, uid, (uid,), f"/home/{name}", name) for name, uid in found.items()), None)

    def own_uid(self) -> int:
        return self.uid

    def own_gid(self) -> int:
        return self.uid

    def module(self, name: str, folder: str) -> bool:
        path = f"{folder}/{name.replace('.', '/')}"
        return name in self.modules or f"{path}.py" in self.files or f"{path}/__init__.py" in self.files

    def uid_of(self, name: str) -> int | None:
        return self.users.get(name)

    def gid_of(self, name: str) -> int | None:
        return self.groups.get(name)


# What a fresh Linux gives, but with a small /dev/shm.
USUAL_LIMITS = KernelLimits(
    mq_msg_max=10,
    mq_msgsize_max=8192,
    mq_queues_max=256,
    rlimit_msgqueue=819200,
    msgmax=8192,
    msgmnb=16384,
    msgmni=32000,
    shmmax=2**63,
    shmmni=4096,
    shmall_pages=2**52,
    semmsl=32000,
    semmns=1024000000,
    semmni=32000,
    shm_free=64 * 2**20,
    queues_now=0,
    sysv_queues_now=0,
    sysv_segments_now=0,
    sysv_sets_now=0,
    sysv_semaphores_now=0,
    rlimits={
        "nofile": (1024, 524288),
        "memlock": (8 * 2**20, 8 * 2**20),
        "nice": (0, 0),
        "rtprio": (0, 0),
        "core": (0, -1),
    },
    niceness=0,
    nr_open=1048576,
    processors=frozenset(range(4)),
    huge_pages={2 * 2**20: 8, 2**30: 0},
    hugetlb_shm_group=0,
)
