"""Start one child. Two ways:

*posix_spawn* where no object is passed as a descriptor, and of what `ready:` needs one at most: glibc's vfork, with a
session of its own, default signals and an empty mask. The supervisor has already changed into the child's directory;
every descriptor of ours is close-on-exec, so nothing needs closing.

*fork*, some milliseconds more, where objects are passed as descriptors (they are laid out from 3 upwards and LISTEN_PID
must be the child's own pid, which only the child knows), where the child gets attributes of its own, or a terminal.
After the fork it does nothing but system calls on values prepared before. What fails is told through a close-on-exec
pipe as stage and errno; an exec that worked closes that pipe silently.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from orchestra.bindings import FIRST_FD
from orchestra.errors import KernelError
from orchestra.kernel import namespaces
from orchestra.runplan import Attributes
from orchestra.supervisor import attributes, become, diagnose
from orchestra.supervisor.attributes import Step

_NEVER = frozenset({signal.SIGKILL, signal.SIGSTOP})
_NO_ATTRIBUTES = Attributes()
_LOW = 256  # no limit on open files is so low, in practice: beyond it, fork says best what is wrong


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything one child gets, resolved. The descriptors are the supervisor's own and stay its to close."""

    argv: list[str]
    directory: str
    environment: Mapping[str, str]
    stdin: int
    stdout: int
    stderr: int
    passed: Sequence[int] = ()  # become 3, 4, … in the child
    extra_fds: Mapping[int, int] = field(default_factory=dict)  # number in the child -> descriptor
    attributes: Attributes = _NO_ATTRIBUTES
    replica: int = 1
    isolated: bool = False  # in an IPC namespace of its own
    joins: int | None = None  # in that of this process
    reads_input: bool = False  # stdin is more than /dev/null
    terminal: bool = False  # stdout is a terminal, and becomes the controlling one of the child's session
    function: str = ""  # for the parent of functions: "module:name"; then argv is what `ps` shows
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def places(self) -> dict[int, int]:
        """Return which descriptor of ours becomes which number in the child."""
        passed = dict(enumerate(self.passed, FIRST_FD))
        return {0: self.stdin, 1: self.stdout, 2: self.stderr, **passed, **self.extra_fds}


def launch(wanted: Launch, *, open_files: tuple[int, int] | None = None) -> int:
    """Start a child and return its pid; it leads its own session and group. Raises LaunchFailed.

    `open_files` is the RLIMIT_NOFILE to give the child, where ours is another. Changes the working directory of this
    process.
    """
    enter(wanted.directory)
    path = executable(wanted.argv[0], wanted.environment)
    steps = steps_of(wanted, open_files)
    if wanted.passed or not _is_simple(wanted.extra_fds) or wanted.isolated or wanted.joins or wanted.terminal or steps:
        return _fork(wanted, path, steps)
    return _spawn(wanted, path)


def _is_simple(extra: Mapping[int, int]) -> bool:
    """Whether posix_spawn can put these descriptors in place: one cannot lie in another's way, nor beyond a limit."""
    return len(extra) <= 1 and all(FIRST_FD <= number < _LOW for number in extra)


def steps_of(wanted: Launch, open_files: tuple[int, int] | None) -> tuple[Step, ...]:
    """Return what the child must do to get its attributes."""
    if wanted.attributes == _NO_ATTRIBUTES and open_files is None:
        return ()
    return attributes.steps(
        wanted.attributes, wanted.replica, _identity(), open_files=open_files, directory=wanted.directory
    )


@cache
def _identity() -> attributes.Identity:
    return attributes.Identity(os.geteuid(), os.getegid(), tuple(os.getgroups()))


def enter(directory: str) -> None:
    """Make `directory` the working directory. Raises LaunchFailed with stage chdir."""
    try:
        os.chdir(directory)
    except OSError as err:
        raise diagnose.stage_failed("chdir", directory, err.errno or 0) from err


def executable(name: str, environment: Mapping[str, str]) -> str:
    """Return the file to execute: a name with a slash as it is, else looked up in the PATH of `environment`.

    Relative paths count from the working directory, which is the child's. Raises LaunchFailed.
    """
    if "/" in name:
        return name
    search = environment.get("PATH", os.defpath)
    refused = None
    for folder in search.split(os.pathsep):
        candidate = os.path.join(folder or ".", name)
        try:
            if not stat.S_ISREG(os.stat(candidate).st_mode):
                continue
        except OSError:
            continue
        if os.access(candidate, os.X_OK):
            return candidate
        refused = refused or candidate
    raise diagnose.not_found(name, search, refused)


@cache
def ignored_signals() -> tuple[int, ...]:
    """Signals that this process ignores (Python: SIGPIPE, SIGXFSZ; whoever started it: SIGHUP, after nohup).

    Exec keeps them ignored, so they are set to default in each child; handled ones exec resets by itself.
    """
    return tuple(
        number
        for number in signal.valid_signals()
        if number not in _NEVER and signal.getsignal(number) is signal.SIG_IGN
    )


def _spawn(wanted: Launch, path: str) -> int:
    try:
        return os.posix_spawn(
            path,
            wanted.argv,
            wanted.environment,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, wanted.stdin, 0),
                (os.POSIX_SPAWN_DUP2, wanted.stdout, 1),
                (os.POSIX_SPAWN_DUP2, wanted.stderr, 2),
                *[(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in wanted.extra_fds.items()],
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=ignored_signals(),
        )
    except OSError as err:
        raise diagnose.exec_failed(_shown(wanted, path), err.errno or 0) from err
    except ValueError as err:  # a NUL byte, which no exec can pass
        raise diagnose.stage_failed("exec", path, errno.EINVAL) from err


def _fork(wanted: Launch, path: str, steps: Sequence[Step]) -> int:
    defaults = (*ignored_signals(), *_handled())
    plain = [step.plain for step in steps]
    report, reply = os.pipe2(os.O_CLOEXEC)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            _become(wanted, path, reply, defaults, plain)
    except OSError as err:
        os.close(report)
        raise diagnose.exec_failed(_shown(wanted, path), err.errno or 0) from err
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(reply)
    with os.fdopen(report, "rb") as file:
        said = file.read()
    if not said:
        return pid
    os.waitpid(pid, 0)
    stage, number = said.split()
    if stage.isdigit():
        raise diagnose.step_failed(steps[int(stage)], int(number), wanted.directory)
    if stage == b"exec":
        raise diagnose.exec_failed(_shown(wanted, path), int(number), user=wanted.attributes.user)
    raise diagnose.stage_failed(stage.decode(), _shown(wanted, path), int(number))


def _shown(wanted: Launch, path: str) -> str:
    """Return the whole path of the program, for people."""
    return os.path.join(wanted.directory, path.removeprefix("./"))


def _handled() -> list[int]:
    return [number for number in signal.valid_signals() if callable(signal.getsignal(number))]


def _isolate(joins: int | None) -> None:
    """Leave for an IPC namespace of our own, or for that of another process. Raises OSError."""
    try:
        if joins is None:
            namespaces.make_private_ipc()
        else:
            namespaces.enter(joins)
    except KernelError as err:
        cause = err.__cause__
        raise (cause if isinstance(cause, OSError) else OSError(errno.EPERM, err.problem)) from err


def _become(wanted: Launch, path: str, reply: int, defaults: Sequence[int], steps: Sequence[tuple[Any, ...]]) -> None:
    """Turn the forked child into the program; never returns."""
    stage = b"descriptors"
    try:
        os.setsid()
        places = wanted.places()
        reply = become.aside(reply, places)
        become.arrange(places)
        if wanted.terminal:
            stage = b"terminal"
            become.control_terminal(1)
        if wanted.isolated or wanted.joins:
            stage = b"isolation"
            _isolate(wanted.joins)
        stage = b"signals"
        for handled in defaults:
            signal.signal(handled, signal.SIG_DFL)
        environment = dict(wanted.environment)
        if wanted.passed:
            environment["LISTEN_PID"] = str(os.getpid())
        become.take(steps)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        stage = b"exec"
        os.execve(path, wanted.argv, environment)  # noqa: S606 that no shell is involved is the point
    except become.Refused as err:
        with contextlib.suppress(OSError):
            os.write(reply, b"%d %d" % (err.index, err.errno))
    except OSError as err:
        with contextlib.suppress(OSError):
            os.write(reply, b"%s %d" % (stage, err.errno or 0))
    except BaseException as err:  # noqa: BLE001 whatever it is, this copy of the supervisor must not live on
        number = errno.ENOMEM if isinstance(err, MemoryError) else errno.EINVAL
        with contextlib.suppress(OSError):
            os.write(reply, b"%s %d" % (stage, number))
    finally:
        os._exit(127)
