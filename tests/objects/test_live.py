from __future__ import annotations

from orchestra.kinds import Access, Family, Handle, Identity, Kind, ObjectRef
from orchestra.objects.live import CREATE_STEPS, REMOVE_STEPS, LiveObject, go_on
from tests.support.rows import object_plan, object_row


def test_the_production_checkpoint_does_nothing() -> None:
    for step in (*CREATE_STEPS, *REMOVE_STEPS):
        go_on(step)


def test_a_system_v_binding_has_an_id_and_a_key_and_others_have_a_name() -> None:
    row = object_row(Family.SYSV, Kind.QUEUE, id=0)
    handle = Handle(ObjectRef(Family.SYSV, Kind.QUEUE, id=0), Identity(Family.SYSV, Kind.QUEUE, id=0))
    binding = LiveObject(object_plan(Family.SYSV, Kind.QUEUE), row, handle, size=7).binding(Access.WRITE, None)
    assert (binding.id, binding.ipc_key, binding.name, binding.size) == (0, 0x1234ABCD, None, 7)
    fifo = object_row(Family.FIFO, Kind.PIPE, name="/f")
    handle = Handle(ObjectRef(Family.FIFO, Kind.PIPE, name="/f"), Identity(Family.FIFO, Kind.PIPE))
    binding = LiveObject(object_plan(Family.FIFO, Kind.PIPE), fifo, handle).binding(Access.READ, None)
    assert (binding.name, binding.id, binding.ipc_key) == ("/f", None, None)
