"""Rows and plans with sensible defaults, so that a test states only what it is about."""

from __future__ import annotations

from typing import Any

from orchestra.kinds import Family, Handle, Identity, Kind, ObjectRef
from orchestra.ledger.rows import ObjectRow, ProcessRow, RunRow
from orchestra.runplan import ObjectPlan

NONCE = "k3j9x2ab"
BOOT = "0d6e1c0a-boot"
NAMESPACE = 4026531839


def run_row(run: str = "r1", **changes: Any) -> RunRow:
    """A run that is up."""
    defaults: dict[str, Any] = {
        "instance": "pipeline", "topology": "pipeline", "file": "/t/orchestra.yaml", "folder": "/t", "state": "up",
        "started_at": 1000.0, "boot_id": BOOT, "uid": 1000,
    }  # fmt: skip
    return RunRow(run, **{**defaults, **changes})


def process_row(process: str = "worker", replica: int = 1, **changes: Any) -> ProcessRow:
    """A running replica."""
    return ProcessRow(**{"run": "r1", "process": process, "replica": replica, "state": "running", **changes})


def object_row(family: Family = Family.POSIX, kind: Kind = Kind.SEGMENT, **changes: Any) -> ObjectRow:
    """An intended object with a derived name or, for System V, a random key."""
    defaults: dict[str, Any] = {
        "run": "r1", "instance": "pipeline", "key": "board", "mode": 0o600, "nonce": NONCE, "creator_pid": 4711,
        "creator_start": 99, "uid": 1000, "boot_id": BOOT, "ipc_ns": NAMESPACE, "created_at": 1000.0,
    }  # fmt: skip
    if family is Family.SYSV:
        defaults["ipc_key"] = 0x1234ABCD
    elif family is not Family.ANONYMOUS:
        defaults["name"] = f"/orc.pipeline.board.{NONCE}"
    return ObjectRow(family=family, kind=kind, **{**defaults, **changes})


def object_plan(family: Family, kind: Kind, key: str = "board", **changes: Any) -> ObjectPlan:
    """A small object of any kind."""
    defaults: dict[str, Any] = {}
    if kind is Kind.SEGMENT:
        defaults["size"] = 4096
    if kind is Kind.SEMAPHORE:
        defaults["values"] = (3, 1) if family is Family.SYSV else (3,)
    if (family, kind) == (Family.POSIX, Kind.QUEUE):
        defaults.update(max_messages=2, message_size=64)
    return ObjectPlan(key, family, kind, **{**defaults, **changes})


def handle_of(row: ObjectRow, **identity: Any) -> Handle:
    """What a creation of `row` would give."""
    ref = ObjectRef(row.family, row.kind, name=row.name, key=row.ipc_key)
    return Handle(ref, Identity(row.family, row.kind, **identity))
