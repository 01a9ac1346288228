"""The ten kinds of objects as models: their keys, defaults and limits, one class per family and section.

Sizes are bytes, modes permission bits. A family has only the keys that mean something for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from orchestra.kinds import Family, Kind, OnDown
from orchestra.topology import processvalues, shapes, values
from orchestra.topology.fields import (
    Bool,
    Closed,
    Contradiction,
    Extensible,
    KeyForm,
    Literally,
    Messages,
    Mode,
    OnDownWord,
    OneOf,
    Owner,
    Path,
    QueueName,
    SemaphoreName,
    SemaphoreValue,
    Size,
    Text,
    Typed,
    empty_if_nothing,
)
from orchestra.topology.nodes import Scalar

MESSAGES_DEFAULT = 10  # what mq_open gives when no attributes are asked for: mq_overview(7)
MESSAGE_SIZE_DEFAULT = 8192

PosixWord = Annotated[Family, Typed(values.read_const(Family.POSIX), {"const": "posix"})]
SysvWord = Annotated[Family, Typed(values.read_const(Family.SYSV), {"const": "sysv"})]
FileWord = Annotated[Family, Typed(values.read_const(Family.FILE), {"const": "file"})]
MemfdWord = Annotated[Family, Typed(values.read_const(Family.MEMFD), {"const": "memfd"})]
AnonymousWord = Annotated[Family, Typed(values.read_const(Family.ANONYMOUS), {"const": "anonymous"})]
FifoWord = Annotated[Family, Typed(values.read_const(Family.FIFO), {"const": "fifo"})]


class Ftok(Closed):
    """A System V key made of a file and a project, as ftok(3) does."""

    path: Path = Field(description="An existing file.")
    project: Annotated[int, Typed(values.read_project, shapes.PROJECT)] = Field(
        description="A single character, or a number from 1 to 255."
    )


class Fill(Closed):
    """The first content of a segment; what is left of it is zeros."""

    text: Literally | None = Field(default=None, description="Text, stored as UTF-8 without a final NUL.")
    hex: Annotated[str, Typed(values.read_hex, shapes.HEX)] | None = Field(
        default=None, description="Bytes as hexadecimal digits."
    )
    file: Path | None = Field(default=None, description="A file whose content is copied.")

    @classmethod
    def contradictions(cls, given: Collection[str], *, external: bool) -> list[Contradiction]:  # noqa: ARG003
        """Exactly one of the three."""
        if len(set(given)) == 1:
            return []
        return [Contradiction("missing_key", "expected exactly one of `text`, `hex` and `file`")]


def _form(value: Any) -> str:
    return "mapping" if isinstance(value, Mapping | BaseModel) else "value"


IpcKey = Annotated[
    KeyForm | int | Ftok,
    OneOf(
        _form,
        {"value": Annotated[KeyForm | int, Typed(values.read_ipc_key(KeyForm), shapes.IPC_KEY)], "mapping": Ftok},
    ),
]
FillForm = Annotated[
    Literal["zeros"] | Fill,
    OneOf(
        _form,
        {"value": Annotated[Literal["zeros"], Typed(values.read_zeros, shapes.FILL_ZEROS)], "mapping": Fill},
    ),
]

EXTERNAL_NEVER = ("fill", "on_down", "owner", "group", "made_by", "huge_pages", "lock")
MADE_BY_NEVER = ("fill", "owner", "group", "huge_pages", "lock")


class IpcObject(Extensible):
    """What every kernel object has."""

    kind: ClassVar[Kind]
    family_name: ClassVar[Family]
    address: ClassVar[str] = ""  # the key that names it outside of a run, if it can be named

    @property
    def foreign(self) -> bool:
        """Whether somebody else makes it: of its shape we know only what the file says."""
        return bool(getattr(self, "external", False)) or getattr(self, "made_by", None) is not None

    @classmethod
    def contradictions(cls, given: Collection[str], *, external: bool) -> list[Contradiction]:
        """An external object is addressed, used and left alone; one that a process makes is not made by us."""
        if not external:
            return cls._made_by_another(given) if "made_by" in given else []
        found = [
            Contradiction("contradiction", f"an external object is used as it is, so `{key}` has no effect", at=key)
            for key in EXTERNAL_NEVER
            if key in given
        ]
        if cls.address and cls.address not in given:
            hint = f"Give its `{cls.address}:`."
            found.append(Contradiction("missing_key", f"an external object needs a `{cls.address}`", hint, "external"))
        return found

    @classmethod
    def _made_by_another(cls, given: Collection[str]) -> list[Contradiction]:
        found = [
            Contradiction("contradiction", f"its maker says what it is like, so `{key}` has no effect", at=key)
            for key in MADE_BY_NEVER
            if key in given
        ]
        if cls.address and cls.address not in given:
            hint = f"Give the `{cls.address}:` that the program makes it with."
            message = f"an object that a process makes needs a `{cls.address}`"
            found.append(Contradiction("missing_key", message, hint, "made_by"))
        return found


class Owned(IpcObject):
    """What has an owner and permissions, and may outlive its run."""

    mode: Mode = Field(default=0o600, description="Permissions, exactly: the umask is undone.")
    owner: Owner | None = Field(default=None, description="User to hand it to: a name or a number.")
    group: Owner | None = Field(default=None, description="Group to hand it to: a name or a number.")
    on_down: OnDownWord = Field(default=OnDown.REMOVE, description="What happens to it when the run ends.")
    external: Bool = Field(default=False, description="Made by others: checked and used, never created or removed.")
    made_by: Text | None = Field(
        default=None, description="The process that makes it: awaited, checked, recorded and removed as ours."
    )


class SysvObject(Owned):
    """What a System V key addresses."""

    family_name: ClassVar[Family] = Family.SYSV
    address: ClassVar[str] = "key"

    family: SysvWord = Field(description="System V.")
    key: IpcKey = Field(
        default=KeyForm.AUTO,
        description="auto (a new random key), private, a number such as 0x4f524331, or ftok's two.",
    )

    @model_validator(mode="after")
    def _findable_key(self) -> Self:
        if (self.external or self.made_by is not None) and isinstance(self.key, KeyForm):
            what = "an external object" if self.external else "an object that a process makes"
            message = f"{what} cannot be found by `key: {self.key}`"
            hint = "Give the number of its key, or ftok's path and project."
            raise values.fault("contradiction", message, hint, at=("key",))
        return self


_FAMILY = "POSIX, the default."


class PosixQueue(Owned):
    """A POSIX message queue, mq_overview(7)."""

    kind: ClassVar[Kind] = Kind.QUEUE
    family_name: ClassVar[Family] = Family.POSIX
    address: ClassVar[str] = "name"

    family: PosixWord = Field(default=Family.POSIX, description=_FAMILY)
    name: QueueName | None = Field(default=None, description="A name of its own, such as /jobs; default: derived.")
    max_messages: Messages = Field(default=MESSAGES_DEFAULT, description="Messages it holds: mq_maxmsg.")
    message_size: Size = Field(default=MESSAGE_SIZE_DEFAULT, description="Bytes of the longest message: mq_msgsize.")


class SysvQueue(SysvObject):
    """A System V message queue, msgget(2)."""

    kind: ClassVar[Kind] = Kind.QUEUE

    capacity: Size | None = Field(default=None, description="Bytes it holds: msg_qbytes; default: msgmnb.")
    max_messages: Messages | None = Field(default=None, description="With message_size, another way to say capacity.")
    message_size: Size | None = Field(default=None, description="With max_messages, another way to say capacity.")

    @classmethod
    def contradictions(cls, given: Collection[str], *, external: bool) -> list[Contradiction]:
        """The capacity is said once."""
        found = super().contradictions(given, external=external)
        if "capacity" in given and ("max_messages" in given or "message_size" in given):
            message = "`capacity` and `max_messages` * `message_size` say the same thing"
            found.append(Contradiction("contradiction", message, "Keep one of them.", "capacity"))
        return found

    @property
    def bytes_held(self) -> int | None:
        """What msg_qbytes becomes, or None for the kernel's default."""
        if self.capacity is not None:
            return self.capacity
        if self.max_messages is None and self.message_size is None:
            return None
        return (self.max_messages or MESSAGES_DEFAULT) * (self.message_size or MESSAGE_SIZE_DEFAULT)


class Segment(IpcObject):
    """What every kind of segment has."""

    kind: ClassVar[Kind] = Kind.SEGMENT

    size: Size | None = Field(default=None, description="Bytes.")
    fill: FillForm | None = Field(default=None, description="The first content: zeros, {text}, {hex} or {file}.")
    lock: Bool = Field(default=False, description="Kept in memory, never swapped out.")

    @classmethod
    def contradictions(cls, given: Collection[str], *, external: bool) -> list[Contradiction]:
        """A segment that we make has a size."""
        found = super().contradictions(given, external=external)
        if "size" not in given and not external and "made_by" not in given:
            found.append(Contradiction("missing_key", "`size` is missing", "Write `size: 64KiB`."))
        return found

    @model_validator(mode="after")
    def _filled(self) -> Self:
        if self.size is None or not isinstance(self.fill, Fill):
            return self
        length = 0
        if self.fill.text is not None:
            length = len(self.fill.text.encode("utf-8", "surrogateescape"))
        elif self.fill.hex is not None:
            length = len(self.fill.hex) // 2
        if length > self.size:
            message = f"{length} bytes do not fit into a segment of {self.size}"
            raise values.fault("out_of_range", message, at=("fill",))
        return self


Sized = TypeVar("Sized", bound=Segment)
_HUGE = "Made of pages of this size, instead of the processor's smallest."
HugePages = Annotated[int, Typed(processvalues.read_huge_pages, shapes.SIZE)]


def whole_pages(item: Sized) -> Sized:
    """Return the segment; refuse one that is not made of whole huge pages."""
    page: int | None = getattr(item, "huge_pages", None)
    if page is not None and item.size is not None and item.size % page:
        better = -(-item.size // page) * page
        message = f"{item.size} bytes are not made of whole pages of {page}"
        raise values.fault("bad_size", message, f"Write `size: {better}`.", at=("size",))
    return item


class PosixSegment(Segment, Owned):
    """POSIX shared memory, shm_overview(7)."""

    family_name: ClassVar[Family] = Family.POSIX
    address: ClassVar[str] = "name"

    family: PosixWord = Field(default=Family.POSIX, description=_FAMILY)
    name: QueueName | None = Field(default=None, description="A name of its own, such as /board; default: derived.")


class SysvSegment(Segment, SysvObject):
    """System V shared memory, shmget(2)."""

    huge_pages: HugePages | None = Field(default=None, description=_HUGE)

    @model_validator(mode="after")
    def _whole_pages(self) -> Self:
        return whole_pages(self)


class FileSegment(Segment, Owned):
    """A regular file that processes map. It is kept unless said otherwise; an existing file is opened, not refilled."""

    family_name: ClassVar[Family] = Family.FILE
    address: ClassVar[str] = "path"

    family: FileWord = Field(description="A mapped file.")
    path: Path = Field(description="The file.")
    on_down: OnDownWord = Field(default=OnDown.KEEP, description="What happens to the file when the run ends.")


class MemfdSegment(Segment):
    """Memory without a name, memfd_create(2): passed as a descriptor, gone with its last holder."""

    family_name: ClassVar[Family] = Family.MEMFD

    family: MemfdWord = Field(description="Memory without a name.")
    huge_pages: HugePages | None = Field(default=None, description=_HUGE)

    @model_validator(mode="after")
    def _whole_pages(self) -> Self:
        return whole_pages(self)


class PosixSemaphore(Owned):
    """A POSIX named semaphore, sem_overview(7)."""

    kind: ClassVar[Kind] = Kind.SEMAPHORE
    family_name: ClassVar[Family] = Family.POSIX
    address: ClassVar[str] = "name"

    family: PosixWord = Field(default=Family.POSIX, description=_FAMILY)
    name: SemaphoreName | None = Field(default=None, description="A name of its own, such as /slots; default: derived.")
    value: SemaphoreValue = Field(default=0, description="The first value.")


class SysvSemaphore(SysvObject):
    """A System V semaphore set, semget(2). `value` makes a set of one."""

    kind: ClassVar[Kind] = Kind.SEMAPHORE

    value: SemaphoreValue = Field(default=0, description="The first value of a set of one.")
    values: Annotated[tuple[SemaphoreValue, ...], Field(min_length=1)] | None = Field(
        default=None, description="One first value per semaphore of the set."
    )

    @classmethod
    def contradictions(cls, given: Collection[str], *, external: bool) -> list[Contradiction]:
        """One of `value` and `values`."""
        found = super().contradictions(given, external=external)
        if "value" in given and "values" in given:
            message = "`value` makes a set of one, `values` a set of several"
            found.append(Contradiction("contradiction", message, "Keep one of them.", "value"))
        return found

    @property
    def members(self) -> tuple[int, ...]:
        """The first value of each semaphore."""
        return (self.value,) if self.values is None else self.values


class AnonymousPipe(IpcObject):
    """A pipe that only inherited descriptors reach, pipe(2)."""

    kind: ClassVar[Kind] = Kind.PIPE
    family_name: ClassVar[Family] = Family.ANONYMOUS

    family: AnonymousWord = Field(default=Family.ANONYMOUS, description="Inherited descriptors, the default.")


class Fifo(Owned):
    """A pipe with a path, fifo(7)."""

    kind: ClassVar[Kind] = Kind.PIPE
    family_name: ClassVar[Family] = Family.FIFO
    address: ClassVar[str] = "path"

    family: FifoWord = Field(description="A pipe with a path.")
    path: Path | None = Field(default=None, description="A path of its own; default: derived.")


OBJECT_MODELS: Mapping[str, Mapping[str, type[IpcObject]]] = MappingProxyType(
    {
        "queues": {"posix": PosixQueue, "sysv": SysvQueue},
        "segments": {"posix": PosixSegment, "sysv": SysvSegment, "file": FileSegment, "memfd": MemfdSegment},
        "semaphores": {"posix": PosixSemaphore, "sysv": SysvSemaphore},
        "pipes": {"anonymous": AnonymousPipe, "fifo": Fifo},
    }
)


IN_WORDS: dict[tuple[Family, Kind], str] = {
    (Family.POSIX, Kind.QUEUE): "a POSIX queue",
    (Family.POSIX, Kind.SEGMENT): "a POSIX segment",
    (Family.POSIX, Kind.SEMAPHORE): "a POSIX semaphore",
    (Family.SYSV, Kind.QUEUE): "a System V queue",
    (Family.SYSV, Kind.SEGMENT): "a System V segment",
    (Family.SYSV, Kind.SEMAPHORE): "a System V semaphore set",
    (Family.FILE, Kind.SEGMENT): "a mapped file",
    (Family.MEMFD, Kind.SEGMENT): "a memfd",
    (Family.ANONYMOUS, Kind.PIPE): "an anonymous pipe",
    (Family.FIFO, Kind.PIPE): "a FIFO",
}


def default_family(section: str) -> str:
    """Return the family of an object that names none: the first of its section."""
    return next(iter(OBJECT_MODELS[section]))


def family_in(default: str) -> Callable[[Any], str]:
    """Return a function that tells the family of an object, read or not yet read."""

    def family(value: Any) -> str:
        found = value.get("family", default) if isinstance(value, dict) else getattr(value, "family_name", default)
        return found.text if type(found) is Scalar else str(found)

    return family


def one_of(section: str) -> OneOf:
    """Return the annotation that chooses among the families of a section."""
    return OneOf(family_in(default_family(section)), OBJECT_MODELS[section])


_EMPTY = BeforeValidator(empty_if_nothing)
AnyQueue = Annotated[PosixQueue | SysvQueue, one_of("queues"), _EMPTY]
AnySegment = Annotated[PosixSegment | SysvSegment | FileSegment | MemfdSegment, one_of("segments"), _EMPTY]
AnySemaphore = Annotated[PosixSemaphore | SysvSemaphore, one_of("semaphores"), _EMPTY]
AnyPipe = Annotated[AnonymousPipe | Fifo, one_of("pipes"), _EMPTY]
