"""The parts of a process as models: ready when, waiting for what, restarted and stopped how, running as whom.

Durations are seconds, sizes bytes. A short form and its long form read as the same model.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator

from orchestra.topology import hints, processvalues, shapes, values
from orchestra.topology.fields import (
    Bool,
    Closed,
    Command,
    Condition,
    ConditionWord,
    Contradiction,
    Count,
    Duration,
    LimitNumber,
    OneOf,
    Policy,
    Positive,
    Signal,
    Size,
    StdinWord,
    Typed,
    empty_if_nothing,
    frozen,
)
from orchestra.topology.nodes import Scalar, is_nothing
from orchestra.topology.processvalues import UNLIMITED

READY_KINDS = ("notify", "fd", "log", "exec", "tcp", "unix", "exists", "stopped")
WAITS = ("messages", "attached", "value", "exists", "blocked_on")
_CONTRADICTION = "contradiction"


def form(value: Any) -> str:
    """Return which of the two forms of a key a value is in: "mapping" or "value"."""
    return "mapping" if isinstance(value, Mapping | BaseModel) else "value"


def short_or_long(model: type[Closed], read: Callable[[Any], Any], schema: dict[str, Any]) -> OneOf:
    """Return the annotation of a key that is a mapping, or one value that stands for a mapping."""
    return OneOf(form, {"value": Annotated[Any, Typed(read, schema)], "mapping": model})


# --- depends_on ------------------------------------------------------------------------------------------------


class Dependency(Closed):
    """Another process that has to be as far as `condition` says."""

    condition: ConditionWord = Field(description="What it must be.")
    restart: Bool = Field(default=False, description="Restart this process whenever the other one is restarted.")


_read_condition = values.choice(Condition, "condition", hints.CONDITIONS)


def _short_dependency(value: Any) -> Dependency:
    return Dependency(condition=_read_condition(value))


CONDITIONS = shapes.words(*(item.value for item in Condition))
AnyDependency = Annotated[Dependency, short_or_long(Dependency, _short_dependency, CONDITIONS)]


# --- ready -----------------------------------------------------------------------------------------------------


class Ready(Closed):
    """How a process says that it is ready: exactly one of the ways, and how long it may take."""

    notify: Annotated[bool, Typed(processvalues.read_true, shapes.TRUE)] | None = Field(
        default=None, description="READY=1 arrives at $NOTIFY_SOCKET, as sd_notify(3) sends it."
    )
    fd: Annotated[int, Typed(values.whole(3, 1023), shapes.whole(3, 1023))] | None = Field(
        default=None, description="A newline is written to this descriptor, as s6 has it; also in $ORCHESTRA_READY_FD."
    )
    log: Annotated[str, Typed(processvalues.read_pattern, shapes.PATH)] | None = Field(
        default=None, description="A regular expression is found in a line of its output."
    )
    exec: Command | None = Field(default=None, description="A command that exits with 0, tried again and again.")
    tcp: Annotated[int, Typed(values.whole(1, 65535), shapes.whole(1, 65535))] | None = Field(
        default=None, description="A port of 127.0.0.1 or ::1 accepts connections."
    )
    unix: Annotated[Any, Typed(values.read_open_path, shapes.PATH)] | None = Field(
        default=None, description="A socket with this path accepts connections."
    )
    exists: Annotated[str, Typed(values.read_text, shapes.TEXT)] | None = Field(
        default=None, description="An object of the file exists."
    )
    stopped: Annotated[bool, Typed(processvalues.read_true, shapes.TRUE)] | None = Field(
        default=None, description="It has stopped itself with SIGSTOP; it is continued then."
    )
    timeout: Positive = Field(default=30.0, description="Not ready by then is a failure.")

    @classmethod
    def contradictions(cls, given: Collection[str], *, external: bool) -> list[Contradiction]:  # noqa: ARG003
        """Exactly one way."""
        ways = [kind for kind in READY_KINDS if kind in given]
        if len(ways) == 1:
            return []
        if not ways:
            message = "`ready` does not say how"
            return [Contradiction("missing_key", message, f"One of {', '.join(READY_KINDS)}: `{{notify: true}}`.")]
        message = f"`{ways[0]}` and `{ways[1]}` are two ways to be ready"
        return [Contradiction(_CONTRADICTION, message, "Keep one of them.", ways[1])]

    @property
    def kind(self) -> str:
        """Which of the ways it is."""
        return next(kind for kind in READY_KINDS if getattr(self, kind) is not None)


# --- wait_for --------------------------------------------------------------------------------------------------


class Bounds(Closed):
    """How many: at least `min`, at most `max`; at least one of the two."""

    min: Count = Field(default=0, description="At least so many.")
    max: Count | None = Field(default=None, description="At most so many.")

    @classmethod
    def contradictions(cls, given: Collection[str], *, external: bool) -> list[Contradiction]:  # noqa: ARG003
        """At least one of the two."""
        if "min" in given or "max" in given:
            return []
        return [Contradiction("missing_key", "neither `min` nor `max` is given", "Write a number, or `{min: 1}`.")]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max is not None and self.min > self.max:
            raise values.fault("never_happens", f"nothing is at least {self.min} and at most {self.max}", at=("max",))
        return self


class ValueBounds(Bounds):
    """The value of a semaphore: at least `min`, at most `max`; of a set, that of the member `index`."""

    index: Count = Field(default=0, description="Which semaphore of a System V set, from 0.")


_read_count = values.whole(0, processvalues.COUNT_MAX)


def _exactly(model: type[Bounds]) -> Callable[[Any], Bounds]:
    def read(value: Any) -> Bounds:
        count = _read_count(value)
        return model(min=count, max=count)

    return read


_COUNT = shapes.whole(0, processvalues.COUNT_MAX)
AnyBounds = Annotated[Bounds, short_or_long(Bounds, _exactly(Bounds), _COUNT)]
AnyValueBounds = Annotated[ValueBounds, short_or_long(ValueBounds, _exactly(ValueBounds), _COUNT)]


class Waiting(Closed):
    """What must hold of an object, or of another process, before this process starts; all that is given."""

    messages: AnyBounds | None = Field(default=None, description="Messages in a queue: a number, or {min, max}.")
    attached: AnyBounds | None = Field(
        default=None, description="Attachments of a System V segment, or processes that have another one open."
    )
    value: AnyValueBounds | None = Field(
        default=None, description="Value of a semaphore: a number, or {min, max}; of a set {index, min, max}."
    )
    exists: Bool | None = Field(default=None, description="Whether the object exists.")
    blocked_on: Annotated[str, Typed(values.read_text, shapes.TEXT)] | None = Field(
        default=None, description="Of a process: the object that all its replicas are blocked on."
    )

    @classmethod
    def contradictions(cls, given: Collection[str], *, external: bool) -> list[Contradiction]:  # noqa: ARG003
        """At least one condition."""
        if any(what in given for what in WAITS):
            return []
        return [Contradiction("missing_key", "no condition is given", f"One of {', '.join(WAITS)}.")]


# --- restart, stop ---------------------------------------------------------------------------------------------

_read_policy = values.choice(Policy, "restart policy", hints.POLICIES)
_POLICY = shapes.words(*(item.value for item in Policy))


class Restart(Closed):
    """When a process that has ended is started again, and how often; counted for each replica by itself."""

    policy: Annotated[Policy, Typed(_read_policy, _POLICY)] = Field(description="When it is started again.")
    limit: Annotated[int, Typed(values.whole(1, 1_000_000), shapes.whole(1, 1_000_000))] = Field(
        default=5, description="At most so many restarts within `within`; one more is a failure for good."
    )
    within: Positive = Field(default=60.0, description="The time that `limit` counts; running so long resets it.")
    delay: Duration = Field(default=0.2, description="Pause before the first restart; doubles each time, ±10 %.")
    max_delay: Duration = Field(default=10.0, description="Longest pause before a restart.")

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if "max_delay" in self.model_fields_set and self.delay > self.max_delay:
            raise values.fault("contradiction", "`delay` is longer than `max_delay`", at=("delay",))
        return self


def _short_restart(value: Any) -> Restart:
    if isinstance(value, Restart):
        return value
    if isinstance(value, Scalar) and value.plain and value.text in ("true", "false"):
        word = "on-failure" if value.text == "true" else "never"
        raise values.fault("bad_value", f"`{value.text}` is no restart policy", f"Write `{word}`.")
    return Restart(policy=_read_policy(value))


AnyRestart = Annotated[Restart, short_or_long(Restart, _short_restart, _POLICY)]


class Stop(Closed):
    """How a process is stopped: a command or a signal, then SIGKILL when it does not end in time."""

    signal: Signal = Field(default="SIGTERM", description="The first signal.")
    grace: Duration = Field(default=5.0, description="Time until SIGKILL.")
    command: Command | None = Field(
        default=None, description="Run instead of the signal; the signal follows when it fails."
    )


# --- what it runs as -------------------------------------------------------------------------------------------


class StdinFile(Closed):
    """Standard input from a file."""

    file: Annotated[Any, Typed(values.read_open_path, shapes.PATH)] = Field(description="The file that it reads.")


def _read_stdin(value: Any) -> StdinWord:
    if value is None or is_nothing(value):
        return StdinWord.NULL
    return _stdin_word(value)  # type: ignore[no-any-return]


_stdin_word = values.choice(StdinWord, "standard input", hints.STDIN)
AnyStdin = Annotated[
    StdinWord | StdinFile,
    short_or_long(StdinFile, _read_stdin, {"anyOf": [{"enum": [None, "null", "inherit"]}, shapes.SUBSTITUTION]}),
]

Cpus = Annotated[tuple[int, ...], Typed(processvalues.read_cpus, shapes.CPUS)]
OneCpus = Annotated[tuple[int, ...], Typed(processvalues.read_one_cpus, shapes.ONE_CPUS)]


class EachCpus(Closed):
    """Processors for each replica; counted from the start again when there are more replicas."""

    each: Annotated[tuple[OneCpus, ...], Field(min_length=1)] = Field(
        description="One processor, or a list of them, for each replica."
    )


AnyCpus = Annotated[tuple[int, ...] | EachCpus, OneOf(form, {"value": Cpus, "mapping": EachCpus})]


class Limit(Closed):
    """A soft limit and the hard one, up to which a process may raise it; one that is left out equals the other."""

    soft: LimitNumber | None = Field(default=None, description="What holds.")
    hard: LimitNumber | None = Field(default=None, description="How far the process itself may raise it.")

    @classmethod
    def contradictions(cls, given: Collection[str], *, external: bool) -> list[Contradiction]:  # noqa: ARG003
        """At least one of the two."""
        if "soft" in given or "hard" in given:
            return []
        return [Contradiction("missing_key", "neither `soft` nor `hard` is given", "Write a number, or {soft, hard}.")]

    @property
    def both(self) -> tuple[int, int]:
        """Soft and hard; -1 is no limit."""
        soft, hard = self.soft, self.hard
        if soft is None:
            soft = hard
        if hard is None:
            hard = soft
        assert soft is not None
        assert hard is not None
        return soft, hard

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.soft is None and self.hard is None:
            return self  # reported as a contradiction
        soft, hard = self.both
        if hard != UNLIMITED and (soft == UNLIMITED or soft > hard):
            raise values.fault("contradiction", "the soft limit is above the hard one", at=("soft",))
        return self


def _short_limit(value: Any) -> Limit:
    found = processvalues.read_limit(value)
    return Limit(soft=found, hard=found)


AnyLimit = Annotated[Limit, short_or_long(Limit, _short_limit, shapes.LIMIT)]
Limits = Annotated[
    Mapping[Annotated[str, AfterValidator(processvalues.check_limit_name)], AnyLimit],
    AfterValidator(frozen),
    BeforeValidator(empty_if_nothing),
]


# --- log -------------------------------------------------------------------------------------------------------


class Rotate(Closed):
    """When a new log file is begun, and how many old ones stay."""

    size: Size = Field(description="A file that has grown to this is closed, between two lines.")
    keep: Annotated[int | None, Typed(processvalues.read_keep, shapes.KEEP)] = Field(
        default=None, description="How many closed files stay; `all` by default."
    )


class Log(Closed):
    """How the log of a run is kept."""

    rotate: Rotate | None = Field(default=None, description="When a new file is begun; default: never.")
    raw: Bool = Field(default=False, description="Also keep what each stream wrote, byte by byte.")
