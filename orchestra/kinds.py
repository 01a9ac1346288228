"""The nouns that every layer shares: families, kinds, specs, identities. Frozen data, no behaviour but equality.

Nothing here touches the kernel. `Spec` says what to make, `Handle` what was made, `Stat` what is there now,
and `Identity` is the part of a `Stat` that proves that two sightings are of one object.
They are named tuples: ten dataclasses would cost every command five milliseconds more to make. And annotations are
evaluated here: as strings, each field's would be compiled by `typing`, which is half of the time of this module.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple, Self


class Family(StrEnum):
    """Which interface an object belongs to."""

    POSIX = "posix"
    SYSV = "sysv"
    FILE = "file"
    MEMFD = "memfd"
    ANONYMOUS = "anonymous"
    FIFO = "fifo"


class Kind(StrEnum):
    """What an object is for. The last two are never made by a run: what else is found in /dev/shm."""

    QUEUE = "queue"
    SEGMENT = "segment"
    SEMAPHORE = "semaphore"
    PIPE = "pipe"
    FOLDER = "folder"
    OTHER = "other"  # a symbolic link, a socket, a device


# The ten combinations that exist, in the order tables and documents show them.
OBJECT_KINDS: tuple[tuple[Family, Kind], ...] = (
    (Family.POSIX, Kind.QUEUE),
    (Family.POSIX, Kind.SEGMENT),
    (Family.POSIX, Kind.SEMAPHORE),
    (Family.SYSV, Kind.QUEUE),
    (Family.SYSV, Kind.SEGMENT),
    (Family.SYSV, Kind.SEMAPHORE),
    (Family.FILE, Kind.SEGMENT),
    (Family.MEMFD, Kind.SEGMENT),
    (Family.ANONYMOUS, Kind.PIPE),
    (Family.FIFO, Kind.PIPE),
)


class Access(StrEnum):
    """What a process may do with an object it uses."""

    READ = "read"
    WRITE = "write"
    READ_WRITE = "read-write"


class OnDown(StrEnum):
    """What happens to an object when its run is torn down."""

    REMOVE = "remove"
    KEEP = "keep"
    KEEP_ON_FAILURE = "keep-on-failure"


class ObjectRef(NamedTuple):
    """How to address one object: by name (POSIX, file, FIFO: absolute path) or by System V id or key."""

    family: Family
    kind: Kind
    name: str | None = None
    id: int | None = None  # 0 is a valid id: compare with None
    key: int | None = None  # unsigned 32 bit; 0 is IPC_PRIVATE, shared by many objects, never an address

    def __str__(self) -> str:
        """Return the command line's spelling, e.g. `posix-queue:/jobs`, `sysv-segment:32769`."""
        label = f"{self.family}-{self.kind}"
        if self.family in (Family.FILE, Family.FIFO):
            label = {"file": "file-segment", "fifo": "fifo"}[self.family]
        if self.name is not None:
            return f"{label}:{self.name}"
        if self.id is not None:
            return f"{label}:{self.id}"
        return f"{label}:{self.key:#010x}" if self.key is not None else label


class Fill(NamedTuple):
    """The initial content of a segment: exactly one of the three, or zeros when all are None."""

    text: str | None = None
    hex: str | None = None
    file: str | None = None  # absolute path


class Spec(NamedTuple):
    """One object to create. Sizes are bytes, `mode` holds permission bits only and is exact (umask undone)."""

    family: Family
    kind: Kind
    name: str | None = None  # POSIX "/name", absolute path for file and fifo; label of a memfd; None for SysV, pipe
    key: int | None = None  # SysV only; 0 = IPC_PRIVATE
    mode: int = 0o600
    owner: int | None = None  # uid to hand the object to
    group: int | None = None
    max_messages: int | None = None  # POSIX queue: mq_maxmsg
    message_size: int | None = None  # POSIX queue: mq_msgsize
    capacity: int | None = None  # SysV queue: msg_qbytes
    size: int | None = None  # segments
    fill: Fill | None = None
    values: tuple[int, ...] = ()  # semaphores: one per member of the set; POSIX exactly one
    huge_pages: int | None = None  # segments: bytes of one page, where that is not the usual one
    lock: bool = False  # System V segments: keep in memory

    @property
    def ref(self) -> ObjectRef:
        """The address this object will have (its id is not known yet)."""
        return ObjectRef(self.family, self.kind, name=self.name, key=self.key)


class Identity(NamedTuple):
    """What must match for two sightings to be the same object. Fields that do not apply are None.

    System V: boot id + IPC namespace + kind + id, and key (or 0 once marked for removal), cuid, cgid,
    size or nsems, a segment's cpid. POSIX segment, semaphore, file, FIFO: st_dev + st_ino + birth time.
    POSIX queue, memfd, pipe: st_dev + st_ino. ctime moves (SETVAL, ftruncate) and is not part of it.
    """

    family: Family
    kind: Kind
    boot_id: str | None = None
    ipc_ns: int | None = None  # inode of /proc/self/ns/ipc
    id: int | None = None
    key: int | None = None
    cuid: int | None = None
    cgid: int | None = None
    size: int | None = None  # SysV segment: shm_segsz
    nsems: int | None = None
    cpid: int | None = None
    st_dev: int | None = None
    st_ino: int | None = None
    birth_ns: int | None = None  # statx btime; None where the file system has none

    def is_same(self, other: Self) -> bool:
        """Whether `other`, seen now, is the object that this identity was taken from."""
        for name, mine, theirs in zip(self._fields, self, other, strict=True):
            if mine == theirs or (name == "key" and theirs == 0):  # IPC_RMID with attachments zeroes the key
                continue
            return False
        return True

    def to_json(self) -> dict[str, Any]:
        """Return the fields that apply, JSON-ready."""
        return {name: value for name, value in self._asdict().items() if value is not None}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Rebuild what `to_json` gave."""
        return cls(**{**data, "family": Family(data["family"]), "kind": Kind(data["kind"])})


class Handle(NamedTuple):
    """A freshly created object: its full address, its identity, and the descriptors that keep a nameless one alive."""

    ref: ObjectRef
    identity: Identity
    fds: tuple[int, ...] = ()  # memfd: (fd,) read-write; anonymous pipe: (read end, write end); else ()


class Stat(NamedTuple):
    """One object as the kernel shows it now."""

    ref: ObjectRef
    identity: Identity
    mode: int  # permission bits only
    uid: int
    gid: int
    size: int | None = None  # bytes: segment size; SysV queue: msg_qbytes; POSIX queue: maxmsg * msgsize
    marked: bool = False  # SysV segment marked for removal (SHM_DEST), dies with its last detach
    attached: int | None = None  # SysV segment: shm_nattch (mappings, not processes)
    members: int | None = None  # semaphores in the set
    fields: Mapping[str, int | str | list[int]] = MappingProxyType({})  # C names: "mq_maxmsg", "shm_perm.key"


class Listing(NamedTuple):
    """All objects of one kind on this host, as far as we may look; `why` says what could not be seen."""

    stats: tuple[Stat, ...]
    complete: bool = True
    why: str = ""


class Holder(NamedTuple):
    """A process that has an object open, mapped, attached, or is blocked on it. The last three: where looked up."""

    pid: int
    command: str
    how: str  # "open", "mapped", "attached" or "waiting"
    started_at: float | None = None  # seconds since the epoch
    user: str | None = None
    unit: str | None = None  # systemd unit, or `container 0123456789ab`


class Holders(NamedTuple):
    """Who holds an object. `complete` is False when processes could not be looked into: then never say "nobody"."""

    holders: tuple[Holder, ...]
    complete: bool = True


class Account(NamedTuple):
    """A user of this host, as the user database has it."""

    uid: int
    gid: int
    groups: tuple[int, ...]  # all of them, `gid` too
    home: str
    login: str


class KernelLimits(NamedTuple):
    """Limits that a whole-file check needs, read once; None = not readable. Bytes unless a count."""

    mq_msg_max: int | None = None
    mq_msgsize_max: int | None = None
    mq_queues_max: int | None = None
    rlimit_msgqueue: int | None = None  # bytes per real uid; None = unlimited or unknown
    msgmax: int | None = None
    msgmnb: int | None = None
    msgmni: int | None = None
    shmmax: int | None = None
    shmmni: int | None = None
    shmall_pages: int | None = None
    semmsl: int | None = None
    semmns: int | None = None
    semmni: int | None = None
    semvmx: int = 32767
    page_size: int = 4096
    shm_free: int | None = None  # bytes free on /dev/shm
    shm_mounted: bool = True
    cap_sys_resource: bool = False  # in this process's effective set: lifts the mqueue and msgmnb limits
    queues_now: int | None = None  # how many of each exist in this namespace already
    sysv_queues_now: int | None = None
    sysv_segments_now: int | None = None
    sysv_sets_now: int | None = None
    sysv_semaphores_now: int | None = None
    capabilities: int | None = None  # this process's effective set as bits, capabilities(7)
    rlimits: Mapping[str, tuple[int, int]] = MappingProxyType({})  # "nofile": (soft, hard); -1 = unlimited
    niceness: int | None = None  # of this process
    nr_open: int | None = None  # fs.nr_open: how far RLIMIT_NOFILE can be raised at all
    processors: frozenset[int] | None = None  # online
    huge_pages: Mapping[int, int] = MappingProxyType({})  # bytes of a page → how many are free
    hugetlb_shm_group: int | None = None
