"""Types of fields and the base of all models: closed, frozen, read by the readers of values.py."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetCoreSchemaHandler, model_validator
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import CoreSchema, no_info_plain_validator_function, tagged_union_schema

from orchestra.bindings import Template
from orchestra.kinds import Access, OnDown
from orchestra.topology import hints, processvalues, shapes, values
from orchestra.topology.keys import EXTENSIONS
from orchestra.topology.nodes import LeadingZero, Map, Scalar, Seq, is_nothing, plain_data

WHOLE = "whole"  # code of an error between keys; the loader reports those itself, with their place
REPLICAS_MAX = 10_000
COUNT_MAX = processvalues.COUNT_MAX
SEM_VALUE_MAX = 2**31 - 1  # sem_overview(7)


class Condition(StrEnum):
    """What a dependency waits for."""

    STARTED = "started"
    READY = "ready"
    COMPLETED = "completed"
    ENDED = "ended"


class Escalate(StrEnum):
    """What a failure means for the other processes."""

    STOP_ALL = "stop-all"
    STOP_DEPENDANTS = "stop-dependants"
    IGNORE = "ignore"


class Policy(StrEnum):
    """When a process that has ended is started again."""

    NEVER = "never"
    ON_FAILURE = "on-failure"
    ALWAYS = "always"


class Output(StrEnum):
    """What a process's output goes to."""

    PIPE = "pipe"
    LINE = "line"
    TTY = "tty"


class StdinWord(StrEnum):
    """What a process reads, unless it is a file."""

    NULL = "null"
    INHERIT = "inherit"


class Isolation(StrEnum):
    """Whose kernel objects a run, or a process, sees."""

    HOST = "host"
    PRIVATE = "private"


class Undeclared(StrEnum):
    """What happens to objects that a run's processes made and nobody declared."""

    REPORT = "report"
    REMOVE = "remove"
    FAIL = "fail"


class KeyForm(StrEnum):
    """The two System V keys that are words."""

    AUTO = "auto"
    PRIVATE = "private"


def frozen(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a mapping that nobody can change."""
    return MappingProxyType(dict(value))


def no_entries() -> Mapping[str, Any]:
    """Return an empty mapping that nobody can change."""
    return MappingProxyType({})


def empty_if_nothing(value: Any) -> Any:
    """`jobs:` with nothing (or null) behind it means all defaults, as people who know Compose expect."""
    return {} if value is None or is_nothing(value) else value


class Typed:
    """Annotation of a field that has its own reader and its own JSON Schema.

    What PlainValidator and WithJsonSchema say together, but PlainValidator also works out how pydantic itself would
    read and write the type, for each field anew: a tenth of what a command costs.
    """

    __slots__ = ("_reader", "_schema")

    def __init__(self, reader: Callable[[Any], Any], schema: dict[str, Any]) -> None:
        self._reader, self._schema = reader, schema

    def __get_pydantic_core_schema__(self, _type: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_plain_validator_function(self._reader)

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: object) -> dict[str, Any]:
        return dict(self._schema)


class OneOf:
    """Annotation of a union: `tell` says which member a value is, by the words that `members` has for them.

    What Discriminator and Tag say together, but for members that are listed in one place anyway.
    """

    __slots__ = ("_members", "_tell")

    def __init__(self, tell: Callable[[Any], str], members: Mapping[str, Any]) -> None:
        self._tell, self._members = tell, members

    def __get_pydantic_core_schema__(self, _type: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return tagged_union_schema(
            {word: handler.generate_schema(member) for word, member in self._members.items()}, self._tell
        )


Text = Annotated[str, Typed(values.read_text, shapes.TEXT)]
Bool = Annotated[bool, Typed(values.read_bool, shapes.BOOLEAN)]
Size = Annotated[int, Typed(values.read_size, shapes.SIZE)]
Duration = Annotated[float, Typed(values.read_duration, shapes.DURATION)]
Positive = Annotated[float, Typed(processvalues.read_positive_duration, shapes.POSITIVE_DURATION)]
Mode = Annotated[int, Typed(values.read_mode, shapes.MODE)]
Umask = Annotated[int, Typed(values.read_mode, shapes.UMASK)]
Path = Annotated[str, Typed(values.read_path, shapes.PATH)]
Owner = Annotated[int | str, Typed(values.read_owner, shapes.OWNER)]
Signal = Annotated[str, Typed(values.read_signal, shapes.SIGNAL)]
SuccessItem = Annotated[int | str, Typed(values.read_success, shapes.SUCCESS)]
Literally = Annotated[str, Typed(values.read_source_text, shapes.SINGLE)]
Value = Annotated[Template, Typed(values.read_template, shapes.SINGLE)]
Directory = Annotated[Template, Typed(values.read_directory, shapes.PATH)]
Command = Annotated[tuple[Template, ...], Typed(values.read_command, shapes.COMMAND)]
QueueName = Annotated[str, Typed(values.posix_name(255), shapes.POSIX_NAME)]
SemaphoreName = Annotated[str, Typed(values.posix_name(251), shapes.POSIX_NAME)]  # glibc puts `sem.` before it
OnDownWord = Annotated[
    OnDown, Typed(values.choice(OnDown, "way to end", hints.ON_DOWN), shapes.words(*(item.value for item in OnDown)))
]
AccessWord = Annotated[
    Access, Typed(values.choice(Access, "access", hints.ACCESS), shapes.words(*(item.value for item in Access)))
]
EscalateWord = Annotated[
    Escalate, Typed(values.choice(Escalate, "escalation"), shapes.words(*(item.value for item in Escalate)))
]
ConditionWord = Annotated[
    Condition,
    Typed(values.choice(Condition, "condition", hints.CONDITIONS), shapes.words(*(c.value for c in Condition))),
]
Messages = Annotated[int, Typed(values.whole(1, 65536), shapes.whole(1, 65536))]
SemaphoreValue = Annotated[int, Typed(values.whole(0, SEM_VALUE_MAX), shapes.whole(0, SEM_VALUE_MAX))]
Replicas = Annotated[int, Typed(values.whole(1, REPLICAS_MAX), shapes.whole(1, REPLICAS_MAX))]
Count = Annotated[int, Typed(values.whole(0, COUNT_MAX), shapes.whole(0, COUNT_MAX))]
LimitNumber = Annotated[int, Typed(processvalues.read_limit, shapes.LIMIT)]
FunctionName = Annotated[str, Typed(processvalues.read_function, shapes.FUNCTION)]
Scheduler = Annotated[str, Typed(processvalues.read_scheduler, shapes.SCHEDULER)]
Nice = Annotated[int, Typed(values.whole(-20, 19), shapes.whole(-20, 19))]
Arguments = Annotated[
    Mapping[str, Any], Typed(lambda value: frozen(processvalues.read_arguments(value)), shapes.ARGUMENTS)
]
Files = Annotated[tuple[str, ...], Typed(processvalues.read_files, shapes.FILES)]
OutputWord = Annotated[
    Output, Typed(values.choice(Output, "kind of output", hints.OUTPUT), shapes.words(*(item.value for item in Output)))
]
IsolationWord = Annotated[
    Isolation,
    Typed(values.choice(Isolation, "isolation", hints.ISOLATION), shapes.words(*(item.value for item in Isolation))),
]
UndeclaredWord = Annotated[
    Undeclared,
    Typed(values.choice(Undeclared, "way to treat them"), shapes.words(*(item.value for item in Undeclared))),
]
ExtensionsField = Annotated[Mapping[str, Any], AfterValidator(frozen)]


class Contradiction(NamedTuple):
    """Two keys of one object that do not go together, or one that is missing. `at` is the key to point at, or ""."""

    code: str
    message: str
    help: str = ""
    at: str = ""


class Closed(BaseModel):
    """Base of all: unknown keys are errors, nothing changes after validation, `x-*` keys are carried along."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, defer_build=True)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        external = bool(getattr(self, "external", False))
        for found in self.contradictions(self.model_fields_set, external=external):
            raise PydanticCustomError(WHOLE, "{message}", {"message": found.message, "help": found.help})
        return self

    @classmethod
    def contradictions(cls, given: Collection[str], *, external: bool) -> list[Contradiction]:  # noqa: ARG003
        """Return what is wrong between keys that are each fine; `given` names the keys that were written.

        The loader asks this of the file itself, so that a bad value elsewhere in the object hides nothing.
        """
        return []


class Extensible(Closed):
    """What may carry `x-*` keys."""

    extensions: ExtensionsField = Field(default_factory=no_entries, alias="x-*")

    @model_validator(mode="before")
    @classmethod
    def _gather_extensions(cls, data: Any) -> Any:
        """Move the `x-*` keys into one field."""
        if not isinstance(data, dict):
            return data
        found = [key for key in data if isinstance(key, str) and key.startswith("x-")]
        if not found or (found == [EXTENSIONS] and not isinstance(data[EXTENSIONS], Map | Seq | Scalar)):
            return data  # gathered already, if it does not come from a file
        kept = {key: value for key, value in data.items() if key not in found}
        kept[EXTENSIONS] = {key: _extension(key, data[key]) for key in found}
        return kept


def _extension(key: str, node: Any) -> Any:
    try:
        return plain_data(node)
    except LeadingZero as err:
        raise values.moved(values.leading_zero(str(err)), (key,)) from err
