"""Everything on a host, judged: real programs that live, are killed, hide or are somebody else's.

Each scene is set in namespaces of its own, so that it is all there is, and nothing stays.
"""

from __future__ import annotations

import json
import mmap
import os
import select
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestra.audit.report import Report
from orchestra.audit.survey import survey
from orchestra.kernel import libc, namespaces
from orchestra.kernel.namespaces import make_private_ipc
from orchestra.ledger.journal import Ledger
from tests.conformance.worlds import NOBODY, in_child

pytestmark = [pytest.mark.root, pytest.mark.slow]

MAKER = """
import mmap, os, sys
import posix_ipc, sysv_ipc
queue = posix_ipc.MessageQueue("/orct.queue", posix_ipc.O_CREX)
segment = posix_ipc.SharedMemory("/orct.segment", posix_ipc.O_CREX, size=4096)
mapped = mmap.mmap(segment.fd, 4096)
semaphore = posix_ipc.Semaphore("/orct.semaphore", posix_ipc.O_CREX, initial_value=1)
named = os.open(f"/dev/shm/torch_{os.getpid()}_1", os.O_CREAT | os.O_RDWR, 0o600)
os.ftruncate(named, 4096)
letters = sysv_ipc.MessageQueue(0x1001, sysv_ipc.IPC_CREX)
letters.send(b"x")
board = sysv_ipc.SharedMemory(0x1002, sysv_ipc.IPC_CREX, size=4096)
board.write(b"x")
slots = sysv_ipc.Semaphore(0x1003, sysv_ipc.IPC_CREX, initial_value=1)
slots.acquire()
print(end=".", flush=True)
sys.stdin.read()
"""
SHARED = """
import sys
from multiprocessing import shared_memory
made = shared_memory.SharedMemory(create=True, size=4096)
print(made.name, flush=True)
sys.stdin.read()
"""


def look(**options: Any) -> Report:
    with Ledger.open(Path("/nonexistent/ledger.db"), create=False) as ledger:
        return survey(ledger, lambda run: False, **options)


def findings(**options: Any) -> dict[str, dict[str, Any]]:
    """The findings as JSON, by address."""
    return {str(each.ref) if each.ref.name else kind_key(each.to_json()): each.to_json()
            for each in look(**options).findings}  # fmt: skip


def kind_key(item: dict[str, Any]) -> str:
    return f"{item['family']}-{item['kind']}:{item['key']}"


DROP = f"""
import ctypes
os.setgroups([])
os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: as if it had been started by that user
"""


def start(program: str, *, as_nobody: bool = False) -> subprocess.Popen[str]:
    """Start a Python program in a session of its own; it has printed something when this returns."""
    if as_nobody:
        program = program.replace("import posix_ipc, sysv_ipc\n", f"import posix_ipc, sysv_ipc{DROP}")
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert child.stdout is not None
    child.stdout.read(1)
    return child


def kill(child: subprocess.Popen[str]) -> None:
    """Kill its whole session, helpers too, and wait until nobody of it is left."""
    os.killpg(child.pid, signal.SIGKILL)
    child.communicate()
    poll = select.poll()
    for _ in range(1000):
        try:
            os.killpg(child.pid, 0)
        except ProcessLookupError:
            return
        poll.poll(10)


def in_box(scene: Callable[[], Any], *, mounted: bool = True) -> Any:
    """Play a scene where there is nothing else; without `mounted`, no queue file system is mounted."""

    def inside() -> Any:
        if mounted:
            make_private_ipc()
        else:
            namespaces.unshare("ipc", "mnt")
            libc.mount("none", "/", None, libc.MS_REC | libc.MS_PRIVATE)
            libc.mount("shm", "/dev/shm", "tmpfs", 0, "mode=1777")
        return scene()

    return in_child(inside)


def with_own_pids(scene: Callable[[], Any]) -> Any:
    """Play it as process 1 of a new pid namespace with its own /proc."""
    namespaces.unshare("pid")

    def inside() -> Any:
        libc.mount("proc", "/proc", "proc", 0)
        return scene()

    return in_child(inside)


def as_nobody(scene: Callable[[], Any]) -> Any:
    return in_child(scene, as_nobody=True)


def test_a_program_of_our_own_that_holds_every_kind_and_is_killed() -> None:
    def scene() -> list[Any]:
        child = start(MAKER)
        living = findings()
        kill(child)
        return [living, findings(), child.pid]

    living, dead, pid = in_box(lambda: with_own_pids(scene))
    names = {
        "posix-queue:/orct.queue": {"open"},
        "posix-segment:/orct.segment": {"open", "mapped"},
        "posix-semaphore:/orct.semaphore": {"mapped"},
        f"posix-segment:/torch_{pid}_1": {"open"},
        "sysv-segment:0x00001002": {"attached"},
    }
    assert set(living) == set(dead) == {*names, "sysv-queue:0x00001001", "sysv-semaphore:0x00001003"}
    for name, how in names.items():
        assert living[name]["verdict"] == "foreign"
        assert {(holder["pid"], holder["how"]) for holder in living[name]["holders"]} == {(pid, one) for one in how}
        assert living[name]["holders"][0]["user"] == "root"
        assert living[name]["holders"][0]["started_at"]
    assert f"process {pid} (python" in living["sysv-queue:0x00001001"]["evidence"]
    assert "sent to it last, is alive" in living["sysv-queue:0x00001001"]["evidence"]
    assert "changed one of its semaphores last, is alive" in living["sysv-semaphore:0x00001003"]["evidence"]
    verdicts = {name: (item["verdict"], item["removable"]) for name, item in dead.items()}
    assert verdicts == {
        "posix-queue:/orct.queue": ("unknown", False),
        "posix-segment:/orct.segment": ("unknown", False),
        "posix-semaphore:/orct.semaphore": ("unknown", False),
        f"posix-segment:/torch_{pid}_1": ("unknown", False),
        "sysv-segment:0x00001002": ("orphan", True),
        "sysv-queue:0x00001001": ("orphan", False),
        "sysv-semaphore:0x00001003": ("orphan", False),
    }
    assert f"process {pid}, which created it, is gone" in dead["sysv-segment:0x00001002"]["evidence"]
    assert "cannot be told to be gone from here" in dead[f"posix-segment:/torch_{pid}_1"]["evidence"], (
        "processes outside of this pid namespace might use this /dev/shm"
    )
    for name, item in dead.items():
        assert item["holders"] == []
        assert item["holders_complete"] is name.startswith("sysv"), "somebody outside may hold a file"


def test_python_shared_memory_killed_and_files_with_a_pid_in_their_name() -> None:
    """In the first pid namespace: where not every process may be looked into, a lease proves that nobody holds it."""

    def scene() -> list[Any]:
        makers = [start(SHARED), start(MAKER, as_nobody=True)]
        pid = makers[1].pid
        folder = f"/dev/shm/joblib_memmapping_folder_{pid}_a_b"
        os.mkdir(folder)
        Path(folder, "array").write_bytes(bytes(4096))
        Path("/dev/shm/libpod_lock").write_bytes(bytes(64))
        living = findings()
        for maker in makers:
            kill(maker)
        with open(f"{folder}/array", "r+b") as file, mmap.mmap(file.fileno(), 4096):
            held = findings()
        return [living, held, findings(), pid]

    living, held, dead, pid = in_box(scene)
    if int(os.stat("/proc/self/ns/pid").st_ino) != 0xEFFFFFFC:
        pytest.skip("not in the first pid namespace: there nothing is proven by a name")
    shared = next(name for name in living if "psm_" in name)
    folder = f"file-segment:/dev/shm/joblib_memmapping_folder_{pid}_a_b"
    assert [living[name]["verdict"] for name in (shared, f"posix-segment:/torch_{pid}_1")] == ["foreign"] * 2
    assert {name: item["verdict"] for name, item in dead.items() if "orct" not in name and "posix" in name} == {
        shared: "orphan", f"posix-segment:/torch_{pid}_1": "orphan", "posix-segment:/libpod_lock": "foreign",
    }  # fmt: skip
    assert dead[shared]["rule"] == "python-shared-memory"
    assert dead[shared]["removable"]
    assert dead[f"posix-segment:/torch_{pid}_1"]["owner"] == "nobody"
    parts = [item for name, item in dead.items() if name.startswith(folder)]
    assert [(item["verdict"], item["removable"]) for item in parts] == [("orphan", True)] * 2
    assert len({item["group"] for item in parts}) == 1
    parts = [item for name, item in held.items() if name.startswith(folder)]
    assert sorted((item["verdict"], item["removable"]) for item in parts) == [("foreign", False), ("orphan", False)]


def test_what_has_no_name_any_more_is_deleted_and_its_holder_is_named() -> None:
    def scene() -> list[Any]:
        import posix_ipc
        import sysv_ipc

        child = start(MAKER)
        posix_ipc.unlink_message_queue("/orct.queue")
        posix_ipc.unlink_shared_memory("/orct.segment")
        posix_ipc.unlink_semaphore("/orct.semaphore")
        sysv_ipc.remove_shared_memory(libc.shmget(0x1002, 0, 0))
        found = [each.to_json() for each in look().findings if each.verdict == "deleted"]
        kill(child)
        return [found, child.pid, [each.to_json() for each in look().findings if each.verdict == "deleted"]]

    deleted, pid, afterwards = in_box(scene)
    assert {(item["family"], item["kind"], item["name"]) for item in deleted} == {
        ("posix", "queue", "/orct.queue"), ("posix", "segment", "/orct.segment"),
        ("posix", "semaphore", None), ("sysv", "segment", None),
    }  # fmt: skip
    assert {item["size"] for item in deleted if item["kind"] == "segment"} == {4096}
    for item in deleted:
        assert {holder["pid"] for holder in item["holders"]} == {pid}
        assert "and it ends with its last holder: held by" in item["evidence"]
    assert afterwards == []


def test_everything_else_in_dev_shm_is_told_apart() -> None:
    def scene() -> dict[str, Any]:
        import posix_ipc

        posix_ipc.Semaphore("/orct.real", posix_ipc.O_CREX)
        Path("/dev/shm/sem.orct.small").write_bytes(bytes(31))
        Path("/dev/shm/sem.orct.text").write_bytes(b"thirty-two bytes of plain text..")
        os.makedirs("/dev/shm/orct.d/inner")
        Path("/dev/shm/orct.d/inner/file").write_bytes(b"x")
        os.symlink("nowhere", "/dev/shm/orct.link")
        os.mkfifo("/dev/shm/orct.fifo")
        os.mknod("/dev/shm/orct.socket", stat.S_IFSOCK | 0o600)
        return findings()

    assert set(in_box(scene)) == {
        "posix-semaphore:/orct.real", "posix-segment:/sem.orct.small", "posix-segment:/sem.orct.text",
        "file-segment:/dev/shm/orct.d", "file-segment:/dev/shm/orct.d/inner", "file-segment:/dev/shm/orct.d/inner/file",
        "file-segment:/dev/shm/orct.link", "fifo:/dev/shm/orct.fifo", "file-segment:/dev/shm/orct.socket",
    }  # fmt: skip


def test_an_ordinary_user_hears_unknown_and_what_could_not_be_seen() -> None:
    """Somebody else's processes may hold anything: only the kernel's own numbers prove something."""

    def scene() -> list[Any]:
        held, unheld = start(MAKER), start(MAKER.replace("orct.", "orct.b").replace("0x100", "0x200"))
        kill(unheld)
        report = as_nobody(lambda: [findings(), list(look().gaps)])
        kill(held)
        return [report, unheld.pid]

    (found, gaps), pid = in_box(scene, mounted=False)
    assert any("no queue file system is mounted" in gap for gap in gaps)
    assert any("may not be looked into" in gap for gap in gaps)
    assert not any(name.startswith("posix-queue") for name in found)
    for name in ("posix-segment:/orct.segment", "posix-segment:/orct.bsegment", f"posix-segment:/torch_{pid}_1"):
        assert (found[name]["verdict"], found[name]["holders_complete"]) == ("unknown", False)
    attached = found["sysv-segment:0x00001002"]
    assert (attached["verdict"], attached["evidence"][:40]) == (
        "foreign",
        "attached 1 times by processes that cannot"[:40],
    )
    orphan = found["sysv-segment:0x00002002"]
    assert orphan["verdict"] == "orphan", "nobody is attached, and its creator is gone"
    assert not orphan["removable"], "the kernel lets only its owner and root"
    assert found["sysv-queue:0x00002001"]["verdict"] == "unknown"


def test_in_a_pid_namespace_somebody_outside_may_hold_anything() -> None:
    """A process of another pid namespace with the same /dev/shm maps one segment and waits on a queue."""

    def scene() -> list[Any]:
        child = start(MAKER)
        reading, writing = os.pipe()
        namespaces.unshare("pid")
        inner = os.fork()
        if inner == 0:
            namespaces.unshare("mnt")
            libc.mount("none", "/", None, libc.MS_REC | libc.MS_PRIVATE)
            libc.mount("proc", "/proc", "proc", 0)
            os.write(writing, json.dumps([findings(), list(look().gaps)]).encode())
            os._exit(0)
        os.close(writing)
        with open(reading) as file:
            answer = json.load(file)
        os.waitpid(inner, 0)
        kill(child)
        return [answer]

    ((found, gaps),) = in_box(scene)
    assert any("processes outside of this pid namespace" in gap for gap in gaps)
    held = found["posix-segment:/orct.segment"]
    assert (held["verdict"], held["holders_complete"]) == ("unknown", False)
    assert "held by nobody" not in held["evidence"]


def test_queues_that_our_own_processes_have_open_are_seen_without_a_mount() -> None:
    def scene() -> list[Any]:
        child = start(MAKER, as_nobody=True)
        seen = as_nobody(findings)
        kill(child)
        return [seen, child.pid]

    found, pid = in_box(scene, mounted=False)
    item = found["posix-queue:/orct.queue"]
    assert item["holders_complete"] is False, "others may have it open too"
    assert (item["verdict"], [holder["pid"] for holder in item["holders"]]) == ("foreign", [pid])


def test_root_needs_no_mount_to_see_queues() -> None:
    def scene() -> list[Any]:
        child = start(MAKER)
        kill(child)
        return [findings(), list(look().gaps)]

    found, gaps = in_box(scene, mounted=False)
    assert "posix-queue:/orct.queue" in found
    assert not any("queue" in gap for gap in gaps)


def test_with_hidden_processes_nobody_is_said_to_be_gone() -> None:
    def scene() -> list[Any]:
        libc.mount("proc", "/proc", "proc", 0, "hidepid=2")
        child = start(MAKER)
        seen = as_nobody(lambda: [findings(), list(look().gaps)])
        kill(child)
        return [seen, as_nobody(findings)]

    (living, gaps), dead = in_box(scene)
    assert any("hidepid" in gap for gap in gaps)
    assert living["sysv-queue:0x00001001"]["verdict"] == "unknown", "kill(2) knows the sender that /proc hides"
    assert "cannot be told to be gone" in living["sysv-queue:0x00001001"]["evidence"]
    assert living["sysv-segment:0x00001002"]["verdict"] == "foreign"
    assert dead["sysv-segment:0x00001002"]["verdict"] == "orphan"
    assert {item["verdict"] for name, item in dead.items() if name.startswith("posix")} == {"unknown"}


def test_with_hidden_names_no_program_is_said_to_be_gone() -> None:
    """hidepid=1 shows that a process is there, not what it runs: it may be the server whose file this is."""

    def scene() -> Any:
        libc.mount("proc", "/proc", "proc", 0, "hidepid=1")
        Path("/dev/shm/PostgreSQL.1").write_bytes(b"x")
        os.chown("/dev/shm/PostgreSQL.1", NOBODY, NOBODY)
        return as_nobody(findings)

    assert in_box(scene)["posix-segment:/PostgreSQL.1"]["verdict"] == "unknown"


def test_with_the_proc_of_another_pid_namespace_its_numbers_mean_nothing() -> None:
    """`unshare --pid` without `--mount-proc`: process 2 of the kernel's tables is not process 2 of /proc."""

    def scene() -> list[Any]:
        child = start(MAKER)
        living = findings()
        kill(child)
        return [living, findings(), list(look().gaps), child.pid]

    def without_proc() -> Any:
        namespaces.unshare("pid")
        return in_child(scene)

    living, dead, gaps, pid = in_box(without_proc)
    assert any("/proc is that of another pid namespace" in gap for gap in gaps)
    assert living["sysv-queue:0x00001001"]["verdict"] == "unknown"
    assert f"process {pid}, which sent to it last, cannot be told" in living["sysv-queue:0x00001001"]["evidence"]
    assert living["posix-segment:/orct.segment"]["verdict"] == "foreign"
    assert dead["sysv-segment:0x00001002"]["verdict"] == "orphan", "the kernel says that no such process is left"
    assert dead[f"posix-segment:/torch_{pid}_1"]["verdict"] == "unknown"


def test_other_namespaces_with_their_own_objects() -> None:
    """A container is a process in namespaces of its own: its objects are seen, with our pids, and left alone."""

    def scene() -> list[Any]:
        from tests.conformance.worlds import holding

        def container() -> Any:
            make_private_ipc()
            namespaces.unshare("pid")
            return start(MAKER)

        with holding(container) as pid:
            inside = os.readlink(f"/proc/{pid}/ns/ipc")
            return [findings(), [each.to_json() for each in look(all_namespaces=True).findings], inside]

    here, everywhere, inside = in_box(scene)
    assert here == {}
    known = [
        item for item in everywhere if item["name"] == "/orct.segment" or item["key"] in ("0x00001001", "0x00001002")
    ]
    mine = [item for item in known if item["namespace"] == inside]  # another worker's tests have such boxes too
    assert len(mine) == 3
    assert {item["verdict"] for item in mine} == {"foreign"}
    assert len({item["namespace"] for item in mine}) == 1
    holders = {holder["pid"] for item in mine for holder in item["holders"]}
    assert len(holders) == 1
    assert holders != {1}, "the number it has here, not the one it has inside"
    letters = next(item for item in mine if item["kind"] == "queue")
    assert f"process {holders.pop()} (python" in letters["evidence"]
    assert not any(item["removable"] for item in everywhere)
