"""PURE: what an object looks like by declaration, and how a found one differs from it."""

from __future__ import annotations

from typing import Any

from orchestra.kinds import Family, Kind, Spec, Stat
from orchestra.runplan import ObjectPlan

_NUMBERS = ("owner", "group", "max_messages", "message_size", "capacity", "size")


def declared(plan: ObjectPlan) -> dict[str, Any]:
    """Return what the file says about the object, JSON-ready, for the ledger.

    `name` and `ipc_key` are present only when the file gives them: their absence says "derived" and "random".
    """
    shape: dict[str, Any] = {name: getattr(plan, name) for name in _NUMBERS if getattr(plan, name) is not None}
    if plan.values:
        shape["values"] = list(plan.values)
    if plan.name is not None:
        shape["name"] = plan.name
    if plan.ipc_key is not None:
        shape["ipc_key"] = plan.ipc_key
    if plan.made_by:
        shape["made_by"] = plan.made_by
    return shape


def spec_of(plan: ObjectPlan, *, name: str | None, key: int | None) -> Spec:
    """Return what to create, with the name and key chosen for it."""
    return Spec(
        plan.family, plan.kind, name=name, key=key, mode=plan.mode, owner=plan.owner, group=plan.group,
        max_messages=plan.max_messages, message_size=plan.message_size, capacity=queue_bytes(plan), size=plan.size,
        fill=plan.fill, values=plan.values, huge_pages=plan.huge_pages, lock=plan.lock,
    )  # fmt: skip


def queue_bytes(plan: ObjectPlan) -> int | None:
    """Return the capacity of a queue in bytes, when the file gives one: System V counts bytes, POSIX messages."""
    if plan.capacity is None and plan.max_messages is not None and plan.message_size is not None:
        return plan.max_messages * plan.message_size
    return plan.capacity


def declared_size(plan: ObjectPlan) -> int | None:
    """Return the size a user of the object is told: bytes of a segment, capacity of a queue."""
    return plan.size if plan.kind is Kind.SEGMENT else queue_bytes(plan)


def differences(plan: ObjectPlan, stat: Stat, *, exact: bool) -> list[str]:
    """Return in words how what is there differs from what was declared; empty when it fits.

    `exact` also compares mode and owner: for an object of ours that is used again. Somebody else's keeps its own.
    """
    found: list[str] = []
    for words, actual, wanted in _numbers(plan, stat):
        if wanted is not None and actual is not None and actual != wanted:
            found.append(f"{words} is {actual}, declared {wanted}")
    if exact:
        if stat.mode != plan.mode:
            found.append(f"mode is {stat.mode:#o}, declared {plan.mode:#o}")
        if plan.owner is not None and stat.uid != plan.owner:
            found.append(f"owner is uid {stat.uid}, declared {plan.owner}")
        if plan.group is not None and stat.gid != plan.group:
            found.append(f"group is gid {stat.gid}, declared {plan.group}")
    return found


def _numbers(plan: ObjectPlan, stat: Stat) -> list[tuple[str, Any, int | None]]:
    if plan.kind is Kind.SEGMENT:
        return [("size", stat.size, plan.size)]
    if plan.kind is Kind.SEMAPHORE and plan.family is Family.SYSV:
        return [("number of semaphores", stat.members, len(plan.values) or None)]
    if plan.kind is Kind.QUEUE and plan.family is Family.SYSV:
        return [("capacity", stat.size, queue_bytes(plan))]
    if plan.kind is Kind.QUEUE:
        return [
            ("max_messages", stat.fields.get("mq_maxmsg"), plan.max_messages),
            ("message_size", stat.fields.get("mq_msgsize"), plan.message_size),
        ]
    return []
