"""Real processes that die at a chosen step: one light parent, started once, forks a child for each order.

The parent is a process of its own, so a child is forked from a single thread that has opened nothing. Each order is
one line of JSON; the answer tells how the child ended. Run as a program it is that parent.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestra.kinds import Family, Kind, OnDown
from orchestra.runplan import ObjectPlan

ROOT = Path(__file__).parents[2]


class Zygote:
    """The parent, seen from a test."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.zygote"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT,
        )  # fmt: skip

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()

    def order(self, action: str, **arguments: Any) -> dict[str, Any]:
        """Have a child do `action`; return how it ended: `{"pid", "status"}`, and `error` when it raised."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"action": action, **arguments}).encode() + b"\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def create(self, ledger: Path, plan: ObjectPlan, folder: Path, die: str, **more: Any) -> dict[str, Any]:
        """Have a child create an object and SIGKILL itself at step `die`, at the latest after the last."""
        data = {**plan._asdict(), "extra": dict(plan.extra)}
        return self.order("create", ledger=str(ledger), plan=data, folder=str(folder), die=die, **more)

    def stranger(self, family: Family, kind: Kind, *, uid: int = 0, **spec: Any) -> dict[str, Any]:
        """Have a child make an object of its own, as user `uid`, with no ledger at all, and end."""
        return self.order("stranger", family=family, kind=kind, uid=uid, spec=spec)

    def remove(self, ledger: Path, number: int, die: str) -> dict[str, Any]:
        """Have a child remove the object of one row and SIGKILL itself at step `die`."""
        return self.order("remove", ledger=str(ledger), number=number, die=die)


def _killer(step: str) -> Callable[[str], None]:
    def checkpoint(reached: str) -> None:
        if reached == step:
            os.kill(os.getpid(), signal.SIGKILL)

    return checkpoint


def _become(uid: int) -> None:
    if uid:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)


def _clean(order: dict[str, Any]) -> None:
    from orchestra.audit.cleanup import Selection, choose, clean
    from orchestra.audit.scan import scan
    from orchestra.ledger.journal import Ledger

    _become(order["uid"])
    with Ledger.open(Path(order["ledger"])) as ledger:
        found = scan(ledger, lambda _: False).findings
        cleaned = clean(ledger, choose(found, Selection(), now=2e10))
    if len(cleaned.removed) != 1 or cleaned.left:
        raise RuntimeError(f"{[each.to_json() for each in found]} {cleaned.to_json()}")


def _create(order: dict[str, Any]) -> None:
    from orchestra.kernel.host import boot_id
    from orchestra.ledger.journal import Ledger
    from orchestra.objects import create_recorded
    from tests.support.rows import run_row

    _become(order.get("uid", 0))
    plan = order["plan"]
    words = {"family": Family(plan["family"]), "kind": Kind(plan["kind"]), "on_down": OnDown(plan["on_down"])}
    plan = ObjectPlan(**{**plan, **words, "values": tuple(plan["values"])})
    run = run_row(order.get("run", "r1"), instance="orct", boot_id=boot_id(), uid=os.getuid())
    ledger = Ledger.open(Path(order["ledger"]))
    if ledger.run(run.run) is None:
        ledger.begin_run(run)
    create_recorded(ledger, plan, run, folder=Path(order["folder"]), checkpoint=_killer(order["die"]))
    os.kill(os.getpid(), signal.SIGKILL)


def _remove(order: dict[str, Any]) -> None:
    from orchestra.ledger.journal import Ledger
    from orchestra.objects import remove_recorded

    ledger = Ledger.open(Path(order["ledger"]))
    row = ledger.object(order["number"])
    assert row is not None
    remove_recorded(ledger, row, checkpoint=_killer(order["die"]))
    os.kill(os.getpid(), signal.SIGKILL)


def _stranger(order: dict[str, Any]) -> None:
    from orchestra.kernel.registry import adapter_for
    from orchestra.kinds import Spec

    _become(order["uid"])
    family, kind = Family(order["family"]), Kind(order["kind"])
    spec = {**order["spec"], "values": tuple(order["spec"].get("values", ()))}
    adapter_for(family, kind).create(Spec(family, kind, **spec))


def _serve() -> None:
    actions = {"create": _create, "remove": _remove, "stranger": _stranger, "clean": _clean}
    for line in sys.stdin.buffer:
        order = json.loads(line)
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                actions[order["action"]](order)
            except BaseException as err:
                os.write(write, repr(err).encode()[:4000])
                os._exit(1)
            os._exit(0)
        os.close(write)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with open(read, "rb") as pipe:
            error = pipe.read().decode()
        print(json.dumps({"pid": pid, "status": status, "error": error}), flush=True)


def _warm_up() -> None:
    """Live through one object of each kind, so that a child has all it needs in memory.

    Children start in a millisecond then, and one that became another user may not be able to read our modules.
    """
    from orchestra.audit.cleanup import Selection, choose, clean
    from orchestra.audit.scan import scan
    from orchestra.kernel.host import boot_id
    from orchestra.kinds import OBJECT_KINDS
    from orchestra.ledger.journal import Ledger
    from orchestra.objects import create_recorded
    from tests.support.rows import object_plan, run_row

    with tempfile.TemporaryDirectory(prefix="orct-") as folder, Ledger.open(Path(folder) / "record.db") as ledger:
        run = run_row(instance="orct", boot_id=boot_id(), uid=os.getuid())
        ledger.begin_run(run)
        for family, kind in OBJECT_KINDS:
            made = create_recorded(ledger, object_plan(family, kind), run, folder=Path(folder))
            for fd in made.handle.fds:
                os.close(fd)
        clean(ledger, choose(scan(ledger, lambda _: False).findings, Selection(), now=2e10))


if __name__ == "__main__":
    _warm_up()
    _serve()
