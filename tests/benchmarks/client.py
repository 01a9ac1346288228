"""Messages through `orchestra.client`, beside the bindings it stands on, C, and what multiprocessing offers.

One producer and one consumer, both bound to one processor, so that a message's own work is what is seen and not the
wake-up of another processor. The amount is microseconds of processor time, of both together, for one message sent and
received. Where it may, the program moves into an IPC namespace of its own first: there queues may be a hundred messages
deep, and messages 64 KiB long.
"""

from __future__ import annotations

import multiprocessing
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import posix_ipc
import sysv_ipc

from orchestra.client import attach
from tests.benchmarks import harness
from tests.benchmarks.harness import Case, Goal, Unavailable, over, ratio

PRIVATE = "ORCT_PRIVATE_IPC"  # set once we are in a namespace of our own
LIMITS = {
    "/proc/sys/fs/mqueue/msgsize_max": 65536,
    "/proc/sys/kernel/msgmax": 65536,
    "/proc/sys/kernel/msgmnb": 655_360,
}
QUEUES = {"/proc/sys/fs/mqueue/msg_max": 100}
Loop = Callable[[int], None]  # sends, or receives, so many messages
Ends = tuple[Callable[[], Loop], Callable[[], Loop]]  # what makes the loop of the producer, of the consumer


def pair(ends: Ends, count: int) -> float:
    """Run producer and consumer in a process each; return microseconds a message. Raises Unavailable on failure."""
    here, there = multiprocessing.get_context("fork").Pipe()
    consumer = os.fork()
    if not consumer:
        status = 1
        with suppress(BaseException):
            receive = ends[1]()
            there.send("ready")
            there.send(spent(receive, count))
            status = 0
        os._exit(status)
    there.close()
    try:
        send = ends[0]()
        here.recv()
        seconds = spent(send, count)
        seconds += float(here.recv())
    except EOFError:
        raise Unavailable("the consumer failed") from None
    finally:
        os.waitpid(consumer, 0)
    return seconds / count * 1e6


def spent(loop: Loop, count: int) -> float:
    """Return the processor time of a loop in seconds; other threads of this process are included."""
    start = time.process_time()
    loop(count)
    return time.process_time() - start


@contextmanager
def one_processor() -> Iterator[None]:
    """Bind this process, and what it starts, to one processor, where waking the other end does not switch to it."""
    before, policy = os.sched_getaffinity(0), os.sched_getscheduler(0)
    os.sched_setaffinity(0, {max(before)})
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
        os.sched_setscheduler(0, policy, os.sched_param(0))


def many(call: Callable[..., object], *arguments: object, **named: object) -> Loop:
    """Return a loop over one call, bound outside of it."""

    def loop(count: int) -> None:
        for _ in range(count):
            call(*arguments, **named)

    return loop


class Scene:
    """One queue of each family for messages of one size, and every way to send through them."""

    def __init__(self, size: int, count: int, folder: Path, stack: ExitStack) -> None:
        self.size, self.folder, self.body = size, folder, b"x" * size
        depth = min(limit(*QUEUES), 600_000 // size, count)  # RLIMIT_MSGQUEUE allows a user 819,200 bytes in all
        self.name = f"/orct.bench.{secrets.token_hex(4)}"
        posix_ipc.MessageQueue(self.name, posix_ipc.O_CREX, max_messages=depth, max_message_size=size).close()
        stack.callback(posix_ipc.unlink_message_queue, self.name)
        self.sysv = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX, max_message_size=size)
        stack.callback(self.sysv.remove)

    def cases(self, count: int) -> dict[str, Case]:
        """Return every case, by the name of its row."""
        table: dict[str, Callable[[], float]] = {
            "C, POSIX queue": lambda: self._c("posix", self.name, count),
            "posix_ipc": lambda: pair((self._posix_send, self._posix_receive), count),
            "orchestra.client, POSIX": lambda: pair(self._client(f"posix-queue:{self.name}"), count),
            "C, System V queue": lambda: self._c("sysv", str(self.sysv.id), count),
            "sysv_ipc": lambda: pair((lambda: many(self.sysv.send, self.body), self._sysv_receive), count),
            "orchestra.client, System V": lambda: pair(self._client(f"sysv-queue:0x{self.sysv.key:08x}"), count),
            "multiprocessing.Queue": lambda: pair(self._multiprocessing(), count),
            "multiprocessing.Pipe": lambda: pair(self._pipe(), count),
        }
        return {name: Case(name, measure) for name, measure in table.items()}

    def _posix_send(self) -> Loop:
        return many(posix_ipc.MessageQueue(self.name).send, self.body)

    def _posix_receive(self) -> Loop:
        return many(posix_ipc.MessageQueue(self.name).receive)

    def _sysv_receive(self) -> Loop:
        return many(sysv_ipc.MessageQueue(self.sysv.key, max_message_size=self.size).receive)

    def _client(self, address: str) -> Ends:
        def sender() -> Loop:
            return many(attach(q=address).queue("q").send, self.body)

        def receiver() -> Loop:
            return many(attach(q=address).queue("q").receive)

        return sender, receiver

    def _multiprocessing(self) -> Ends:
        queue: multiprocessing.Queue[bytes] = multiprocessing.get_context("fork").Queue()

        def sender() -> Loop:
            put = many(queue.put, self.body)

            def loop(count: int) -> None:
                put(count)
                queue.close()
                queue.join_thread()  # it is this thread that writes

            return loop

        return sender, lambda: many(queue.get)

    def _pipe(self) -> Ends:
        receiver, sender = multiprocessing.get_context("fork").Pipe(duplex=False)
        return (lambda: many(sender.send, self.body)), (lambda: many(receiver.recv))

    def _c(self, family: str, address: str, count: int) -> float:
        program = harness.compiled("queue", self.folder, "-lrt")
        argv = [program, family, address, str(self.size), str(count)]
        done = subprocess.run(argv, capture_output=True, timeout=harness.DEADLINE)
        if done.returncode:
            raise Unavailable(harness.last_line(done.stderr))
        return float(done.stdout) / count * 1e6


def report(size: int, found: dict[str, Case]) -> str:
    """Return the table of one size of message, with the goals."""
    us = {name: case.median for name, case in found.items()}
    rows = []
    for name, value in us.items():
        family = "C, System V queue" if "sysv" in name or "System V" in name else "C, POSIX queue"
        rate = "-" if value is None else f"{1000 / value:,.0f}"
        rows.append([name, "-" if value is None else f"{value:.2f}", rate, ratio(value, us[family])])
    text = harness.table([f"{size} bytes", "us/message", "1000/s", "to C"], rows)
    wanted = []
    for family, binding, c in (("POSIX", "posix_ipc", "C, POSIX queue"), ("System V", "sysv_ipc", "C, System V queue")):
        ours = us[f"orchestra.client, {family}"]
        if size >= 4096:
            wanted.append(Goal(f"{family}: rate to {binding}'s", over(us[binding], ours), 0.95, "x", at_least=True))
            continue
        wanted += [
            Goal(f"{family}: time to {binding}'s", over(ours, us[binding]), 1.6, "x"),
            Goal(f"{family}: time to C's", over(ours, us[c]), 3.2, "x"),
            Goal(f"{family}: rate to mp.Queue's", over(us["multiprocessing.Queue"], ours), 3, "x", at_least=True),
        ]
    return f"{text}\n{harness.problems(found.values())}{harness.goals(wanted)}\n"


def enter_private_namespace(arguments: Sequence[str]) -> None:
    """Start over in an IPC namespace of our own, where that is possible and not yet done; else just return."""
    unshare = shutil.which("unshare")
    if PRIVATE in os.environ or not unshare:
        return
    flags = ["-i"] if os.geteuid() == 0 else ["-r", "-i"]
    if subprocess.run([unshare, *flags, "true"], capture_output=True).returncode == 0:
        os.environ[PRIVATE] = "1"
        os.execv(unshare, [unshare, *flags, sys.executable, "-m", "tests.benchmarks.client", *arguments])


def raise_limits() -> None:
    """Allow messages of 64 KiB in our own namespace."""
    for path, value in {**LIMITS, **QUEUES}.items():
        with suppress(OSError):
            Path(path).write_text(str(value))


def largest() -> int:
    """Return the largest message that both families allow here, up to 64 KiB."""
    return min(65536, *map(limit, LIMITS))


def limit(path: str) -> int:
    """Return a limit of this IPC namespace."""
    return int(Path(path).read_text())


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = harness.options(__doc__ or "", rounds="9")
    parser.add_argument("--messages", type=int, default=20_000, help="of 64 bytes, in one sample; fewer large ones")
    parser.add_argument("--shared", action="store_true", help="stay in this IPC namespace, with its limits")
    chosen = parser.parse_args(arguments)
    if not chosen.shared:
        enter_private_namespace(sys.argv[1:] if arguments is None else arguments)
    if PRIVATE in os.environ:
        raise_limits()
    print(f"client: {harness.machine()}\n")
    for size, count in ((64, chosen.messages), (largest(), max(1, chosen.messages // 10))):
        with tempfile.TemporaryDirectory(prefix="orct-client-") as name, ExitStack() as stack, one_processor():
            found = Scene(size, count, Path(name), stack).cases(count)
            harness.run(list(found.values()), chosen.rounds)
        print(report(size, found), flush=True)


if __name__ == "__main__":
    main()
