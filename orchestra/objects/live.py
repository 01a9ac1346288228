"""An object that a run may use now, and the steps at which a crash is tested."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orchestra.bindings import Binding
from orchestra.kinds import Access, Family, Handle
from orchestra.ledger.rows import ObjectRow
from orchestra.runplan import ObjectPlan

Checkpoint = Callable[[str], None]

# Every step that create_recorded and remove_recorded announce, in order. Not each kind passes each.
CREATE_STEPS = ("intending", "intended", "created", "confirmed", "linked", "renamed", "named")
REMOVE_STEPS = ("removing", "removed", "settled")


def go_on(_step: str) -> None:
    """The checkpoint of production: nothing happens."""


@dataclass(frozen=True, slots=True)
class LiveObject:
    """One object of the running run. `size` is bytes of a segment, capacity of a queue, else None."""

    plan: ObjectPlan
    row: ObjectRow
    handle: Handle
    reused: bool = False
    size: int | None = None

    def binding(self, access: Access, fd: int | None) -> Binding:
        """Return what one user of the object is told; `fd` is the number inside the child."""
        ref = self.handle.ref
        return Binding(
            self.plan.key,
            self.plan.family,
            self.plan.kind,
            access,
            name=None if self.plan.family in (Family.MEMFD, Family.ANONYMOUS) else ref.name,
            id=self.row.id,
            ipc_key=self.row.ipc_key if self.plan.family is Family.SYSV else None,
            fd=fd,
            size=self.size,
            extra=self.plan.extra,
        )
