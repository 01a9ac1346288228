"""The topology file as closed, frozen models: what each key means, its type, its default and its limits.

Sizes are bytes, durations seconds, modes permission bits. Names that other objects or processes must have are only
checked for form here; `references.py` and `rules.py` look at the file as a whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from orchestra.kinds import Access
from orchestra.topology import shapes, values
from orchestra.topology.fields import (
    AccessWord,
    Arguments,
    Bool,
    Command,
    Condition,
    Contradiction,
    Directory,
    Escalate,
    EscalateWord,
    Extensible,
    Files,
    FunctionName,
    Isolation,
    IsolationWord,
    Nice,
    Output,
    OutputWord,
    Owner,
    Path,
    Policy,
    Positive,
    Replicas,
    Scheduler,
    StdinWord,
    SuccessItem,
    Text,
    Typed,
    Umask,
    Undeclared,
    UndeclaredWord,
    Value,
    empty_if_nothing,
    frozen,
    no_entries,
)
from orchestra.topology.interpolation import SECTIONS
from orchestra.topology.keys import check_environment, check_key, check_object_key, check_variable
from orchestra.topology.nodes import Scalar, is_nothing
from orchestra.topology.objectmodels import AnyPipe, AnyQueue, AnySegment, AnySemaphore, IpcObject
from orchestra.topology.processmodels import (
    CONDITIONS,
    AnyCpus,
    AnyDependency,
    AnyRestart,
    AnyStdin,
    Limits,
    Log,
    Ready,
    Restart,
    Stop,
    Waiting,
)
from orchestra.topology.values import described, fault, read_text

Key = Annotated[str, AfterValidator(check_key)]
ObjectKey = Annotated[str, AfterValidator(check_object_key)]
VariableName = Annotated[str, AfterValidator(check_variable)]
EnvironmentName = Annotated[str, AfterValidator(check_environment)]


def _uses(value: Any) -> Any:
    """A list of objects means read-write for each."""
    if isinstance(value, list | tuple):
        uses: dict[str, Access] = {}
        for index, item in enumerate(value):
            name = _list_name(item, index, "uses", "object: read")
            if name in uses:
                raise fault("duplicate_key", f"`{name}` is given twice", at=(index,))
            uses[name] = Access.READ_WRITE
        return uses
    if isinstance(value, Scalar) and not value.broken and value.text and not is_nothing(value):
        raise fault("wrong_type", f"expected a list or a mapping, found {described(value)}", f"Write [{value.text}].")
    return _nothing_or_quiet(value)


def _depends_on(value: Any) -> Any:
    """A list of processes means ready for each."""
    if isinstance(value, list | tuple):
        found: dict[str, Condition] = {}
        for index, item in enumerate(value):
            name = _list_name(item, index, "depends_on", "process: ready")
            if name in found:
                raise fault("duplicate_key", f"`{name}` is given twice", at=(index,))
            found[name] = Condition.READY
        return found
    if isinstance(value, Scalar) and not value.broken and value.text and not is_nothing(value):
        raise fault("wrong_type", f"expected a list or a mapping, found {described(value)}", f"Write [{value.text}].")
    return _nothing_or_quiet(value)


def _list_name(item: Any, index: int, key: str, form: str) -> str:
    if isinstance(item, Mapping):
        hint = f"Write `{key}: {{{form}}}`, without the `-`."
        raise fault("wrong_type", "a list holds names only", hint, at=(index,))
    try:
        return read_text(item)
    except PydanticCustomError as err:
        raise values.moved(err, (index,)) from None


def _nothing_or_quiet(value: Any) -> Any:
    if isinstance(value, Scalar) and value.broken:
        raise values.quiet()
    return empty_if_nothing(value)


_DEPENDENCY: dict[str, Any] = {"anyOf": [CONDITIONS, {"$ref": "#/$defs/Dependency"}]}
_NAMES = {"type": "array", "items": shapes.TEXT, "uniqueItems": True}

Uses = Annotated[
    Mapping[str, AccessWord],
    AfterValidator(frozen),
    BeforeValidator(_uses),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "object", "additionalProperties": shapes.words(*(item.value for item in Access))},
                _NAMES,
                {"type": "null"},
            ]
        }
    ),
]
DependsOn = Annotated[
    Mapping[str, AnyDependency],
    AfterValidator(frozen),
    BeforeValidator(_depends_on),
]
WaitFor = Annotated[Mapping[str, Waiting], AfterValidator(frozen), BeforeValidator(_nothing_or_quiet)]
Environment = Annotated[Mapping[EnvironmentName, Value], AfterValidator(frozen), BeforeValidator(_nothing_or_quiet)]


class Process(Extensible):
    """A program to start, or a function to call, once or in several copies."""

    command: Command = Field(
        default=(), description="Program and arguments; a string is split as a shell would, but none runs it."
    )
    function: FunctionName = Field(
        default="", description="Instead of a command: a Python function, called in a child of a preloaded parent."
    )
    arguments: Arguments = Field(
        default_factory=no_entries, description="Keyword arguments of the function: any values that JSON has."
    )
    python: Path | None = Field(default=None, description="The function's interpreter; default: orchestra's own.")
    directory: Directory | None = Field(default=None, description="Working folder; default: the file's own folder.")
    environment: Environment = Field(default_factory=no_entries, description="Variables on top of the caller's.")
    env_file: Files = Field(
        default=(), description="Files of NAME=value lines; a later one wins, and `environment` wins over all."
    )
    uses: Uses = Field(default_factory=no_entries, description="Objects and access; a list means read-write.")
    replicas: Replicas = Field(default=1, description="How many copies; ${replica} counts from 1.")
    service: Bool = Field(default=False, description="Runs until stopped; the run ends when all others have ended.")
    autostart: Bool = Field(default=True, description="false: starts only when it is asked for.")
    success: Annotated[tuple[SuccessItem, ...], Field(min_length=1)] = Field(
        default=(0,), description="Exit codes and signals that count as success."
    )
    depends_on: DependsOn = Field(default_factory=no_entries, description="Processes to wait for; a list means ready.")
    wait_for: WaitFor = Field(
        default_factory=no_entries, description="Objects, and processes, that must be as described before it starts."
    )
    ready: Ready | None = Field(default=None, description="How it says that it is ready; default: when it runs.")
    watchdog: Positive | None = Field(
        default=None, description="It must send WATCHDOG=1 to $NOTIFY_SOCKET at least this often, or it has failed."
    )
    restart: AnyRestart = Field(default=Restart(policy=Policy.NEVER), description="When it is started again.")
    stop: Stop = Field(default=Stop(), description="Command, signal and grace time.")
    escalate: EscalateWord = Field(
        default=Escalate.STOP_ALL, description="What its failure, when it is not restarted, means for the others."
    )
    stdin: AnyStdin = Field(default=StdinWord.NULL, description="Standard input: null, inherit or {file: …}.")
    output: OutputWord | None = Field(
        default=None, description="What its output goes to: a pipe, one with line buffering asked for, or a terminal."
    )
    user: Owner | None = Field(default=None, description="Whom it runs as: a name or a number.")
    group: Owner | None = Field(default=None, description="Its group; default: that of `user`.")
    umask: Umask | None = Field(default=None, description="Permissions that new files do not get.")
    nice: Nice | None = Field(default=None, description="Niceness, from -20 (most urgent) to 19.")
    scheduler: Scheduler | None = Field(default=None, description="Scheduling policy, sched(7).")
    cpu_affinity: AnyCpus | None = Field(default=None, description="Processors it may run on, or {each: …} a replica.")
    limits: Limits = Field(
        default_factory=no_entries,
        description="Resource limits as in setrlimit(2), such as nofile: a value, or {soft, hard}.",
    )
    isolation: IsolationWord = Field(
        default=Isolation.HOST, description="private: it reaches only objects that it inherits, or that are paths."
    )

    @classmethod
    def contradictions(cls, given: Collection[str], *, external: bool) -> list[Contradiction]:  # noqa: ARG003
        """A command or a function; what belongs to a function goes with one."""
        found = []
        if "command" in given and "function" in given:
            message = "`command` runs a program, `function` calls a function: a process does one of them"
            found.append(Contradiction("contradiction", message, "Keep one of them.", "function"))
        elif "command" not in given and "function" not in given:
            hint = "Write `command: [program, argument]`, or `function: module:name`."
            found.append(Contradiction("missing_key", "`command` is missing", hint))
        for key in ("arguments", "python"):
            if key in given and "function" not in given:
                hint = "Arguments follow the program in `command:`." if key == "arguments" else "Name it in `command:`."
                found.append(Contradiction("contradiction", f"`{key}` belongs to a `function`", hint, key))
        return found


Queues = Annotated[Mapping[ObjectKey, AnyQueue], AfterValidator(frozen), BeforeValidator(_nothing_or_quiet)]
Segments = Annotated[Mapping[ObjectKey, AnySegment], AfterValidator(frozen), BeforeValidator(_nothing_or_quiet)]
Semaphores = Annotated[Mapping[ObjectKey, AnySemaphore], AfterValidator(frozen), BeforeValidator(_nothing_or_quiet)]
Pipes = Annotated[Mapping[ObjectKey, AnyPipe], AfterValidator(frozen), BeforeValidator(_nothing_or_quiet)]
Processes = Annotated[Mapping[Key, Process], AfterValidator(frozen), BeforeValidator(_nothing_or_quiet)]
VariableValue = Annotated[str | None, Typed(values.read_variable, {"type": ["string", "number", "boolean", "null"]})]
Variables = Annotated[Mapping[VariableName, VariableValue], AfterValidator(frozen), BeforeValidator(_nothing_or_quiet)]


class Topology(Extensible):
    """A topology: kernel objects for inter-process communication, and the processes that use them."""

    version: Annotated[int, Typed(values.read_version, {"const": 1})] = Field(description="Version of the format: 1.")
    name: Annotated[Key, BeforeValidator(read_text)] = Field(
        default="orchestra", description="Name, the default of the instance; default: from the file or its folder."
    )
    description: Text = Field(default="", description="A sentence about it.")
    schema_: Annotated[str, Typed(values.read_text, shapes.TEXT)] | None = Field(
        default=None, alias="$schema", description="Where editors find this schema."
    )
    variables: Variables = Field(
        default_factory=no_entries,
        description="Values for ${…}; null must be given with --set. Order: --set, these, environment.",
    )
    include: tuple[Path, ...] = Field(default=(), description="Files to merge; the same name twice is an error.")
    queues: Queues = Field(default_factory=no_entries, description="Message queues.")
    segments: Segments = Field(default_factory=no_entries, description="Shared memory.")
    semaphores: Semaphores = Field(default_factory=no_entries, description="Semaphores and semaphore sets.")
    pipes: Pipes = Field(default_factory=no_entries, description="Pipes and FIFOs.")
    processes: Processes = Field(default_factory=no_entries, description="Programs to start, functions to call.")
    isolation: IsolationWord = Field(
        default=Isolation.HOST, description="private: the run has kernel objects of its own, unseen by the host."
    )
    output: OutputWord = Field(default=Output.PIPE, description="`output` of processes that do not say.")
    undeclared: UndeclaredWord = Field(
        default=Undeclared.REPORT, description="What happens to objects that processes made and nobody declared."
    )
    log: Log = Field(default=Log(), description="How the run's log is kept.")

    def objects(self) -> Iterator[tuple[str, str, IpcObject]]:
        """Yield (section, key, object) of every object, in the order of the sections and of the file."""
        for section in SECTIONS:
            for key, item in getattr(self, section).items():
                yield section, key, item

    def object(self, key: str) -> IpcObject | None:
        """Return an object by its key; keys are unique over all sections."""
        for section in SECTIONS:
            found: IpcObject | None = getattr(self, section).get(key)
            if found is not None:
                return found
        return None
