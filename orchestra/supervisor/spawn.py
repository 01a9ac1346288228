"""Start one child. Two ways:

*posix_spawn* where no descriptor must be passed: glibc's vfork, with a session of its own, default signals and an
empty mask. The supervisor has already changed into the child's directory; every descriptor of ours is close-on-exec,
so nothing needs closing.

*fork* where descriptors are passed: they are laid out from 3 upwards and LISTEN_PID must be the child's own pid, which
only the child knows. After the fork it does nothing but system calls on values prepared before. What fails is told
through a close-on-exec pipe as stage and errno; an exec that worked closes that pipe silently.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import signal
import stat
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from orchestra.bindings import FIRST_FD
from orchestra.errors import LaunchFailed
from orchestra.supervisor import diagnose

_NEVER = frozenset({signal.SIGKILL, signal.SIGSTOP})


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
    if wanted.passed or wanted.extra_fds or open_files is not None:
        return _fork(wanted, path, open_files)
    return _spawn(wanted, path)


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
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=ignored_signals(),
        )
    except OSError as err:
        raise diagnose.exec_failed(_shown(wanted, path), err.errno or 0) from err
    except ValueError as err:  # a NUL byte, which no exec can pass
        raise diagnose.stage_failed("exec", path, errno.EINVAL) from err


def _fork(wanted: Launch, path: str, open_files: tuple[int, int] | None) -> int:
    defaults = (*ignored_signals(), *_handled())
    report, reply = os.pipe2(os.O_CLOEXEC)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            _become(wanted, path, reply, defaults, open_files)
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
    raise _failed(stage.decode(), int(number), _shown(wanted, path))


def _failed(stage: str, number: int, path: str) -> LaunchFailed:
    return diagnose.exec_failed(path, number) if stage == "exec" else diagnose.stage_failed(stage, path, number)


def _shown(wanted: Launch, path: str) -> str:
    """Return the whole path of the program, for people."""
    return os.path.join(wanted.directory, path.removeprefix("./"))


def _handled() -> list[int]:
    return [number for number in signal.valid_signals() if callable(signal.getsignal(number))]


def _become(wanted: Launch, path: str, reply: int, defaults: Sequence[int], open_files: tuple[int, int] | None) -> None:
    """Turn the forked child into the program; never returns."""
    stage = b"descriptors"
    try:
        os.setsid()
        places = wanted.places()
        reply = _aside(reply, places)
        for number, fd in {number: _aside(fd, places) for number, fd in places.items()}.items():
            os.dup2(fd, number)
        stage = b"limits"
        if open_files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, open_files)
        stage = b"signals"
        for handled in defaults:
            signal.signal(handled, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        environment = dict(wanted.environment)
        if wanted.passed:
            environment["LISTEN_PID"] = str(os.getpid())
        stage = b"exec"
        os.execve(path, wanted.argv, environment)  # noqa: S606 that no shell is involved is the point
    except OSError as err:
        with contextlib.suppress(OSError):
            os.write(reply, b"%s %d" % (stage, err.errno or 0))
    except BaseException:  # noqa: BLE001 whatever it is, this copy of the supervisor must not live on
        with contextlib.suppress(OSError):
            os.write(reply, b"%s %d" % (stage, errno.EINVAL))
    finally:
        os._exit(127)


def _aside(fd: int, places: Collection[int]) -> int:
    """Return a copy of `fd` that is in nobody's place. It may be close: high numbers can be over the limit."""
    while (copy := fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST_FD)) in places:
        fd = copy
    return copy
