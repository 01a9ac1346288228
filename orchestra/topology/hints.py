"""Help for words that are wrong: what other tools call our keys, and the nearest name by spelling.

Foreign words are hints, never synonyms: a file means one thing to every reader.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from heapq import nlargest
from itertools import islice

CANDIDATES_MAX = 2000  # names looked at for one wrong word
LIKELY_MAX = 24  # of these difflib compares each letter, which takes a hundred times longer
LETTERS_MAX = 80  # of a word; the time goes with the square of it
NAMES_SHOWN_MAX = 24
EFFORT_MAX = 150_000  # names looked at for all wrong words of a file together: well below a second
_EFFORT_LIKELY = 10  # what one that difflib compares costs of that

_effort: ContextVar[int | None] = ContextVar("_effort", default=None)

_NO_CONTAINER = "Processes run on this host as they are: there is no image to pull or mount into."
_NO_RESTART = "A process is started once; `escalate` says what its failure means for the others."
_AS_CALLER = "A process runs as whoever starts it, with the same limits; `command: [env, …]` can change that."
_ONE_RUN = "Start order is `depends_on: {other: completed}`: started, ready, completed or ended."

# What people write at the top of a file.
TOP = {
    "services": "Programs are declared under `processes:`.",
    "programs": "Programs are declared under `processes:`.",
    "apps": "Programs are declared under `processes:`.",
    "jobs": "Programs are declared under `processes:`.",
    "tasks": "Programs are declared under `processes:`.",
    "process": "The section is called `processes:`.",
    "shm": "Shared memory is declared under `segments:`.",
    "shared_memory": "Shared memory is declared under `segments:`.",
    "memory": "Shared memory is declared under `segments:`.",
    "volumes": "Memory that processes share is declared under `segments:`; `family: file` maps a file.",
    "mq": "Message queues are declared under `queues:`.",
    "mqueue": "Message queues are declared under `queues:`.",
    "message_queues": "Message queues are declared under `queues:`.",
    "msg": "Message queues are declared under `queues:`.",
    "sem": "Semaphores are declared under `semaphores:`.",
    "sems": "Semaphores are declared under `semaphores:`.",
    "semaphore_sets": "Semaphores are declared under `semaphores:`; `family: sysv` with `values:` is a set.",
    "mutexes": "A mutex is a semaphore with `value: 1`, under `semaphores:`.",
    "locks": "A lock is a semaphore with `value: 1`, under `semaphores:`.",
    "fifo": "FIFOs are declared under `pipes:` with `family: fifo`.",
    "fifos": "FIFOs are declared under `pipes:` with `family: fifo`.",
    "objects": "Objects are declared by kind: `queues:`, `segments:`, `semaphores:`, `pipes:`.",
    "networks": "There are no networks: processes share queues, segments, semaphores and pipes.",
    "env": "Environment belongs to a process: `environment:`. Values for `${…}` go under `variables:`.",
    "environment": "Environment belongs to a process. Values for `${…}` go under `variables:`.",
    "vars": "Values for `${…}` go under `variables:`.",
    "includes": "Other files are merged by `include: [file.yaml]`.",
    "import": "Other files are merged by `include: [file.yaml]`.",
    "imports": "Other files are merged by `include: [file.yaml]`.",
    "extends": "Other files are merged by `include: [file.yaml]`.",
    "title": "The name of a topology is `name:`, a sentence about it `description:`.",
    "schema": "The schema of the file is `$schema:`, the version of the format `version: 1`.",
    "apiVersion": "The version of the format is `version: 1`.",
    "kind": "A topology has no kind; start with `version: 1`.",
    "restart": _NO_RESTART,
    "isolation": "Objects and processes live in the caller's namespaces, as if started by hand.",
    "output": "What processes print goes to the run's log: `orchestra logs`.",
    "log": "What processes print goes to the run's log: `orchestra logs`.",
    "logging": "What processes print goes to the run's log: `orchestra logs`.",
    "env_file": "Values for `${…}` go under `variables:` or come with --set.",
}

# What people write in a process.
PROCESS = {
    "cwd": "The working folder is `directory:`.",
    "workdir": "The working folder is `directory:`.",
    "working_dir": "The working folder is `directory:`.",
    "working_directory": "The working folder is `directory:`.",
    "WorkingDirectory": "The working folder is `directory:`.",
    "dir": "The working folder is `directory:`.",
    "chdir": "The working folder is `directory:`.",
    "cmd": "The program and its arguments are `command:`.",
    "exec": "The program and its arguments are `command:`.",
    "ExecStart": "The program and its arguments are `command:`.",
    "run": "The program and its arguments are `command:`.",
    "argv": "The program and its arguments are `command:`.",
    "args": "Arguments follow the program in `command:`.",
    "arguments": "Arguments follow the program in `command:`.",
    "entrypoint": "The program and its arguments are `command:`.",
    "script": "The program and its arguments are `command:`; for shell text write [sh, -c, '…'].",
    "shell": "No shell runs the command; for shell text write `command: [sh, -c, '…']`.",
    "env": "Variables of a process are `environment:`.",
    "environ": "Variables of a process are `environment:`.",
    "Environment": "Variables of a process are `environment:`.",
    "env_file": "Variables of a process are `environment:`; the caller's environment is passed on as well.",
    "needs": "Objects are `uses:`, the order of start is `depends_on:`.",
    "requires": "Objects are `uses:`, the order of start is `depends_on:`.",
    "after": _ONE_RUN,
    "After": _ONE_RUN,
    "wants": _ONE_RUN,
    "depends": _ONE_RUN,
    "links": "Objects that processes share are `uses:`.",
    "use": "Objects are `uses:`.",
    "queues": "Declare queues at the top of the file; here `uses: {queue: read}`.",
    "segments": "Declare segments at the top of the file; here `uses: {segment: read}`.",
    "semaphores": "Declare semaphores at the top of the file; here `uses: [semaphore]`.",
    "pipes": "Declare pipes at the top of the file; here `uses: {pipe: write}`.",
    "instances": "The number of copies is `replicas:`.",
    "numprocs": "The number of copies is `replicas:`.",
    "count": "The number of copies is `replicas:`.",
    "scale": "The number of copies is `replicas:`.",
    "deploy": "The number of copies is `replicas:`.",
    "daemon": "A process that runs until it is stopped has `service: true`.",
    "background": "Every process runs in the background; one that runs until it is stopped has `service: true`.",
    "oneshot": "A process may end by itself unless it has `service: true`.",
    "type": "A process that runs until it is stopped has `service: true`; others may end by themselves.",
    "exitcodes": "Exit codes that count as success are `success: [0, …]`.",
    "exit_codes": "Exit codes that count as success are `success: [0, …]`.",
    "SuccessExitStatus": "Exit codes that count as success are `success: [0, …]`.",
    "stop_signal": "Write `stop: {signal: SIGTERM, grace: 5s}`.",
    "stopsignal": "Write `stop: {signal: SIGTERM, grace: 5s}`.",
    "KillSignal": "Write `stop: {signal: SIGTERM, grace: 5s}`.",
    "stop_grace_period": "Write `stop: {signal: SIGTERM, grace: 5s}`.",
    "stopwaitsecs": "Write `stop: {signal: SIGTERM, grace: 5s}`.",
    "shutdown": "Write `stop: {signal: SIGTERM, grace: 5s}`.",
    "healthcheck": "A process counts as ready when it runs. To wait for work to be done, depend on `completed`.",
    "readiness_probe": "A process counts as ready when it runs. To wait for work to be done, depend on `completed`.",
    "liveness_probe": "A process counts as ready when it runs. To wait for work to be done, depend on `completed`.",
    "ready": "A process counts as ready when it runs. To wait for work to be done, depend on `completed`.",
    "restart": _NO_RESTART,
    "autorestart": _NO_RESTART,
    "restart_policy": _NO_RESTART,
    "availability": _NO_RESTART,
    "on_failure": "What a failure means for the others is `escalate: stop-all | stop-dependants | ignore`.",
    "user": _AS_CALLER,
    "group": _AS_CALLER,
    "umask": _AS_CALLER,
    "nice": _AS_CALLER,
    "limits": _AS_CALLER,
    "ulimits": _AS_CALLER,
    "stdin": "A process reads nothing: its standard input is /dev/null. Connect processes with `pipes:`.",
    "stdin_open": "A process reads nothing: its standard input is /dev/null. Connect processes with `pipes:`.",
    "output": "Output goes to the run's log: `orchestra logs`.",
    "function": "A process runs a program: `command: [python3, -c, 'from module import function; function()']`.",
    "wait_for": _ONE_RUN,
    "autostart": "Every process starts; to start some of them, name them: `orchestra up FILE PROCESS`.",
    "expect": "What counts as success is `success: [0, …]`.",
    "image": f"Name a program in `command:`. {_NO_CONTAINER}",
    "build": f"Build with a process that others depend on by `completed`. {_NO_CONTAINER}",
    "container_name": "The name of a process is its key.",
    "name": "The name of a process is its key.",
    "volumes": "Memory that processes share is declared under `segments:` and used by `uses:`.",
    "ports": f"{_NO_CONTAINER} A process opens the ports it wants.",
    "networks": f"{_NO_CONTAINER} Processes share queues, segments, semaphores and pipes.",
    "shm_size": "Declare each piece of shared memory under `segments:` with its `size`.",
    "stdout": "Output goes to the run's log: `orchestra logs`.",
    "stderr": "Output goes to the run's log: `orchestra logs`.",
    "logging": "Output goes to the run's log: `orchestra logs`.",
    "log": "Output goes to the run's log: `orchestra logs`.",
}

_MODE = "Permissions are `mode: 0o600`."
_SIZE_OF_QUEUE = "A queue is sized by `max_messages` and `message_size`."
_COMMON = {
    "type": "The interface is `family:`.",
    "kind": "The kind is the section an object stands in; the interface is `family:`.",
    "driver": "The interface is `family:`.",
    "permissions": _MODE,
    "perm": _MODE,
    "perms": _MODE,
    "mask": _MODE,
    "msgflg": _MODE,
    "uid": "The owner is `owner:`, a name or a number.",
    "user": "The owner is `owner:`, a name or a number.",
    "gid": "The group is `group:`, a name or a number.",
    "keep": "What happens at the end is `on_down: remove | keep | keep-on-failure`.",
    "persist": "What happens at the end is `on_down: remove | keep | keep-on-failure`.",
    "leak": "What happens at the end is `on_down: remove | keep | keep-on-failure`.",
    "cleanup": "What happens at the end is `on_down: remove | keep | keep-on-failure`.",
    "project": "An ftok key is `key: {path: ./file, project: A}`.",
    "ftok": "An ftok key is `key: {path: ./file, project: A}`.",
    "readers": "Who uses an object is said by the process: `uses: {object: read}`.",
    "writers": "Who uses an object is said by the process: `uses: {object: write}`.",
    "made_by": "Objects are made before the first process starts; one that others make is `external: true`.",
}

# What people write in an object, by section.
OBJECT = {
    "queues": {
        **_COMMON,
        "mq_maxmsg": "The number of messages is `max_messages:`.",
        "maxmsg": "The number of messages is `max_messages:`.",
        "depth": "The number of messages is `max_messages:`.",
        "length": "The number of messages is `max_messages:`.",
        "mq_msgsize": "The size of one message is `message_size:`.",
        "msgsize": "The size of one message is `message_size:`.",
        "message_bytes": "The size of one message is `message_size:`.",
        "max_message_size": "The size of one message is `message_size:`.",
        "size": _SIZE_OF_QUEUE,
        "bytes": _SIZE_OF_QUEUE,
        "msg_qbytes": "The bytes a System V queue may hold are `capacity:`.",
        "qbytes": "The bytes a System V queue may hold are `capacity:`.",
    },
    "segments": {
        **_COMMON,
        "length": "The size is `size:`.",
        "bytes": "The size is `size:`.",
        "capacity": "The size is `size:`.",
        "shm_segsz": "The size is `size:`.",
        "content": "The first content is `fill: zeros | {text: …} | {hex: …} | {file: …}`.",
        "init": "The first content is `fill: zeros | {text: …} | {hex: …} | {file: …}`.",
        "initial": "The first content is `fill: zeros | {text: …} | {hex: …} | {file: …}`.",
        "file": "A mapped file is `family: file` with `path:`; first content is `fill: {file: …}`.",
    },
    "semaphores": {
        **_COMMON,
        "initial": "The first value is `value:`.",
        "init": "The first value is `value:`.",
        "count": "The first value is `value:`; the values of a System V set are `values: [1, 0]`.",
        "nsems": "A System V set has one entry in `values:` per semaphore.",
        "size": "A System V set has one entry in `values:` per semaphore.",
    },
    "pipes": {
        **_COMMON,
        "file": "The path of a FIFO is `path:`.",
    },
}

STOP = {
    "timeout": "The time between the signal and SIGKILL is `grace:`.",
    "wait": "The time between the signal and SIGKILL is `grace:`.",
    "grace_period": "The time between the signal and SIGKILL is `grace:`.",
    "command": "A process is stopped by a signal: `signal:`.",
}

CONDITIONS = {
    "service_started": "started",
    "service_healthy": "ready",
    "service_completed_successfully": "completed",
    "process_started": "started",
    "process_healthy": "ready",
    "process_completed": "ended",
    "process_completed_successfully": "completed",
    "healthy": "ready",
    "running": "started",
    "exited": "ended",
    "finished": "ended",
    "done": "completed",
    "success": "completed",
}

ACCESS = {
    "r": "read",
    "ro": "read",
    "rd": "read",
    "read-only": "read",
    "readonly": "read",
    "reader": "read",
    "receive": "read",
    "in": "read",
    "w": "write",
    "wo": "write",
    "write-only": "write",
    "writer": "write",
    "send": "write",
    "out": "write",
    "rw": "read-write",
    "readwrite": "read-write",
    "read_write": "read-write",
    "both": "read-write",
}

ON_DOWN = {"delete": "remove", "unlink": "remove", "leak": "keep", "true": "keep", "false": "remove"}


@contextmanager
def bounded(effort: int = EFFORT_MAX) -> Iterator[None]:
    """Look for nearest names inside only until so many were looked at: of ten thousand slips nobody reads each help.

    Works as a decorator, too. The first wrong words of a file get theirs, whatever the machine.
    """
    before = _effort.set(effort)
    try:
        yield
    finally:
        _effort.reset(before)


def nearest(word: str, names: Iterable[str]) -> str | None:
    """Return the name that `word` is most likely a slip of, or None."""
    import difflib  # only on the way to an error message

    left = _effort.get()
    if left is not None and left <= 0:
        return None
    wanted = _folded(word)
    folded: dict[str, str] = {}
    for name in islice(names, CANDIDATES_MAX):
        folded.setdefault(_folded(name), name)
    if left is not None:
        _effort.set(left - len(folded) - _EFFORT_LIKELY * min(len(folded), LIKELY_MAX))
    if wanted in folded:
        return folded[wanted]
    likely = nlargest(LIKELY_MAX, folded, key=lambda name: _alike(wanted, name))
    found = difflib.get_close_matches(wanted, likely, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def _folded(word: str) -> str:
    return word[:LETTERS_MAX].lower().replace("-", "_")


def _alike(word: str, name: str) -> int:
    """Return how many letters two words share at both ends: one slip leaves nearly all of them."""
    shorter = min(len(word), len(name))
    start = end = 0
    while start < shorter and word[start] == name[start]:
        start += 1
    while end < shorter - start and word[-1 - end] == name[-1 - end]:
        end += 1
    return start + end - abs(len(word) - len(name))


def nearest_help(word: str, names: Collection[str], otherwise: str, *, but: str = "") -> str:
    """Return "Did you mean `x`?", or `otherwise` with `{}` replaced by the names when there are few.

    `but` is a name that is not meant.
    """
    close = nearest(word, (name for name in names if name != but))
    if close is not None:
        return f"Did you mean `{close}`?"
    if len(names) > NAMES_SHOWN_MAX:
        return ""
    others = [name for name in names if name != but]
    return otherwise.format(", ".join(others)) if others else ""
