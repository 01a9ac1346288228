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
from collections.abc import Callable
from dataclasses import asdict
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
        return self.order("create", ledger=str(ledger), plan=asdict(plan), folder=str(folder), die=die, **more)

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


def _create(order: dict[str, Any]) -> None:
    from orchestra.kernel.host import boot_id
    from orchestra.ledger.journal import Ledger
    from orchestra.objects import create_recorded
    from tests.support.rows import run_row

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

    if order["uid"]:
        os.setgroups([])
        os.setresgid(order["uid"], order["uid"], order["uid"])
        os.setresuid(order["uid"], order["uid"], order["uid"])
    family, kind = Family(order["family"]), Kind(order["kind"])
    spec = {**order["spec"], "values": tuple(order["spec"].get("values", ()))}
    adapter_for(family, kind).create(Spec(family, kind, **spec))


def _serve() -> None:
    actions = {"create": _create, "remove": _remove, "stranger": _stranger}
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


if __name__ == "__main__":
    # Imported once, before any fork: children start in a millisecond, and one that became another user may not be
    # able to read the modules any more.
    import posix_ipc  # noqa: F401
    import sysv_ipc  # noqa: F401

    from orchestra.kernel.registry import all_adapters

    all_adapters()
    _serve()
