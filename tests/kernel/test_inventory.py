"""The inventory agrees with ipcs, lsipc, ls and /proc, field by field, also while objects come and go."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import posix_ipc
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from orchestra.kernel import inventory, libc
from orchestra.kernel.census import user_name
from orchestra.kernel.inventory import Inventory, Seen, born, path_of, take
from orchestra.kernel.namespaces import make_private_ipc
from orchestra.kinds import Family, Kind
from tests.conformance.worlds import in_child

OBJECTS = 1000
LIMITS: dict[str, int | str] = {
    "fs.mqueue.queues_max": 2000,
    "kernel.shmmni": 4096,
    "kernel.msgmni": 4096,
    "kernel.sem": "250 256000 100 4096",
}
CHURN = """
import os, sys, posix_ipc
sys.path.insert(0, sys.argv[1])
from orchestra.kernel import libc
print(flush=True)
number = 0
while True:
    number = number % 50 + 1
    name = f"/orct.churn{number}"
    with open(f"/dev/shm{name}", "wb") as file:
        file.write(bytes(number))
    posix_ipc.MessageQueue(name, posix_ipc.O_CREAT, max_messages=1, max_message_size=1).close()
    queue = libc.msgget(0x7000 + number, libc.IPC_CREAT | 0o600)
    segment = libc.shmget(0x7000 + number, 4096, libc.IPC_CREAT | 0o600)
    os.unlink(f"/dev/shm{name}")
    posix_ipc.unlink_message_queue(name)
    libc._msgctl(queue, 0, None)
    libc._shmctl(segment, 0, None)
"""

MODES = st.integers(0, 0o777)
ONE = st.one_of(
    st.tuples(st.just("shm"), MODES, st.integers(0, 100_000)),
    st.tuples(st.just("sem"), MODES, st.integers(0, 2**31 - 1)),
    st.tuples(st.just("mq"), MODES, st.integers(1, 3)),
    st.tuples(st.just("sysv-shm"), MODES, st.integers(1, 100_000)),
    st.tuples(st.just("sysv-msg"), MODES, st.integers(0, 3)),
    st.tuples(st.just("sysv-sem"), MODES, st.integers(1, 20)),
)
OWNERS = st.sampled_from([0, 1, 65534, 12345])


def make(number: int, what: tuple[str, int, int], owner: int) -> None:
    """Make one object with a mode, an owner and a size (or value, or number of messages or members)."""
    kind, mode, amount = what
    name, key = f"/orct.{number}", random.Random(number).getrandbits(31) | 1
    if kind in ("shm", "sem"):
        if kind == "sem":
            posix_ipc.Semaphore(name, posix_ipc.O_CREX, initial_value=amount).close()
        path = f"/dev/shm/{'sem.' if kind == 'sem' else ''}{name[1:]}"
        if kind == "shm":
            with open(path, "xb") as file:
                file.truncate(amount)
        os.chown(path, owner, owner)
        os.chmod(path, mode)
    elif kind == "mq":
        queue = posix_ipc.MessageQueue(name, posix_ipc.O_CREX, max_messages=amount, max_message_size=8)
        os.chown(queue.mqd, owner, owner)
        os.chmod(queue.mqd, mode)
        queue.close()
    elif kind == "sysv-shm":
        libc.shm_set(libc.shmget(key, amount, libc.IPC_CREAT | 0o600), uid=owner, gid=owner, mode=mode)
    elif kind == "sysv-msg":
        number = libc.msgget(key, libc.IPC_CREAT | 0o600)
        libc.msg_set(number, uid=owner, gid=owner, mode=mode, qbytes=1024)
    else:
        libc.sem_set(libc.semget(key, amount, libc.IPC_CREAT | 0o600), uid=owner, gid=owner, mode=mode)


def ours(taken: Inventory) -> list[Seen]:
    """What is not from the program that makes and removes all the time."""
    return [one for one in taken.objects if "churn" not in (one.name or "") and one.key not in range(0x7000, 0x7100)]


def lsipc(letter: str) -> dict[int, dict[str, str]]:
    """One table of lsipc, by id."""
    done = subprocess.run(
        ["lsipc", f"-{letter}", "--json", "--bytes", "--time-format=iso", "--noheadings"],
        capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    (rows,) = json.loads(done.stdout).values()
    return {int(row["id"]): {key: str(value) for key, value in row.items()} for row in rows}


def ipcs(letter: str) -> dict[int, list[str]]:
    """One table of ipcs with numeric owners, by id."""
    done = subprocess.run(["ipcs", f"-{letter}"], capture_output=True, text=True, check=True)
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("0x")]
    return {int(row[1]): row for row in rows}


def disagreements() -> list[str]:
    """Compare one inventory with what the tools say, field by field."""
    found: list[str] = []

    def same(what: str, mine: object, theirs: object) -> None:
        if mine != theirs:
            found.append(f"{what}: {mine!r}, not {theirs!r}")

    taken = take()
    seen = ours(taken)
    by_id = {(one.kind, one.id): one for one in seen if one.id is not None}
    for kind, letter, size in ((Kind.QUEUE, "q", None), (Kind.SEGMENT, "m", 4), (Kind.SEMAPHORE, "s", 4)):
        table, rows = lsipc(letter), ipcs(letter)
        mine = {number: one for (which, number), one in by_id.items() if which is kind}
        theirs = {number for number, row in rows.items() if int(row[0], 16) not in range(0x7000, 0x7100)}
        same(f"ids of {kind}", set(mine), theirs)
        for number, one in mine.items():
            row = rows[number]
            same(f"{number} key", one.key, int(row[0], 16))
            same(f"{number} owner", user_name(one.uid).removeprefix("uid "), row[2])
            same(f"{number} mode", one.mode, int(row[3], 8))
            if size is not None:
                same(f"{number} size", one.size if one.size is not None else one.members, int(row[size]))
            same(f"{number} key of lsipc", f"0x{one.key:08x}", table[number]["key"])
            same(
                f"{number} mode of lsipc", f"{one.mode:04o}"[-3:], table[number]["perms"].lstrip("0").rjust(3, "0")[-3:]
            )
    for one in seen:
        if one.family is Family.POSIX and one.kind is not Kind.QUEUE:
            stated = os.stat(path_of(one, taken.place))
            same(f"{one.name}", (one.mode, one.uid, one.gid, one.ino, one.dev), (
                stated.st_mode & 0o777, stated.st_uid, stated.st_gid, stated.st_ino, stated.st_dev))  # fmt: skip
            same(f"{one.name} size", one.size, stated.st_size if one.kind is Kind.SEGMENT else None)
    folder = set(os.listdir("/dev/shm"))
    named = {("sem." if one.kind is Kind.SEMAPHORE else "") + (one.name or "")[1:] for one in seen
             if one.family is Family.POSIX and one.kind is not Kind.QUEUE}  # fmt: skip
    same("names in /dev/shm", named, {name for name in folder if "churn" not in name})
    return found


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("lsipc") is None, reason="lsipc (util-linux) is not installed")
def test_a_thousand_random_objects_while_others_come_and_go() -> None:
    drawn: list[list[Any]] = []

    @settings(max_examples=1, phases=[Phase.generate], database=None, deadline=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(st.lists(st.tuples(ONE, OWNERS), min_size=100, max_size=100))
    def draw(these: list[Any]) -> None:
        drawn.append(these)

    while sum(map(len, drawn)) < OBJECTS:
        draw()

    def scene() -> list[Any]:
        make_private_ipc(LIMITS)
        every = [one for these in drawn for one in these][:OBJECTS]
        for number, (what, owner) in enumerate(every):
            make(number, what, owner)
        churn = subprocess.Popen([sys.executable, "-c", CHURN, os.getcwd()], stdout=subprocess.PIPE)
        assert churn.stdout is not None
        churn.stdout.readline()
        try:
            found = [disagreements() for _ in range(3)]
            return [found, len(ours(take()))]
        finally:
            churn.kill()
            churn.communicate()

    found, count = in_child(scene)
    assert found == [[], [], []]
    assert count == OBJECTS


def test_a_look_disturbs_nothing(ipc_name: Callable[[], str]) -> None:
    """No attach, no open of a queue, no change of a time."""
    import sysv_ipc

    segment = sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX, size=4096)
    segment.detach()
    try:
        before = libc.shm_stat(segment.id)[1]
        assert segment.id in {one.id for one in take().objects if one.kind is Kind.SEGMENT}
        assert libc.shm_stat(segment.id)[1] == before
    finally:
        segment.remove()


def test_an_identity_is_that_of_the_adapter(ipc_name: Callable[[], str]) -> None:
    from orchestra.kernel.registry import adapter_for
    from orchestra.kinds import Spec

    specs = [
        Spec(Family.POSIX, Kind.QUEUE, name=ipc_name(), max_messages=1, message_size=8),
        Spec(Family.POSIX, Kind.SEGMENT, name=ipc_name(), size=10),
        Spec(Family.POSIX, Kind.SEMAPHORE, name=ipc_name(), values=(1,)),
        *(
            Spec(Family.SYSV, kind, key=0, size=10, values=(1, 2))
            for kind in (Kind.QUEUE, Kind.SEGMENT, Kind.SEMAPHORE)
        ),
    ]
    for spec in specs:
        adapter = adapter_for(spec.family, spec.kind)
        handle = adapter.create(spec)
        try:
            taken = take()
            (one,) = [
                each for each in taken.objects
                if each.identity(taken.place)._replace(birth_ns=None) == handle.identity._replace(birth_ns=None)
            ]  # fmt: skip
            if spec.family is Family.SYSV:
                assert one.identity(taken.place) == handle.identity
            elif spec.kind is not Kind.QUEUE:
                assert born(one, path_of(one, taken.place)) == handle.identity
                assert born(one._replace(ino=1), path_of(one, taken.place)) is None
            assert (one.ref.name, one.mode, one.uid) == (spec.name, 0o600, os.getuid())
            assert one.last_used >= 0
        finally:
            adapter.remove(handle.ref)


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    taken = take(root=str(tmp_path), shm=str(tmp_path / "none"))
    assert [gap.partition(":")[0] for gap in taken.gaps][-4:] == ["POSIX segments and semaphores", *["System V"] * 3]
    assert not [one for one in taken.objects if one.kind is not Kind.QUEUE]


def test_folders_of_folders_end_somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "_LIMIT_OF_FOLDERS", 3)
    for name in "abcde":
        (tmp_path / name).mkdir()
    gaps: list[str] = []
    found = list(inventory.in_shm(str(tmp_path), gaps))
    assert {one.name for one in found} == {f"/dev/shm/{name}" for name in "abcde"}
    assert len(gaps) == 1
    assert "more than 3 folders" in gaps[0]


def test_a_folder_that_may_not_be_read_is_a_gap(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    tmp_path.chmod(0o755)

    def scene() -> list[str]:
        gaps: list[str] = []
        with suppress(OSError):
            list(inventory.in_shm(str(tmp_path), gaps))
        return gaps

    gaps = in_child(scene, as_nobody=True)
    assert len(gaps) == 1
    assert "Permission denied" in gaps[0]
