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
_RESTART = "When it is started again is `restart: never | on-failure | always`."
_READY = "How it says that it is ready is `ready:`, such as `{notify: true}`, `{exec: [./check]}` or `{tcp: 8080}`."
_LIMITS = "Resource limits are `limits: {nofile: 1024}`, by the names of setrlimit(2)."
_CAPABILITIES = "Capabilities are not set here: a process has those of `user`."
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
    "restart": "Restarting belongs to a process: `restart: on-failure`.",
    "logging": "How the log is kept is `log: {rotate: {size: 64MiB, keep: all}, raw: false}`.",
    "logs": "How the log is kept is `log: {rotate: {size: 64MiB, keep: all}, raw: false}`.",
    "env_file": "Files of variables belong to a process: `env_file:`. Values for `${…}` go under `variables:`.",
    "sandbox": "Kernel objects of its own gives a run `isolation: private`.",
    "namespace": "Kernel objects of its own gives a run `isolation: private`.",
    "ipc": "Kernel objects of its own gives a run `isolation: private`.",
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
    "args": "Arguments follow the program in `command:`; those of a function are `arguments: {name: value}`.",
    "entrypoint": "The program and its arguments are `command:`.",
    "script": "The program and its arguments are `command:`; for shell text write [sh, -c, '…'].",
    "shell": "No shell runs the command; for shell text write `command: [sh, -c, '…']`.",
    "env": "Variables of a process are `environment:`.",
    "environ": "Variables of a process are `environment:`.",
    "Environment": "Variables of a process are `environment:`.",
    "envfile": "Files of variables are `env_file:`.",
    "EnvironmentFile": "Files of variables are `env_file:`.",
    "kwargs": "Arguments of a function are `arguments: {name: value}`.",
    "callable": "A function is `function: module:name`.",
    "target": "A function is `function: module:name`.",
    "interpreter": "The interpreter of a function is `python:`.",
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
    "healthcheck": _READY,
    "health_check": _READY,
    "readiness": _READY,
    "readiness_probe": _READY,
    "readinessProbe": _READY,
    "startup_probe": _READY,
    "liveness_probe": "A process that must show that it lives has `watchdog: 1s` and sends WATCHDOG=1.",
    "livenessProbe": "A process that must show that it lives has `watchdog: 1s` and sends WATCHDOG=1.",
    "WatchdogSec": "A process that must show that it lives has `watchdog: 1s` and sends WATCHDOG=1.",
    "notify": _READY,
    "autorestart": _RESTART,
    "restart_policy": _RESTART,
    "Restart": _RESTART,
    "RestartSec": "Pauses between restarts are `restart: {policy: on-failure, delay: 200ms, max_delay: 10s}`.",
    "restart_sec": "Pauses between restarts are `restart: {policy: on-failure, delay: 200ms, max_delay: 10s}`.",
    "startretries": "How often is `restart: {policy: on-failure, limit: 5, within: 60s}`.",
    "max_restarts": "How often is `restart: {policy: on-failure, limit: 5, within: 60s}`.",
    "retries": "How often is `restart: {policy: on-failure, limit: 5, within: 60s}`.",
    "availability": _RESTART,
    "on_failure": "What a failure means for the others is `escalate: stop-all | stop-dependants | ignore`.",
    "uid": "Whom a process runs as is `user:`, a name or a number.",
    "gid": "The group of a process is `group:`, a name or a number.",
    "User": "Whom a process runs as is `user:`.",
    "Group": "The group of a process is `group:`.",
    "group_add": "A process has the groups of its `user`.",
    "priority": "How urgent it is says `nice:`, or `scheduler: fifo:80`.",
    "niceness": "How urgent it is says `nice:`, from -20 to 19.",
    "sched": "The scheduling policy is `scheduler:`, such as fifo:80.",
    "cpus": "Processors are `cpu_affinity: [0, 1]`, or `{each: [0, 1]}` for one a replica.",
    "cpuset": "Processors are `cpu_affinity: [0, 1]`, or `{each: [0, 1]}` for one a replica.",
    "affinity": "Processors are `cpu_affinity: [0, 1]`, or `{each: [0, 1]}` for one a replica.",
    "ulimit": _LIMITS,
    "ulimits": _LIMITS,
    "rlimits": _LIMITS,
    "rlimit": _LIMITS,
    "LimitNOFILE": _LIMITS,
    "mem_limit": "Memory of one process is `limits: {as: 1GiB}`.",
    "cap_add": _CAPABILITIES,
    "cap_drop": _CAPABILITIES,
    "capabilities": _CAPABILITIES,
    "privileged": _CAPABILITIES,
    "stdin_open": "The caller's standard input gives `stdin: inherit`, a file `stdin: {file: ./input}`.",
    "input": "Standard input is `stdin: null | inherit | {file: ./input}`.",
    "tty": "A terminal for its output gives `output: tty`.",
    "wait": "What must hold of an object before it starts is `wait_for: {jobs: {messages: {min: 1}}}`.",
    "disabled": "A process that starts only when it is asked for has `autostart: false`.",
    "enabled": "A process that starts only when it is asked for has `autostart: false`.",
    "profiles": "A process that starts only when it is asked for has `autostart: false`.",
    "ipc": "A process that reaches only what it inherits has `isolation: private`.",
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
    "log": "Output goes to the run's log: `orchestra logs`. How that is kept says `log:` at the top of the file.",
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
    "maker": "The process that makes it is `made_by:`.",
    "created_by": "The process that makes it is `made_by:`.",
    "creator": "The process that makes it is `made_by:`.",
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
        "hugepages": "Huge pages are `huge_pages: 2MiB`.",
        "hugetlb": "Huge pages are `huge_pages: 2MiB`.",
        "mlock": "Memory that is never swapped out has `lock: true`.",
        "locked": "Memory that is never swapped out has `lock: true`.",
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
    "exec": "A command that stops it is `command:`.",
}

READY = {
    "port": "A port is `tcp:`.",
    "http": "Ask by a command: `exec: [curl, -sf, …]`; that a port is open shows `tcp:`.",
    "http_get": "Ask by a command: `exec: [curl, -sf, …]`; that a port is open shows `tcp:`.",
    "command": "A command that exits with 0 is `exec:`.",
    "test": "A command that exits with 0 is `exec:`.",
    "socket": "A socket is `unix:`, a port `tcp:`.",
    "regex": "A regular expression in its output is `log:`.",
    "pattern": "A regular expression in its output is `log:`.",
    "file": "A file can be asked for: `exec: [test, -e, ./file]`; an object of this topology is `exists:`.",
    "sd_notify": "READY=1 at $NOTIFY_SOCKET is `notify: true`.",
    "interval": "Probes start at 20 ms apart and slow down by themselves.",
    "initial_delay": "Probes start at 20 ms apart and slow down by themselves.",
    "retries": "How long it may take is `timeout:`.",
}

RESTART = {
    "condition": "When it is started again is `policy: never | on-failure | always`.",
    "retries": "How often is `limit:`.",
    "max_attempts": "How often is `limit:`.",
    "window": "The time that `limit` counts is `within:`.",
    "backoff": "Pauses are `delay:`, which doubles up to `max_delay:`.",
    "jitter": "Pauses vary by 10 % by themselves.",
}

WAITING = {
    "count": "Messages in a queue are `messages:`.",
    "nattch": "Attachments of a segment are `attached:`.",
    "blocked": "A process that waits for an object is `blocked_on:`.",
    "condition": "Other processes are awaited by `depends_on:`.",
}

BOUNDS = {"at_least": "At least is `min:`.", "at_most": "At most is `max:`.", "minimum": "At least is `min:`.",
          "maximum": "At most is `max:`.", "member": "Which semaphore of a set is `index:`."}  # fmt: skip

LOG = {
    "level": "What is shown is chosen when it is read: `orchestra logs --level`.",
    "max_size": "Write `rotate: {size: 64MiB, keep: all}`.",
    "max-size": "Write `rotate: {size: 64MiB, keep: all}`.",
    "size": "Write `rotate: {size: 64MiB, keep: all}`.",
    "max_files": "How many closed files stay is `keep:`.",
    "count": "How many closed files stay is `keep:`.",
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

POLICIES = {
    "no": "never",
    "none": "never",
    "off": "never",
    "any": "always",
    "yes": "always",
    "unless-stopped": "always",
    "on_failure": "on-failure",
    "onfailure": "on-failure",
    "failure": "on-failure",
    "unexpected": "on-failure",
    "on-abnormal": "on-failure",
    "on-abort": "on-failure",
}

OUTPUT = {"log": "pipe", "file": "pipe", "pty": "tty", "terminal": "tty", "unbuffered": "line", "stdbuf": "line"}
STDIN = {"/dev/null": "null", "none": "null", "tty": "inherit", "true": "inherit", "false": "null"}
ISOLATION = {"none": "host", "false": "host", "true": "private", "namespace": "private", "container": "private"}

# Names of limits that are not the kernel's.
LIMITS = {
    "open_files": "Open descriptors are `nofile`.",
    "files": "Open descriptors are `nofile`.",
    "mem": "Memory is `as`, all of the address space, or `data`.",
    "memory": "Memory is `as`, all of the address space, or `data`.",
    "processes": "Processes of the user are `nproc`.",
    "locks": "Linux has no such limit any more.",
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
