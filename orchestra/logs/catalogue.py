"""Every event that orchestra itself logs: its id, level, words and fields. Pure data; the reference page is made of it
and of `fields`, which says what each field means.

An id is stable: once published it keeps its meaning. The message is for people and may change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# Words that a record's `level` may hold, least severe first.
LEVELS: Final = ("debug", "info", "warning", "error", "critical")

# Fields that stand beside `event` in a record; every other field goes into its `data`.
TOP_FIELDS: Final = ("run", "process", "replica", "pid", "object", "stream")


@dataclass(frozen=True, slots=True)
class EventType:
    """One kind of event.

    `message` is a str.format template over the fields, `run`, and two words made for it: `{who}`, the process with
    its replica, and `{how}`, how it ended. `fields` maps a name to the type a reader can rely on; a name that ends
    in `?` in the table below may be left out.
    """

    level: str
    message: str
    about: str
    fields: Mapping[str, str]

    @property
    def required(self) -> frozenset[str]:
        """Names of the fields that every record of this event has."""
        return frozenset(name for name in self.fields if not name.endswith("?"))

    @property
    def allowed(self) -> frozenset[str]:
        """Names of all fields, without their marks."""
        return frozenset(name.rstrip("?") for name in self.fields)


_PROCESS: Final = {"process": "string", "replica": "integer"}
_OBJECT: Final = {"object": "string", "family": "string", "kind": "string", "name?": "string", "id?": "integer"}

EVENTS: Final[Mapping[str, EventType]] = {
    # -- the run ------------------------------------------------------------------------------------------------
    "run.started": EventType(
        "info",
        "run {run} of {instance} started",
        "The supervisor runs and begins to create the objects.",
        {"instance": "string", "topology": "string", "file": "string", "pid": "integer"},
    ),
    "run.stop_requested": EventType(
        "info",
        "stop requested by {by}",
        "Somebody asked for an end: a signal to the foreground command, `down`, or a closed terminal.",
        {"by": "string", "leak?": "boolean"},
    ),
    "run.stopping": EventType(
        "info",
        "stopping: {reason}",
        "From here on nothing new starts and what runs is stopped in order.",
        {"reason": "string"},
    ),
    "run.changing": EventType(
        "info",
        "{by}: an edited file comes in",
        "What differs is stopped first (`stopping` names the processes); the rest goes on.",
        {"by": "string", "stopping?": "array"},
    ),
    "run.changed": EventType(
        "info",
        "the run is as the edited file says",
        "Objects and wiring fit the edited file; what is new or differs starts now.",
        {"restarted?": "array"},
    ),
    "run.change_failed": EventType(
        "error",
        "the edited file could not come in: {reason}",
        "The run goes on as it was before.",
        {"reason": "string"},
    ),
    "run.holding": EventType(
        "info",
        "every process has ended; the objects stay until Ctrl-C",
        "The run was started with `--hold`.",
        {},
    ),
    "run.ended": EventType(
        "info",
        "run {run} ended: {state}",
        "The last event of a run: every process has ended and the objects are dealt with.",
        {"state": "string", "exit_code": "integer", "seconds?": "number", "failed?": "array"},
    ),
    # -- objects ------------------------------------------------------------------------------------------------
    "object.created": EventType(
        "info", "created {family} {kind} {object}", "An IPC object was made for this run.", _OBJECT
    ),
    "object.reused": EventType(
        "info",
        "reused {family} {kind} {object}, kept by an earlier run",
        "An object that an earlier run of the same instance kept is used again, its content untouched.",
        _OBJECT,
    ),
    "object.borrowed": EventType(
        "info",
        "using {family} {kind} {object}, which is not ours",
        "An `external` object, or a file that was there before: used, and never removed by us.",
        _OBJECT,
    ),
    "object.made": EventType(
        "info",
        "{process} made {family} {kind} {object}",
        "An object with `made_by` is there and as declared: it is on record, wired and removed like any other.",
        {**_OBJECT, "process": "string"},
    ),
    "object.failed": EventType(
        "error",
        "could not create {object}: {reason}",
        "An object could not be made; the run ends before any process starts.",
        {"object": "string", "family": "string", "kind": "string", "reason": "string", "detail?": "string"},
    ),
    "object.removed": EventType(
        "info", "removed {family} {kind} {object}", "An object of this run was removed.", _OBJECT
    ),
    "object.gone": EventType(
        "warning",
        "{family} {kind} {object} was already gone",
        "When it should have been removed the object was not there: somebody else had removed it.",
        _OBJECT,
    ),
    "object.kept": EventType(
        "info",
        "kept {family} {kind} {object}: {reason}",
        "The object stays behind on purpose (`on_down`, `--leak`) and is on record as such.",
        {**_OBJECT, "reason": "string"},
    ),
    "object.left": EventType(
        "error",
        "could not remove {family} {kind} {object}: {reason}",
        "The object should have been removed and still exists; `audit` and `clean` know it.",
        {**_OBJECT, "reason": "string"},
    ),
    "object.undeclared": EventType(
        "warning",
        "{object} was left by this run and is declared nowhere ({action}): {evidence}",
        "A process of this run made or used an object that no file declares. `action` says what became of it: "
        "reported, removed, or left, and then `reason` why.",
        {**_OBJECT, "action": "string", "evidence": "string", "reason?": "string"},
    ),
    # -- processes ----------------------------------------------------------------------------------------------
    "process.started": EventType(
        "info", "{who} started as pid {pid}", "A process runs its program.", {**_PROCESS, "pid": "integer"}
    ),
    "process.launch_failed": EventType(
        "error",
        "{who} could not be started: {reason}",
        "No process came to be; `stage` says how far the launch got (descriptors, chdir, credentials, exec).",
        {**_PROCESS, "stage": "string", "errno": "string", "path": "string", "reason": "string"},
    ),
    "process.ready": EventType(
        "info",
        "{who} is ready",
        "A process said so, in the way its `ready` declares; those that waited for it may start.",
        {**_PROCESS, "pid": "integer"},
    ),
    "process.waiting": EventType(
        "info",
        "{process} waits for {conditions}",
        "What the process depends on is there; `wait_for` is being looked for.",
        {**_PROCESS, "conditions": "array"},
    ),
    "process.status": EventType(
        "info",
        "{who}: {status}",
        "What a process says of itself with STATUS=… on its NOTIFY_SOCKET, when that is another text than before.",
        {**_PROCESS, "status": "string"},
    ),
    "process.rejected": EventType(
        "error",
        "{who} is stopped: it {reason}",
        "A process runs, but not as declared: not ready in time, no sign of life, or without the objects it makes.",
        {**_PROCESS, "pid": "integer", "reason": "string"},
    ),
    "process.watchdog": EventType(
        "error",
        "{who} sent no sign of life for {seconds} s",
        "The `watchdog` of a process ran out; the process is sent SIGABRT.",
        {**_PROCESS, "pid": "integer", "seconds": "number"},
    ),
    "process.restarting": EventType(
        "warning",
        "{who} starts again in {delay} s: {reason}",
        "A process ended and its `restart` asks for another start; `restarts` counts them.",
        {**_PROCESS, "reason": "string", "delay": "number", "restarts": "integer"},
    ),
    "process.stop_requested": EventType(
        "info",
        "{by}: {who} is to stop, and stay down",
        "A person asked for it; the run goes on.",
        {**_PROCESS, "by": "string"},
    ),
    "process.start_requested": EventType(
        "info", "{by}: {who} is to start", "A person asked for it.", {**_PROCESS, "by": "string"}
    ),
    "process.restart_requested": EventType(
        "info", "{by}: {who} is to stop and start again", "A person asked for it.", {**_PROCESS, "by": "string"}
    ),
    "process.scaled": EventType(
        "info",
        "{by}: {process} is to have {replicas} replicas, not {before}",
        "A person asked for it; the highest numbers go first.",
        {**_PROCESS, "replicas": "integer", "before": "integer", "by": "string"},
    ),
    "process.block_buffered": EventType(
        "warning",
        "{process} may hold back its lines: {library} is not installed",
        "`output: line` needs stdbuf's library for programs in C; Python programs write at once all the same.",
        {"process": "string", "library": "string"},
    ),
    "module.imported": EventType(
        "info",
        "imported {module} in {seconds} s",
        "A module with functions of processes was imported, in the process that will be forked to call them.",
        {"module": "string", "pid": "integer", "seconds": "number"},
    ),
    "module.failed": EventType(
        "error",
        "{reason}",
        "A module cannot be what functions are called from: it is not there, raises, or starts threads.",
        {"module": "string", "reason": "string", "traceback?": "string"},
    ),
    "module.changed": EventType(
        "info",
        "{module} was changed since it was imported",
        "A file that the module was made of is newer now: it is imported anew before the next start.",
        {"module": "string"},
    ),
    "module.parent_died": EventType(
        "warning",
        "the process that had imported {module} {reason}",
        "Nobody asked it to. The functions it started live on; the next start imports the module anew.",
        {"module": "string", "pid": "integer", "reason": "string"},
    ),
    "process.exited": EventType(
        "info",
        "{who} {how}",
        "A process has ended, in any way; the last line it wrote stands before this event.",
        {**_PROCESS, "pid": "integer", "exit_code?": "integer", "signal?": "string"},
    ),
    "process.lingering": EventType(
        "info",
        "{who} ended, but processes it started are still there",
        "The process itself has ended; what it left running is asked to stop, in the same way.",
        {**_PROCESS, "pid": "integer"},
    ),
    "process.failed": EventType(
        "error",
        "{who} failed: {reason}",
        "An end that is not a success, and what it means for the run.",
        {**_PROCESS, "reason": "string", "escalate?": "string", "hint?": "string"},
    ),
    "process.skipped": EventType(
        "warning",
        "{who} skipped: {reason}",
        "The process never starts, because something it depends on failed or the run stops.",
        {**_PROCESS, "reason": "string"},
    ),
    "process.stopping": EventType(
        "info",
        "stopping {who}",
        "The stop signal was sent, or the stop command was started; SIGKILL follows when `grace` seconds have passed.",
        {**_PROCESS, "pid": "integer", "signal?": "string", "command?": "boolean", "grace": "number"},
    ),
    "process.stop_command_failed": EventType(
        "warning",
        "the stop command of {who} failed: {reason}",
        "The stop signal is sent instead.",
        {**_PROCESS, "reason": "string", "signal": "string"},
    ),
    "process.signalled": EventType(
        "info",
        "{by}: {who} was sent {signal}",
        "A person sent a signal to the main process.",
        {**_PROCESS, "pid": "integer", "signal": "string", "by": "string"},
    ),
    "process.blocking": EventType(
        "warning",
        "still waiting for {who} to end, {seconds} s after it was asked",
        "Who keeps the others, or the whole run, from going on; `left` names what is left of its session.",
        {**_PROCESS, "pid?": "integer", "seconds": "number", "left": "array"},
    ),
    "process.killed": EventType(
        "warning",
        "{who} sent SIGKILL: {reason}",
        "The process did not end in time, or there was none left.",
        {**_PROCESS, "pid": "integer", "reason": "string"},
    ),
    # -- what should not happen ---------------------------------------------------------------------------------
    "supervisor.died": EventType(
        "critical",
        "the supervisor died: {how}",
        "Said by the guardian, which then kills every process of the run.",
        {"pid": "integer", "exit_code?": "integer", "signal?": "string"},
    ),
    "guardian.died": EventType(
        "critical",
        "the guardian (pid {pid}) died",
        "Said by the supervisor, which then stops the run in order.",
        {"pid": "integer"},
    ),
    "descendant.killed": EventType(
        "warning",
        "killed pid {pid} ({command}), left over by the run",
        "A process that descends from this run was still there when it should not be.",
        {"pid": "integer", "command": "string"},
    ),
    "log.lost": EventType(
        "error",
        "{lines} lines were lost here: {reason}",
        "The log could not be written for a while (a full disk); the run went on.",
        {"lines": "integer", "bytes": "integer", "reason": "string"},
    ),
    "log.dropped": EventType(
        "info",
        "{file} of the log was removed: {bytes} bytes, the oldest",
        "The log is rotated, and more files of it were there than `log.rotate.keep` says.",
        {"file": "string", "bytes": "integer"},
    ),
    "log.reopened": EventType(
        "info",
        "the log goes on in a new file",
        "A detached run got SIGHUP: somebody has renamed the log, logrotate for example.",
        {},
    ),
    "log.not_rotated": EventType(
        "warning",
        "the log cannot go on in a new file: {reason}",
        "The present file goes on and grows; it is tried again, and said again when the reason is another.",
        {"reason": "string"},
    ),
    "log.raw_lost": EventType(
        "error",
        "{bytes} bytes are missing in the raw copy of {stream} of {who}: {reason}",
        "The file in `raw/` could not be written for a while; the lines in the log are whole.",
        {**_PROCESS, "stream": "string", "bytes": "integer", "reason": "string"},
    ),
    "ledger.unwritable": EventType(
        "error",
        "the ledger cannot be written: {reason}",
        "What happens from here on may be missing in `ps`, `ls` and `audit`.",
        {"reason": "string"},
    ),
}
