"""Every error that orchestra raises on purpose; a leaf module that imports nothing of ours.

One class per decision a caller can take, not per place it happens::

    OrchestraError                exit 1   the work failed
    ├── UsageError                exit 2   the command line or a target is wrong
    │   └── TopologyError         exit 2   a topology file is invalid; carries every Problem found
    ├── NotFound                  exit 4   no such instance, run or object
    ├── Conflict                  exit 5   already up, or a name is taken
    │   └── ObjectExists          exit 5   an IPC object of that name or key is already there
    ├── DeadlinePassed            exit 124
    ├── KernelError               exit 1   a system call on an IPC object was refused
    │   ├── PermissionRefused     EACCES, EPERM
    │   ├── LimitReached          a kernel limit or quota, named in the hint
    │   ├── OutOfSpace            ENOSPC of a file system, ENOMEM
    │   ├── ObjectGone            ENOENT, EIDRM, EINVAL of an id that vanished
    │   └── ShapeMismatch         the object exists but is not what was declared
    ├── LaunchFailed              exit 1   a process could not be started; names the stage
    ├── SupervisorLost            exit 1   a supervisor ended before it had answered
    ├── LedgerError               exit 1   the ledger cannot be read or written
    └── StateError                exit 1   the state directory is unusable
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple


class OrchestraError(Exception):
    """Base of every error raised on purpose: catch this and you catch all of ours."""

    exit_code: ClassVar[int] = 1

    def __init__(self, problem: str, *, detail: str = "", hint: str = "") -> None:
        super().__init__(problem)  # one line in the reader's words, no system call names
        self.problem = problem
        self.detail, self.hint = detail, hint  # the exact failed call; what to do, if we know

    def __str__(self) -> str:
        extra = [f"{label}: {text}" for label, text in (("detail", self.detail), ("help", self.hint)) if text]
        return "\n".join([self.problem, *extra])

    def to_wire(self) -> dict[str, Any]:
        """Return a JSON-ready form that `from_wire` turns back into the same class in another process."""
        return {
            "class": type(self).__name__,
            "problem": self.problem,
            "detail": self.detail,
            "hint": self.hint,
        }


class UsageError(OrchestraError):
    """The command line, or a target named on it, is wrong."""

    exit_code = 2


class Problem(NamedTuple):
    """One finding in a topology file. `line` and `column` count from 1; 0 means the whole file."""

    file: str
    line: int
    column: int
    code: str  # a stable word: "unknown_key", "duplicate_key", "limit" …
    path: str  # dotted path in the document: "processes.worker.uses.jobs"
    message: str
    help: str = ""
    excerpt: str = ""  # the source line, as it stands in the file
    width: int = 1  # columns the caret underlines


class TopologyError(UsageError):
    """A topology file is invalid; `problems` holds all findings of one pass, `warnings` what is merely odd."""

    def __init__(self, problems: list[Problem], warnings: list[Problem] | None = None) -> None:
        count = len(problems)
        super().__init__(f"{count} error{'' if count == 1 else 's'} in the topology")
        self.problems = problems
        self.warnings = warnings or []


class NotFound(OrchestraError):
    """No such instance, run or object."""

    exit_code = 4


class Conflict(OrchestraError):
    """The instance is already up, or a name belongs to somebody else."""

    exit_code = 5


class DeadlinePassed(OrchestraError):
    """What was waited for did not happen in time."""

    exit_code = 124


class KernelError(OrchestraError):
    """A system call on an IPC object failed; the OSError is the `__cause__`."""


class ObjectExists(KernelError, Conflict):
    """An object of that name or key is already there and is not ours."""

    exit_code = 5


class PermissionRefused(KernelError):
    """The kernel refused access (EACCES, EPERM)."""


class LimitReached(KernelError):
    """A kernel limit or a quota is exhausted; the hint names which."""


class OutOfSpace(KernelError):
    """The file system or memory behind the object is full."""


class ObjectGone(KernelError):
    """The object vanished, or never existed."""


class ShapeMismatch(KernelError):
    """An object exists but its size, limits or type differ from what the file declares."""

    exit_code = 5


class LaunchFailed(OrchestraError):
    """A process could not be started."""

    def __init__(self, problem: str, *, stage: str, errno: int, path: str, detail: str = "", hint: str = "") -> None:
        super().__init__(problem, detail=detail, hint=hint)
        self.stage = stage  # "descriptors", "chdir", "credentials", "exec"
        self.errno = errno
        self.path = path  # the file or folder the stage was about


class SupervisorLost(OrchestraError):
    """A supervisor ended, or was killed, before it had answered."""


class LedgerError(OrchestraError):
    """The ledger cannot be opened, read or written."""


class StateError(OrchestraError):
    """The state directory is missing, unsafe or not writable."""


def from_wire(wire: dict[str, Any]) -> OrchestraError:
    """Rebuild an error sent by another process; an unknown class becomes OrchestraError."""
    found = {cls.__name__: cls for cls in _tree(OrchestraError)}.get(str(wire.get("class")), OrchestraError)
    if found in (LaunchFailed, TopologyError):  # their extra fields do not travel
        found = OrchestraError
    return found(str(wire.get("problem", "")), detail=str(wire.get("detail", "")), hint=str(wire.get("hint", "")))


def _tree(cls: type[OrchestraError]) -> list[type[OrchestraError]]:
    return [cls, *(deeper for sub in cls.__subclasses__() for deeper in _tree(sub))]
