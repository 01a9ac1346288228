"""How long a look at everything takes: 10,000 POSIX segments, 5,000 queues, 4,000 System V objects of each kind and 500
processes, 1,050 of the POSIX objects held; beside `ipcs`, `lsof`, and one scan of the same in C.

The scene is made in IPC and mount namespaces of its own and goes with them; only root of the host can raise the limits
that it needs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from orchestra.errors import OrchestraError
from orchestra.kernel import libc, namespaces
from tests.benchmarks import harness
from tests.benchmarks.harness import Case, Goal, Unavailable, milliseconds, over, ratio

SURVEY = """
import sys, time
from pathlib import Path
clock = getattr(time, sys.argv[1])
from orchestra.audit.survey import survey
from orchestra.ledger.journal import Ledger
with Ledger.open(Path("/nonexistent/ledger.db"), create=False) as ledger:
    ready = clock()
    report = survey(ledger, lambda run: False)
    print(clock() - ready, report.summary["foreign"], sum(report.summary.values()))
"""
LIBRARIES = "import asyncio, mmap, os, sqlite3, ssl, sys\n"
HOLDER = (
    LIBRARIES
    + """
held = []
for word in sys.argv[1:]:
    if word[0] == "q":
        import ctypes
        held.append(ctypes.CDLL(None).mq_open(word[2:].encode(), os.O_RDONLY))
        continue
    fd = os.open(word[2:], os.O_RDWR)
    if word[0] == "m":
        held.append(mmap.mmap(fd, 4096))
        os.close(fd)
print(end=".", flush=True)
sys.stdin.read()
"""
)
SCAN, WHOLE, JSON = "orchestra: the scan, in the process", "orchestra audit", "orchestra audit --format json"
CPU = ", processor time"
IPCS, LSOF, C = "ipcs -a", "lsof on /dev/shm", "C: list, match, one pass over /proc"


def make_objects(segments: int, queues: int, sysv: int) -> None:
    """Make the objects: segments of a page, queues of one message, System V objects of the smallest size."""
    for number in range(segments):
        fd = os.open(f"/dev/shm/bench.{number}", os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        os.ftruncate(fd, 4096)
        os.close(fd)
    for number in range(queues):
        make_queue(number)
    for number in range(1, sysv + 1):
        libc.msgget(number, libc.IPC_CREAT | 0o600)
        libc.shmget(number, 4096, libc.IPC_CREAT | 0o600)
        libc.semget(number, 1, libc.IPC_CREAT | 0o600)


@contextmanager
def queue_folder() -> Iterator[int]:
    """Yield a descriptor of the box's queue file system."""
    folder = libc.detached_mqueue()
    try:
        yield folder
    finally:
        os.close(folder)


def make_queue(number: int) -> None:
    """Make one queue with room for one byte: the user's share of queue memory is what limits them."""
    import posix_ipc

    name = f"/bench.{number}"
    posix_ipc.MessageQueue(name, posix_ipc.O_CREX, mode=0o600, max_messages=1, max_message_size=1).close()


def words_for(processes: int, segments: int, queues: int) -> list[list[str]]:
    """Return what each process holds: 500 segments mapped, 150 open, 400 queues, at full size."""
    words: list[list[str]] = [[] for _ in range(processes)]
    for number in range(segments // 20):
        words[number % processes].append(f"m:/dev/shm/bench.{number}")
    for number in range(segments * 15 // 1000):
        words[number % processes].append(f"o:/dev/shm/bench.{segments - 1 - number}")
    for number in range(queues * 8 // 100):
        words[number % processes].append(f"q:/bench.{number}")
    return words


@contextmanager
def holders(words: Sequence[Sequence[str]], program: str) -> Iterator[None]:
    """Run the processes, every tenth a Python with a few libraries loaded."""
    running: list[subprocess.Popen[bytes]] = []
    try:
        for number, held in enumerate(words):
            argv = [sys.executable, "-c", HOLDER] if number % 10 == 9 else [program]
            running.append(
                subprocess.Popen([*argv, *held], stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=True)
            )
        for process in running:
            assert process.stdout is not None
            if process.stdout.read(1) != b".":
                raise Unavailable("a holder could not take its objects")
        yield
    finally:
        for process in running:
            with suppress(OSError):
                process.communicate(timeout=harness.DEADLINE)


def scan_time(size: int, held: int, clock: str = "perf_counter") -> float:
    """Run the scan in a fresh interpreter; return what it took there, by a clock of `time`.

    Raises Unavailable when it saw something else.
    """
    argv = [sys.executable, "-c", SURVEY, clock]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=harness.DEADLINE)
    if done.returncode:
        raise Unavailable(harness.last_line(done.stderr.encode()))
    seconds, foreign, number = done.stdout.split()
    if int(number) < size or int(foreign) < held:
        raise Unavailable(f"saw {number} objects of {size}, {foreign} in use of {held}")
    return float(seconds)


def enter_box(segments: int, queues: int, sysv: int) -> None:
    """Move into a box with room for the scene. Raises Unavailable."""
    limits: dict[str, int | str] = {
        "fs.mqueue.queues_max": queues + 10,
        "kernel.shmmni": sysv + 10,
        "kernel.msgmni": sysv + 10,
        "kernel.sem": f"250 {sysv * 250} 100 {sysv + 10}",
    }
    try:
        namespaces.make_private_ipc(limits, shm_size=segments * 8192 + (1 << 24))
    except OrchestraError as err:
        raise Unavailable(f"{err.problem}: {err.detail}") from err


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = harness.options(__doc__ or "", rounds="9")
    parser.add_argument("--segments", type=int, default=10_000)
    parser.add_argument("--queues", type=int, default=5_000)
    parser.add_argument("--sysv", type=int, default=4_000, help="objects of each of the three kinds")
    parser.add_argument("--processes", type=int, default=500)
    chosen = parser.parse_args(arguments)
    print(f"audit: {harness.machine()}\n")
    with tempfile.TemporaryDirectory(prefix="orct-audit-") as name:
        folder = Path(name)
        try:
            enter_box(chosen.segments, chosen.queues, chosen.sysv)
            program = harness.compiled("holder", folder, "-lrt")
        except Unavailable as err:
            print(f"not measured: {err}")
            return
        make_objects(chosen.segments, chosen.queues, chosen.sysv)
        words = words_for(chosen.processes, chosen.segments, chosen.queues)
        with holders(words, program), queue_folder() as queues:
            print(report({case.name: case for case in measured(folder, queues, words, chosen)}))


def measured(folder: Path, queues: int, words: Sequence[Sequence[str]], chosen: object) -> list[Case]:
    """Return all cases, measured. `queues` is a descriptor of the queue file system, the way in for the scan in C."""
    size = vars(chosen)["segments"] + vars(chosen)["queues"] + 3 * vars(chosen)["sysv"]
    held = sum(len(each) for each in words)
    env = {**os.environ, "ORCHESTRA_HOME": str(folder / "home")}
    command = [*harness.orchestra(), "audit"]
    in_c = [harness.compiled("scan", folder), f"/proc/{os.getpid()}/fd/{queues}"]
    cases = [
        Case(SCAN, lambda: scan_time(size, held)),
        Case(SCAN + CPU, lambda: scan_time(size, held, "process_time")),
        Case(WHOLE, lambda: harness.elapsed(command, env)),
        Case(JSON, lambda: harness.elapsed([*command, "--format", "json"], env)),
        Case(C, lambda: harness.elapsed(in_c)),
        Case(C + CPU, lambda: harness.processor_time(in_c)),
        Case(IPCS, lambda: harness.elapsed([harness.tool("ipcs"), "-a"])),
        Case(LSOF, lambda: harness.elapsed([harness.tool("lsof"), "-n", "-w", "/dev/shm"], codes=(0, 1))),
    ]
    harness.run(cases, vars(chosen)["rounds"])
    return cases


def report(found: dict[str, Case]) -> str:
    """Return the table, with the goals."""
    scan, c, ipcs, lsof = (found[name].median for name in (SCAN, C, IPCS, LSOF))
    scan_cpu, c_cpu = (found[name].median for name in (SCAN + CPU, C + CPU))
    peers = None if ipcs is None or lsof is None else ipcs + lsof
    rows = [
        [case.name, "-" if case.median is None else f"{case.median * 1000:.1f}", ratio(case.median, c)]
        for case in found.values()
    ]
    wanted = [
        Goal("the scan, with holders and verdicts", milliseconds(scan), 160, " ms"),
        Goal("the same to C", over(scan, c), 5, "x"),
        Goal("the same in processor time", milliseconds(scan_cpu), 160, " ms"),
        Goal("that to C", over(scan_cpu, c_cpu), 5, "x"),
        Goal("the same to ipcs and lsof, one after the other", over(scan, peers), 1.5, "x"),
    ]
    header = ["all five kinds, unless it says otherwise", "ms", "to C"]
    return f"{harness.table(header, rows)}\n{harness.problems(found.values())}{harness.goals(wanted)}\n"


if __name__ == "__main__":
    main()
