"""Create an object so that a SIGKILL between any two steps leaves a row that the audit can act on.

intending   names and keys are chosen
intended    the row with its nonce is committed; nothing exists yet
created     the object exists, perhaps half, under its nonce name or random key (explicit keys and queue names
            cannot have one: caught here they are `unknown`)
confirmed   its identity is on record
linked      it has its explicit name too (kinds whose name is a file)
renamed     the ledger knows
named       the nonce name is gone
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import time
from pathlib import Path
from typing import cast

from orchestra.errors import KernelError, LedgerError, ObjectExists, ShapeMismatch
from orchestra.kernel.api import Adapter, Linkable
from orchestra.kinds import Family, Handle, Kind, ObjectRef, Stat
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import ObjectRow, ObjectState, RunRow
from orchestra.objects.entitlement import FOLDER_DEVICE
from orchestra.objects.explain import occupied
from orchestra.objects.live import Checkpoint, LiveObject, go_on
from orchestra.objects.look import folder_of
from orchestra.objects.names import PATH_FAMILIES, derived_fifo, is_linkable, nonce_name
from orchestra.objects.shape import declared, declared_size, spec_of
from orchestra.objects.world import KERNEL, World
from orchestra.runplan import ObjectPlan

_TRIES = 16  # random keys drawn before we believe that something else is wrong


def create_recorded(
    ledger: Ledger,
    plan: ObjectPlan,
    run: RunRow,
    *,
    folder: Path,
    checkpoint: Checkpoint = go_on,
    world: World = KERNEL,
) -> LiveObject:
    """Create one object of a run, on record before, during and after. `folder` is the run's own folder.

    Raises ObjectExists when its explicit name or key is taken (the error says by what and who holds it), other
    KernelErrors as the adapter gives them, LedgerError. After an error nothing of ours is left.
    """
    adapter = world.adapter(plan.family, plan.kind)
    for _ in range(_TRIES):
        row = new_row(plan, run, folder=folder, world=world)
        if _is_taken(adapter, plan, row, ledger, world):
            continue
        checkpoint("intending")
        number = ledger.intend(row)
        checkpoint("intended")
        handle = _make(adapter, plan, row._replace(number=number), ledger, world)
        if handle is None:
            continue
        checkpoint("created")
        _confirm(adapter, ledger, number, handle)
        checkpoint("confirmed")
        if row.wanted_name is not None:
            handle = _give_name(adapter, plan, number, row.wanted_name, handle, ledger, checkpoint, world)
        return _live(adapter, ledger, plan, number, handle)
    raise KernelError(
        f"no free System V key found for {plan.key}",
        detail=f"{_TRIES} random keys were all taken",
        hint="Declare `key: private`, or an explicit key.",
    )


def new_row(plan: ObjectPlan, run: RunRow, *, folder: Path, world: World) -> ObjectRow:
    """Return the row of an object about to be made, with a new nonce or key."""
    nonce, where, pid = world.nonce(), world.here(), os.getpid()
    name, wanted = _names(plan, run.instance, nonce, str(folder))
    key = None
    if plan.family is Family.SYSV:
        key = world.key() if plan.ipc_key is None else plan.ipc_key
    row = ObjectRow(
        run.run, run.instance, plan.key, plan.family, plan.kind, plan.mode, nonce, pid, world.start_time(pid),
        os.geteuid(), where.boot_id, where.ipc_ns, name=name, ipc_key=key, on_down=plan.on_down, shape=declared(plan),
        created_at=time.time(), wanted_name=wanted,
    )  # fmt: skip
    holder = folder_of(row)
    device = None if holder is None else world.device(holder)
    return row if device is None else row._replace(shape={**row.shape, FOLDER_DEVICE: device})


def _names(plan: ObjectPlan, instance: str, nonce: str, run_folder: str) -> tuple[str | None, str | None]:
    """Return the first name of an object, and the name it is linked to after that, if any."""
    if plan.name is None:
        if plan.family in PATH_FAMILIES:
            return derived_fifo(run_folder, plan.key, nonce), None
        return nonce_name(plan.family, instance, plan.key, nonce, folder=""), None
    if not is_linkable(plan.family, plan.kind):
        return plan.name, None
    folder = posixpath.dirname(plan.name)
    return nonce_name(plan.family, instance, plan.key, nonce, folder=folder), plan.name


def _is_taken(adapter: Adapter, plan: ObjectPlan, row: ObjectRow, ledger: Ledger, world: World) -> bool:
    """Look before anything is announced. True: draw another key. Raises ObjectExists for an explicit one."""
    ref = _target(plan, row)
    if ref is None:
        return False
    try:
        stat = adapter.stat(ref)
    except ShapeMismatch as err:  # a folder, a symbolic link …
        raise ObjectExists(f"{plan.key}: {err.problem}", hint="Choose another name, or move it away.") from err
    except KernelError:
        return False  # creating it will say more
    if stat is None:
        return False
    if plan.family is Family.SYSV and plan.ipc_key is None:
        return True
    raise occupied(plan, ref, stat, ledger, world)


def _target(plan: ObjectPlan, row: ObjectRow) -> ObjectRef | None:
    """The address that must be free; None for what is private, nameless or derived."""
    if row.ipc_key:
        return ObjectRef(plan.family, plan.kind, key=row.ipc_key)
    return None if plan.name is None else ObjectRef(plan.family, plan.kind, name=plan.name)


def _make(adapter: Adapter, plan: ObjectPlan, row: ObjectRow, ledger: Ledger, world: World) -> Handle | None:
    """Call the kernel. None: the random key was taken in this very moment."""
    number = row.recorded
    try:
        return adapter.create(spec_of(plan, name=row.name, key=row.ipc_key))
    except ObjectExists as err:
        ledger.settle(number, ObjectState.ABANDONED, err.problem)
        if plan.family is Family.SYSV and plan.ipc_key is None:
            return None
        ref = _target(plan, row) or ObjectRef(plan.family, plan.kind, name=row.name)
        raise occupied(plan, ref, _stat_or_none(adapter, ref), ledger, world) from err
    except KernelError as err:  # the adapter has removed what it had begun
        ledger.settle(number, ObjectState.ABANDONED, err.problem)
        raise


def _confirm(adapter: Adapter, ledger: Ledger, number: int, handle: Handle) -> None:
    """Record the identity. When the ledger fails now, the object goes before the error leaves."""
    try:
        ledger.confirm(number, handle)
    except LedgerError:
        _undo(adapter, handle)
        raise


def _give_name(
    adapter: Adapter,
    plan: ObjectPlan,
    number: int,
    name: str,
    handle: Handle,
    ledger: Ledger,
    checkpoint: Checkpoint,
    world: World,
) -> Handle:
    """Link the recorded object to its explicit name and drop the nonce name."""
    try:
        ref = cast("Linkable", adapter).link(handle.ref, name)
    except KernelError as err:
        _undo(adapter, handle)
        ledger.settle(number, ObjectState.ABANDONED, err.problem)
        if isinstance(err, ObjectExists):
            taken = ObjectRef(plan.family, plan.kind, name=name)
            raise occupied(plan, taken, _stat_or_none(adapter, taken), ledger, world) from err
        raise
    checkpoint("linked")
    try:
        ledger.rename(number, name)
    except LedgerError:
        _undo(adapter, handle._replace(ref=ref))
        _undo(adapter, handle)
        raise
    checkpoint("renamed")
    adapter.remove(handle.ref)
    checkpoint("named")
    return handle._replace(ref=ref)


def _undo(adapter: Adapter, handle: Handle) -> None:
    for fd in handle.fds:
        os.close(fd)
    if not handle.fds:
        with contextlib.suppress(KernelError):  # the row still names it
            adapter.remove(handle.ref)


def _stat_or_none(adapter: Adapter, ref: ObjectRef) -> Stat | None:
    try:
        return adapter.stat(ref)
    except KernelError:
        return None


def _live(adapter: Adapter, ledger: Ledger, plan: ObjectPlan, number: int, handle: Handle) -> LiveObject:
    row = ledger.object(number)
    if row is None:
        raise LedgerError(f"object row {number} vanished from {ledger.path}")
    size = declared_size(plan)
    if size is None and plan.kind is Kind.QUEUE:  # the kernel's default, which users are told like any other
        stat = _stat_or_none(adapter, handle.ref)
        size = stat.size if stat is not None else None
    return LiveObject(plan, row, handle, size=size)
