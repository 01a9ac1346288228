"""Whatever is asked for within the limits is what the kernel then shows, and one removal takes it away."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestra.kernel import host
from orchestra.kinds import Family, Fill, Kind, Spec
from tests.conformance.conftest import Case

few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
modes = st.integers(0, 0o777)
keys = st.integers(0x1000_0000, 0xFFFF_FFFF)
MakeCase = Callable[[Family, Kind, bool], Case]


def live(case: Case, spec: Spec) -> dict[str, object]:
    """Create, look, remove; return what Stat showed of it, with mode and size under plain names."""
    handle = case.create(spec)
    try:
        found = case.adapter.stat(handle.ref)
        assert found is not None
        assert handle.identity.is_same(found.identity)
        assert found.mode == spec.mode
        return {**found.fields, "size": found.size, "members": found.members, "identity": found.identity}
    finally:
        case.made.remove(handle)
        assert case.adapter.remove(handle.ref)
        assert case.adapter.stat(handle.ref) is None


@few
@given(mode=modes, messages=st.integers(1, 10), size=st.integers(1, 8192))
def test_posix_queues(make_case: MakeCase, mode: int, messages: int, size: int) -> None:
    case = make_case(Family.POSIX, Kind.QUEUE, False)
    mode |= 0o400 if case.hides_itself(mode) else 0
    shown = live(case, case.spec(mode=mode, max_messages=messages, message_size=size))
    assert (shown["mq_maxmsg"], shown["mq_msgsize"], shown["mq_curmsgs"]) == (messages, size, 0)
    assert shown["size"] == messages * size


def test_a_queue_without_numbers_takes_the_host_s_defaults(make_case: MakeCase) -> None:
    case = make_case(Family.POSIX, Kind.QUEUE, False)
    shown = live(case, case.spec(max_messages=None, message_size=None))
    assert shown["mq_maxmsg"] == host.sysctl_number("fs.mqueue.msg_default")
    assert shown["mq_msgsize"] == host.sysctl_number("fs.mqueue.msgsize_default")


@few
@given(mode=modes, key=keys, capacity=st.integers(1, 16384))
def test_system_v_queues(make_case: MakeCase, mode: int, key: int, capacity: int) -> None:
    case = make_case(Family.SYSV, Kind.QUEUE, False)
    shown = live(case, case.spec(mode=mode, key=key, capacity=capacity))
    assert (shown["msg_qbytes"], shown["msg_perm.key"]) == (capacity, key)


@few
@given(
    family=st.sampled_from([Family.POSIX, Family.SYSV, Family.FILE]),
    mode=modes,
    size=st.integers(1, 1 << 20),
    text=st.text(),
)
def test_segments(make_case: MakeCase, family: Family, mode: int, size: int, text: str) -> None:
    case = make_case(family, Kind.SEGMENT, False)
    fill = Fill(text=text) if len(text.encode("utf-8", "replace")) <= size else None
    assert live(case, case.spec(mode=mode, size=size, fill=fill))["size"] == size


@few
@given(mode=modes, key=keys, values=st.lists(st.integers(0, 32767), min_size=1, max_size=60))
def test_system_v_sets(make_case: MakeCase, mode: int, key: int, values: list[int]) -> None:
    case = make_case(Family.SYSV, Kind.SEMAPHORE, False)
    shown = live(case, case.spec(mode=mode, key=key, values=tuple(values)))
    assert shown["members"] == len(values)
    assert shown.get("semval", values) == values


@few
@given(mode=modes, value=st.integers(0, 2**31 - 1))
def test_posix_semaphores(make_case: MakeCase, mode: int, value: int) -> None:
    case = make_case(Family.POSIX, Kind.SEMAPHORE, False)
    assert live(case, case.spec(mode=mode, values=(value,))).get("sem_getvalue", value) == value
