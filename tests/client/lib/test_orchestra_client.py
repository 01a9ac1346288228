from __future__ import annotations

import ast
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

import orchestra.client
from orchestra.cli.clientfiles import library_folder
from orchestra.client import Message, NotInRun, Queue, Run, attach
from orchestra.client.lib import orchestra_client
from tests.support.wired import Wired

FILE = library_folder() / "orchestra_client.py"
Attach = Callable[[Mapping[str, str]], Run]
RW = "read-write"


@pytest.fixture(params=["binding", "C library"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test with the bindings, and once more as where they are not installed."""
    if request.param == "C library":
        monkeypatch.setattr(orchestra_client, "_bind", lambda module, make: (None, None))
    return str(request.param)


@pytest.fixture
def jobs(backend: str, wired: Wired, attached: Attach) -> Queue:
    wired.make("jobs", "posix", "queue", max_messages=3, message_size=64)
    return attached({"jobs": RW}).queue("jobs")


@pytest.fixture
def results(backend: str, wired: Wired, attached: Attach) -> Queue:
    wired.make("results", "sysv", "queue", capacity=64)
    return attached({"results": RW}).queue("results")


@pytest.fixture(params=["posix", "sysv"])
def queue(request: pytest.FixtureRequest, backend: str, wired: Wired, attached: Attach) -> Queue:
    if request.param == "posix":
        wired.make("either", "posix", "queue", max_messages=3, message_size=64)
    else:
        wired.make("either", "sysv", "queue", capacity=64)
    return attached({"either": RW}).queue("either")


@pytest.fixture
def alarms() -> Iterator[list[int]]:
    """Interrupt this thread every five milliseconds; the list grows with each."""
    seen: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: seen.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
    yield seen
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


# --- the file ---------------------------------------------------------------------------------------------------------


def test_it_is_one_file_of_the_standard_library_and_the_two_bindings() -> None:
    tree = ast.parse(FILE.read_text(), feature_version=(3, 8))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= sys.stdlib_module_names


def test_nothing_else_can_be_imported_from_its_folder_by_accident() -> None:
    names = {path.name for path in library_folder().iterdir()}
    assert names - {"__pycache__"} == {"orchestra_client.py", "orchestra.h"}


def test_the_package_offers_the_same_ten_names() -> None:
    assert len(orchestra_client.__all__) <= 10
    for name in orchestra_client.__all__:
        assert getattr(orchestra.client, name) is getattr(orchestra_client, name)
        assert getattr(orchestra.client, name).__doc__


def test_importing_it_loads_no_binding_and_no_socket() -> None:
    code = "import sys, orchestra_client; print(*{'posix_ipc', 'sysv_ipc', 'socket', 'mmap'} & set(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(library_folder())}
    out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == ""


def interpreters() -> list[str]:
    """Return every other CPython of this machine that is new enough."""
    found = {str(path.resolve()) for path in Path("/usr/bin").glob("python3.*") if path.name[8:].isdigit()}
    for folder in Path.home().glob(".pyenv/versions/3.*"):
        if (folder / "bin/python3").exists():
            found.add(str((folder / "bin/python3").resolve()))
    new_enough = "import sys; sys.exit(sys.version_info < (3, 8))"
    return sorted(path for path in found if subprocess.run([path, "-c", new_enough]).returncode == 0)


EVERYTHING = """
from orchestra_client import attach, log, ready
with attach() as run:
    jobs, results = run.queue("jobs"), run.queue("results")
    jobs.send(b"low"); jobs.send("high", priority=9)
    assert [jobs.receive().text, jobs.receive(timeout=0).body] == ["high", b"low"]
    assert jobs.receive(timeout=0.01) is None
    results.send(b"two", type=2); results.send(b"one")
    assert results.receive(type=-2) == (b"one", 0, 1)
    assert results.receive(timeout=1.0).type == 2 and results.receive(timeout=0.01) is None
    for key in ("board", "table"):
        view = run.segment(key)
        view[:5] = b"hello"
        assert bytes(view[:6]) == b"hello\\0"
    with run.semaphore("locks", 2):
        assert run.semaphore("locks", 2).value == 7
    slots = run.semaphore("slots")
    assert slots.acquire() and not slots.acquire(timeout=0.01)
    slots.release(2)
    print(slots.value)
    ready()
    log.info("done")
"""


@pytest.mark.slow
@pytest.mark.parametrize("python", interpreters() or [sys.executable])
def test_any_python_can_use_it(python: str, wired: Wired) -> None:
    wired.make("jobs", "posix", "queue", max_messages=3, message_size=64)
    wired.make("results", "sysv", "queue")
    wired.make("board", "posix", "segment", size=4096)
    wired.make("table", "sysv", "segment", size=4096)
    wired.make("locks", "sysv", "semaphore", values=(1, 0, 8))
    wired.make("slots", "posix", "semaphore", values=(1,))
    uses = dict.fromkeys(["jobs", "results", "board", "table", "locks", "slots"], RW)
    assert wired.python(EVERYTHING, uses, python=python) == "2\n"


# --- attaching --------------------------------------------------------------------------------------------------------


def test_outside_a_run_it_says_so_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORCHESTRA_VERSION", raising=False)
    with pytest.raises(NotInRun, match=r"not started by orchestra.*orchestra up FILE.*attach\(jobs=") as caught:
        attach()
    assert "\n" not in str(caught.value)


def test_another_version_of_the_contract_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRA_VERSION", "2")
    with pytest.raises(NotInRun, match="speaks version 2 of the wiring, this client version 1"):
        attach()


def test_a_run_knows_who_it_is_and_what_the_file_says(wired: Wired, attached: Attach) -> None:
    wired.make("board", "posix", "segment", size=64, extra={"x-shape": [4, 4]})
    run = attached({"board": "read"})
    identity = run.topology, run.instance, run.run, run.process, run.replica
    assert identity == ("test", "test", "r0000000", "program", 1)
    assert run.bindings["board"]["x-shape"] == [4, 4]


def test_an_object_that_is_not_used_is_named_with_those_that_are(wired: Wired, attached: Attach) -> None:
    wired.make("free-slots", "posix", "semaphore", values=(1,))
    run = attached({"free-slots": RW})
    with pytest.raises(LookupError, match=r"no queue 'jobs'; it uses free-slots \(semaphore\)"):
        run.queue("jobs")
    with pytest.raises(LookupError, match=r"'free-slots' is a semaphore: say run.semaphore"):
        run.queue("free-slots")
    assert run.semaphore("free_slots").value == 1


def test_asking_twice_gives_the_same(jobs: Queue, attached: Attach) -> None:
    run = attached({"jobs": RW})
    assert run.queue("jobs") is run.queue("jobs")


# --- queues -----------------------------------------------------------------------------------------------------------


def test_a_posix_queue_orders_by_priority(jobs: Queue) -> None:
    jobs.send(b"a")
    jobs.send(bytearray(b"b"), priority=5)
    jobs.send(memoryview(b"c"), priority=5)
    assert [jobs.receive() for _ in range(3)] == [(b"b", 5, 1), (b"c", 5, 1), (b"a", 0, 1)]


def test_a_system_v_queue_selects_by_type(results: Queue) -> None:
    for body, kind in ((b"a", 3), (b"b", 1), (b"c", 3), (b"", 2)):
        results.send(body, type=kind)
    assert results.receive(type=3) == Message(b"a", 0, 3)
    assert results.receive(type=-2) == (b"b", 0, 1)
    assert results.receive() == (b"c", 0, 3)
    assert results.receive(type=3, timeout=0) is None
    assert results.receive(timeout=5) == (b"", 0, 2)


def test_text_travels_as_utf_8(queue: Queue) -> None:
    queue.send("Grüße")
    message = queue.receive()
    assert message is not None
    assert (message.body, message.text) == ("Grüße".encode(), "Grüße")
    assert Message(b"\xff").text == "\ufffd"


@pytest.mark.parametrize("timeout", [0, 0.05, -1])
def test_an_empty_queue_gives_none_in_time(queue: Queue, timeout: float) -> None:
    began = time.monotonic()
    assert queue.receive(timeout=timeout) is None
    assert max(timeout, 0) <= time.monotonic() - began < 5


def fill(queue: Queue, *, timeout: float) -> None:
    for _ in range(100):
        queue.send(b"x" * 20, timeout=timeout)


@pytest.mark.parametrize("timeout", [0, 0.05, -1])
def test_a_full_queue_raises_timeout_error_in_time(queue: Queue, timeout: float) -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="stayed full"):
        fill(queue, timeout=timeout)
    assert max(timeout, 0) <= time.monotonic() - began < 5


def test_signals_do_not_end_a_wait(queue: Queue, alarms: list[int]) -> None:
    began = time.monotonic()
    assert queue.receive(timeout=0.1) is None
    assert time.monotonic() - began >= 0.1
    assert len(alarms) >= 3
    with pytest.raises(TimeoutError):
        fill(queue, timeout=0.05)


def test_signals_do_not_end_a_wait_without_a_limit(queue: Queue, alarms: list[int]) -> None:
    def later() -> None:
        while len(alarms) < 5:
            threading.Event().wait(0.001)
        queue.send(b"at last")

    thread = threading.Thread(target=later)
    thread.start()
    message = queue.receive()
    thread.join()
    assert message is not None
    assert message.body == b"at last"


def test_a_handler_that_raises_ends_the_wait(queue: Queue) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    try:
        with pytest.raises(KeyboardInterrupt):
            queue.receive()
    finally:
        signal.signal(signal.SIGALRM, before)


def test_threads_wait_each_for_themselves(queue: Queue) -> None:
    got: list[Message | None] = []
    threads = [threading.Thread(target=lambda: got.append(queue.receive(timeout=0.2))) for _ in range(4)]
    for thread in threads:
        thread.start()
    queue.send(b"one")
    queue.send(b"two")
    for thread in threads:
        thread.join()
    assert sorted(message.body for message in got if message) == [b"one", b"two"]
    assert got.count(None) == 2


def test_what_the_family_does_not_have_is_refused(jobs: Queue, wired: Wired, attached: Attach) -> None:
    wired.make("results", "sysv", "queue")
    results = attached({"results": RW}).queue("results")
    with pytest.raises(ValueError, match="jobs is a POSIX queue"):
        jobs.send(b"", type=2)
    with pytest.raises(ValueError, match="jobs is a POSIX queue"):
        jobs.receive(type=2)
    with pytest.raises(ValueError, match="results is a System V queue"):
        results.send(b"", priority=2)


def test_what_it_can_never_hold_is_refused(queue: Queue) -> None:
    with pytest.raises(ValueError, match=r"too long|do not fit|exceeds"):
        queue.send(b"x" * 100_000)


def test_values_out_of_range_are_refused(jobs: Queue, results: Queue) -> None:
    with pytest.raises(ValueError, match="priority"):
        jobs.send(b"", priority=32768)
    with pytest.raises(ValueError, match="type"):
        results.send(b"", type=0)


@pytest.mark.parametrize("family", ["posix", "sysv"])
def test_the_declared_access_is_kept(family: str, backend: str, wired: Wired, attached: Attach) -> None:
    wired.make("q", family, "queue")
    reader = attached({"q": "read"}).queue("q")
    writer = attached({"q": "write"}).queue("q")
    with pytest.raises(PermissionError, match="uses queue q to read only"):
        reader.send(b"")
    with pytest.raises(PermissionError, match="uses queue q to write only"):
        writer.receive(timeout=0)
    writer.send(b"through")
    assert reader.receive() == (b"through", 0, 1)


def test_a_removed_system_v_queue_says_so(results: Queue, wired: Wired) -> None:
    handle = wired.handles["results"][0]
    wired._remove(handle)
    for timeout in (None, 0, 0.5):
        with pytest.raises(OSError, match="removed") as caught:
            results.receive(timeout=timeout)
        assert caught.value.errno == errno.EIDRM
        with pytest.raises(OSError, match="removed"):
            results.send(b"", timeout=timeout)


def test_a_removed_posix_queue_goes_on_by_its_descriptor(backend: str, wired: Wired, attached: Attach) -> None:
    handle = wired.make("jobs", "posix", "queue")
    run = attached({"jobs": RW})
    wired._remove(handle)
    stranger = wired.make("stranger", "posix", "queue", name=handle.ref.name)
    run.queue("jobs").send(b"still here")
    assert run.queue("jobs").receive() == (b"still here", 0, 1)
    assert stranger.ref.name == handle.ref.name


def test_a_private_system_v_queue_is_reached_by_its_id(wired: Wired, attached: Attach) -> None:
    wired.make("own", "sysv", "queue", key=0)
    queue = attached({"own": RW}).queue("own")
    queue.send(b"x", type=7)
    assert queue.receive(type=7) == (b"x", 0, 7)


def test_a_stranger_with_the_same_key_is_not_taken_for_ours(wired: Wired, attached: Attach) -> None:
    ours = wired.make("q", "sysv", "queue")
    run = attached({"q": RW})
    wired._remove(ours)
    wired.make("stranger", "sysv", "queue", key=ours.ref.key)
    with pytest.raises(OSError, match="removed"):
        run.queue("q").send(b"x")


# --- segments ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["posix", "sysv", "file", "memfd"])
def test_a_segment_is_a_view_that_others_see(family: str, wired: Wired, attached: Attach) -> None:
    wired.make("board", family, "segment", size=8192)
    board = attached({"board": RW}).segment("board")
    board[8000:8005] = b"hello"
    seen = wired.python(
        "from orchestra_client import attach\nprint(bytes(attach().segment('board')[8000:8006]))", {"board": "read"}
    )
    assert seen == "b'hello\\x00'\n"
    assert len(board) == 8192


@pytest.mark.parametrize("family", ["posix", "sysv", "file", "memfd"])
def test_a_segment_used_to_read_is_read_only(family: str, wired: Wired, attached: Attach) -> None:
    wired.make("board", family, "segment", size=100)
    board = attached({"board": "read"}).segment("board")
    assert board.readonly
    with pytest.raises(TypeError):
        board[0] = 1


@pytest.mark.parametrize("family", ["posix", "sysv"])
def test_leaving_the_run_ends_its_views(family: str, wired: Wired, attached: Attach) -> None:
    wired.make("board", family, "segment", size=100)
    with attached({"board": RW}) as run:
        board = run.segment("board")
        part = board[10:20]
    with pytest.raises(ValueError, match="released"):
        board[0]
    part[0] = 7  # its memory is still there
    assert part[0] == 7


def test_a_system_v_segment_is_detached_with_its_last_view(wired: Wired, attached: Attach) -> None:
    handle = wired.make("table", "sysv", "segment", size=100)

    def attachments() -> int:
        for row in Path("/proc/sysvipc/shm").read_text().splitlines():
            if row.split()[1] == str(handle.ref.id):
                return int(row.split()[6])
        raise AssertionError("the segment is gone")

    with attached({"table": RW}) as run:
        table = run.segment("table")
        part = table[:10]
        assert attachments() == 1
    assert attachments() == 1
    del part
    assert attachments() == 0


# --- semaphores -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["posix", "sysv"])
def test_a_semaphore_counts(family: str, backend: str, wired: Wired, attached: Attach) -> None:
    wired.make("slots", family, "semaphore", values=(2,))
    slots = attached({"slots": RW}).semaphore("slots")
    with slots:
        assert slots.value == 1
        assert slots.acquire(0)
        assert not slots.acquire(0)
        assert not slots.acquire(timeout=0.02)
        slots.release(3)
    assert slots.value == 4


def test_the_members_of_a_set_are_apart(wired: Wired, attached: Attach) -> None:
    wired.make("locks", "sysv", "semaphore", values=(1, 0, 8))
    run = attached({"locks": RW})
    assert [run.semaphore("locks", index).value for index in range(3)] == [1, 0, 8]
    with run.semaphore("locks", 2):
        assert [run.semaphore("locks", index).value for index in range(3)] == [1, 0, 7]
    with pytest.raises(OSError, match="Invalid argument"):
        run.semaphore("locks", 3)


def test_a_posix_semaphore_has_no_members(wired: Wired, attached: Attach) -> None:
    wired.make("slots", "posix", "semaphore", values=(2,))
    with pytest.raises(LookupError, match="has no member 1"):
        attached({"slots": RW}).semaphore("slots", 1)


@pytest.mark.parametrize("family", ["posix", "sysv"])
def test_signals_do_not_end_waiting_for_a_semaphore(
    family: str, backend: str, wired: Wired, attached: Attach, alarms: list[int]
) -> None:
    wired.make("slots", family, "semaphore", values=(0,))
    slots = attached({"slots": RW}).semaphore("slots")
    began = time.monotonic()
    assert not slots.acquire(timeout=0.1)
    assert time.monotonic() - began >= 0.1
    assert len(alarms) >= 3


def test_a_removed_set_says_so(wired: Wired, attached: Attach) -> None:
    handle = wired.make("locks", "sysv", "semaphore", values=(0,))
    locks = attached({"locks": RW}).semaphore("locks")
    threading.Timer(0.05, wired._remove, [handle]).start()
    with pytest.raises(OSError, match="removed") as caught:
        locks.acquire()
    assert caught.value.errno == errno.EIDRM


# --- pipes ------------------------------------------------------------------------------------------------------------


def test_an_anonymous_pipe_is_its_descriptor(wired: Wired, attached: Attach) -> None:
    wired.make("feed", "anonymous", "pipe")
    writer, reader = attached({"feed": "write"}).pipe("feed"), attached({"feed": "read"}).pipe("feed")
    os.write(writer.fd, b"along")
    assert os.read(reader.fd, 10) == b"along"
    assert not os.get_inheritable(reader.fd)


def test_a_descriptor_that_was_lost_on_the_way_is_named(wired: Wired, attached: Attach) -> None:
    wired.make("feed", "anonymous", "pipe")
    run = attached({"feed": "read"})
    os.close(run.bindings["feed"]["fd"])
    with pytest.raises(OSError, match=r"descriptor \d+ of pipe feed was closed on the way here"):
        run.pipe("feed")


def test_a_fifo_is_opened_when_asked_for(wired: Wired, attached: Attach) -> None:
    wired.make("control", "fifo", "pipe")
    code = "import os\nfrom orchestra_client import attach\nprint(os.read(attach().pipe('control').fd, 9))"
    reader = wired.start([sys.executable, "-c", code], {"control": "read"})
    writer = attached({"control": "write"}).pipe("control")
    os.write(writer.fd, b"through")
    os.close(writer.fd)
    assert reader.communicate(timeout=20)[0] == "b'through'\n"


# --- by hand ----------------------------------------------------------------------------------------------------------


def test_addresses_work_without_a_run(backend: str, wired: Wired, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORCHESTRA_VERSION", raising=False)
    jobs = wired.make("jobs", "posix", "queue")
    slots = wired.make("slots", "posix", "semaphore", values=(3,))
    board = wired.make("board", "posix", "segment", size=64)
    results = wired.make("results", "sysv", "queue")
    table = wired.make("table", "sysv", "segment", size=64)
    locks = wired.make("locks", "sysv", "semaphore", values=(1, 5))
    journal = wired.make("journal", "file", "segment", size=64)
    addresses = {
        "jobs": f"posix-queue:{jobs.ref.name}",
        "free_slots": f"posix-semaphore:{slots.ref.name}",
        "board": f"posix-segment:{board.ref.name}",
        "results": f"sysv-queue:{results.ref.key:#x}",
        "table": f"sysv-segment:{table.ref.id}",
        "locks": f"sysv-semaphore:{locks.ref.key:#x}",
        "journal": f"file-segment:{journal.ref.name}",
    }
    with attach(**addresses) as run:
        for key in ("jobs", "results"):
            run.queue(key).send(b"x")
            assert run.queue(key).receive() == (b"x", 0, 1)
        for key in ("board", "table", "journal"):
            run.segment(key)[3:6] = b"abc"
            assert len(run.segment(key)) == 64
        assert (run.semaphore("free-slots").value, run.semaphore("locks", 1).value) == (3, 5)
        assert (run.instance, run.replica) == ("", 1)


def test_an_address_replaces_what_the_run_says(wired: Wired, attached: Attach) -> None:
    wired.make("jobs", "posix", "queue")
    other = wired.make("other", "posix", "queue")
    attached({"jobs": RW})
    with attach(jobs=f"posix-queue:{other.ref.name}") as run:
        run.queue("jobs").send(b"to the other")
    assert attached({"other": RW}).queue("other").receive() == (b"to the other", 0, 1)


@pytest.mark.parametrize("address", ["/jobs", "queue:/jobs", "posix-pipe:/x", "posix-queue:", "sysv-queue:jobs"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"is no address; it begins with one of posix-queue|invalid literal"):
        attach(jobs=address)


def test_an_address_of_nothing_says_so(backend: str) -> None:
    with attach(jobs="posix-queue:/orct.none", slots="posix-semaphore:/orct.none", b="posix-segment:/orct.none") as run:
        for ask in (lambda: run.queue("jobs"), lambda: run.semaphore("slots"), lambda: run.segment("b")):
            with pytest.raises(FileNotFoundError):
                ask()
    with pytest.raises(FileNotFoundError):
        attach(q="sysv-queue:0x7f7f7f7f")
