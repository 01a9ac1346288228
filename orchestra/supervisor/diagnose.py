"""Why a program could not be started, in words: the kernel's errno says which rule, the file says what broke it.

ENOENT is the treacherous one: execve(2) gives it for a missing file, for a missing `#!` interpreter and for a missing
ELF loader alike.
"""

from __future__ import annotations

import errno
import os
import stat
import struct

from orchestra.errors import LaunchFailed
from orchestra.kernel import namespaces
from orchestra.runplan import Ready
from orchestra.supervisor.attributes import Step

_ELF = b"\x7fELF"
_PT_INTERP = 3
_PATH_MAX = 4096


def errno_name(number: int) -> str:
    """Return ENOENT for 2."""
    return errno.errorcode.get(number, str(number))


def exec_failed(path: str, number: int, *, user: int | None = None) -> LaunchFailed:
    """Return the error of an execve(2) of `path`, as `user` if that was another, that failed with errno `number`."""
    problem, hint = _words(path, number)
    if number == errno.EACCES and user is not None and os.access(path, os.X_OK):  # we could, the child could not
        problem, hint = (
            f"user {user} may not execute {path}",
            f"`namei -l {path}` shows who may enter and execute what.",
        )
    name = errno.errorcode.get(number, str(number))
    return LaunchFailed(problem, stage="exec", errno=number, path=path, detail=f"execve({path!r}) -> {name}", hint=hint)


def not_found(name: str, path: str, refused: str | None) -> LaunchFailed:
    """Return the error of a bare command name that is in no folder of `path` (the child's PATH).

    `refused` is a file of that name that may not be executed, if one was met.
    """
    if refused is not None:
        return exec_failed(refused, errno.EACCES)
    return LaunchFailed(
        f"{name}: command not found",
        stage="exec",
        errno=errno.ENOENT,
        path=name,
        detail=f"PATH={path}",
        hint="Write the path to the program, or set PATH in its environment.",
    )


def stage_failed(stage: str, path: str, number: int) -> LaunchFailed:
    """Return the error of a step before exec."""
    if stage == "isolation":
        words, hint = namespaces.refusal(number, namespaces.read_policy())
        problem, detail = f"a namespace of its own was refused: {words}", f"{stage} -> {errno_name(number)}"
        return LaunchFailed(problem, stage=stage, errno=number, path=path, detail=detail, hint=hint)
    problem = f"{path}: {os.strerror(number)}" if path else os.strerror(number)
    if stage == "chdir":
        problem = f"cannot enter the directory {path}: {os.strerror(number)}"
    hint = "See `ulimit -n`, or run fewer processes at a time." if number in (errno.EMFILE, errno.ENFILE) else ""
    detail = f"{stage} -> {errno_name(number)}"
    return LaunchFailed(problem, stage=stage, errno=number, path=path, detail=detail, hint=hint)


def step_failed(step: Step, number: int, directory: str) -> LaunchFailed:
    """Return the error of an attribute that the kernel refused to a child."""
    return LaunchFailed(
        f"{step.problem}: {os.strerror(number)}",
        stage=step.stage,
        errno=number,
        path=directory if step.stage == "chdir" else "",
        detail=f"{step.call}{step.arguments!r} -> {errno_name(number)}",
        hint=step.hint if number in (errno.EPERM, errno.EACCES) or step.stage == "affinity" else "",
    )


def _words(path: str, number: int) -> tuple[str, str]:
    """Return the problem and a hint."""
    match number:
        case errno.ENOENT:
            return _missing(path)
        case errno.EACCES:
            return _refused(path)
        case errno.ENOEXEC:
            return _not_executable(path)
        case errno.E2BIG:
            return f"{path}: arguments and environment are too long", "See `getconf ARG_MAX`."
        case errno.ETXTBSY:
            return f"{path} is being written to", "Let the process that builds it complete first (depends_on)."
        case errno.EAGAIN | errno.ENOMEM:
            return f"no further process can be started: {os.strerror(number)}", "See `ulimit -u` and free memory."
        case _:
            return f"{path}: {os.strerror(number)}", ""


def _missing(path: str) -> tuple[str, str]:
    if not os.path.lexists(path):
        return f"{path} does not exist", ""
    if not os.path.exists(path):
        return f"{path} is a link to {os.readlink(path)}, which does not exist", ""
    head = _head(path)
    interpreter = _interpreter(head)
    if interpreter is not None:
        hint = "The line ends in a carriage return: save the file with Unix line ends." if "\r" in interpreter else ""
        return f"{path} wants the interpreter {interpreter!r}, which does not exist", hint
    loader = _loader(path, head)
    if loader is not None:
        return (
            f"{path} wants the loader {loader!r}, which does not exist",
            "It was built for another system (another C library or architecture).",
        )
    return f"{path} cannot be found by the kernel", ""


def _refused(path: str) -> tuple[str, str]:
    try:
        info = os.stat(path)
    except OSError as err:
        return f"{path} cannot be reached: {err.strerror}", "A folder on the way may not be entered."
    if stat.S_ISDIR(info.st_mode):
        return f"{path} is a directory", ""
    if not info.st_mode & 0o111:
        return f"{path} is not executable", f"chmod +x {path}"
    if not os.access(path, os.X_OK):
        return f"you may not execute {path} (mode {stat.S_IMODE(info.st_mode):#o})", ""
    if os.statvfs(path).f_flag & os.ST_NOEXEC:
        return f"{path} is on a file system mounted noexec", ""
    interpreter = _interpreter(_head(path))
    if interpreter is not None:
        return f"{path} wants the interpreter {interpreter!r}, which may not be executed", ""
    return f"{path}: permission denied", ""


def _not_executable(path: str) -> tuple[str, str]:
    head = _head(path)
    if not head:
        return f"{path} is empty", ""
    if head.startswith(_ELF):
        return f"{path} was built for another architecture", ""
    if head.startswith(b"#!"):
        return f"{path} has a #! line that the kernel does not accept", ""
    return (
        f"{path} has no #! line and is no program",
        "Begin it with a line such as #!/bin/sh, or name its interpreter in `command`.",
    )


def _head(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(4096)
    except OSError:
        return b""


def _interpreter(head: bytes) -> str | None:
    """Return the program of a `#!` line. A carriage return stays: it is part of what the kernel looks for."""
    if not head.startswith(b"#!"):
        return None
    line = head[2:].split(b"\n", 1)[0]
    words = line.strip(b" \t").replace(b"\t", b" ").split(b" ")
    return os.fsdecode(words[0]) or None


def _loader(path: str, head: bytes) -> str | None:
    """Return PT_INTERP of an ELF file, None when it has none or is damaged. Source: elf(5)."""
    if not head.startswith(_ELF) or len(head) < 64:
        return None
    order = "<" if head[5] == 1 else ">"
    wide = head[4] == 2
    try:
        if wide:
            (table,) = struct.unpack_from(order + "Q", head, 32)
            size, number = struct.unpack_from(order + "HH", head, 54)
        else:
            (table,) = struct.unpack_from(order + "I", head, 28)
            size, number = struct.unpack_from(order + "HH", head, 42)
        with open(path, "rb") as file:
            for index in range(number):
                file.seek(table + index * size)
                entry = file.read(size)
                if struct.unpack_from(order + "I", entry)[0] == _PT_INTERP:
                    offset, length = _place(order, entry, wide=wide)
                    file.seek(offset)
                    return os.fsdecode(file.read(min(length, _PATH_MAX)).rstrip(b"\0"))
    except (OSError, struct.error, ValueError, OverflowError):  # damaged: offsets that lead nowhere
        return None
    return None


def _place(order: str, entry: bytes, *, wide: bool) -> tuple[int, int]:
    """Return p_offset and p_filesz of a program header."""
    if wide:
        return struct.unpack_from(order + "Q", entry, 8)[0], struct.unpack_from(order + "Q", entry, 32)[0]
    return struct.unpack_from(order + "I", entry, 4)[0], struct.unpack_from(order + "I", entry, 16)[0]


def lost_output(by_signal: str | None, output: str) -> str:
    """Return what a person should know who misses output of a process that failed; "" when nothing can be lost."""
    if by_signal is None or output != "pipe":
        return ""
    return "What it had printed and not written yet is lost: a pipe is buffered. See `output: line`."


_MISSING = {
    "notify": "READY=1 did not come on NOTIFY_SOCKET",
    "fd": "no newline came on descriptor {fd}",
    "log": "no line matched {pattern!r}",
    "exec": "its probe did not exit with 0",
    "tcp": "nobody accepted a connection on port {port}",
    "unix": "nobody accepted a connection on its socket",
    "exists": "{object} does not exist",
    "stopped": "it did not stop itself with SIGSTOP",
}


def not_ready(ready: Ready, output: str, why: str) -> str:
    """Return why a process was not ready in time. `why` is what is known besides; `output` is how it writes."""
    missing = _MISSING[ready.kind].format(**ready._asdict())
    words = f"was not ready within {ready.timeout:g} s: {missing}{f' ({why})' if why else ''}"
    if ready.kind == "log" and output == "pipe":
        words += "; what it wrote to a pipe may still be in its buffer, which `output: line` avoids"
    return words
