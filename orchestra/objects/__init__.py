"""The one place where ledger and kernel meet: objects are created, reused, kept and removed on record.

`create_recorded` and `reuse_or_create` give LiveObjects to a run, `remove_recorded` and `keep_recorded` end them,
`entitlement` is the pure rule that decides what may be removed at all.
"""

from orchestra.objects.adopt import adopt_recorded, announce_recorded
from orchestra.objects.create import create_recorded
from orchestra.objects.entitlement import Decision, Here, Ruling, Sighting, entitlement
from orchestra.objects.live import CREATE_STEPS, REMOVE_STEPS, Checkpoint, LiveObject
from orchestra.objects.names import ref_of
from orchestra.objects.remove import Outcome, Removal, keep_recorded, remove_recorded
from orchestra.objects.reuse import find_kept, reuse_or_create
from orchestra.objects.world import KERNEL, World

__all__ = [
    "CREATE_STEPS",
    "KERNEL",
    "REMOVE_STEPS",
    "Checkpoint",
    "Decision",
    "Here",
    "LiveObject",
    "Outcome",
    "Removal",
    "Ruling",
    "Sighting",
    "World",
    "adopt_recorded",
    "announce_recorded",
    "create_recorded",
    "entitlement",
    "find_kept",
    "keep_recorded",
    "ref_of",
    "remove_recorded",
    "reuse_or_create",
]
