"""What takes root, said beforehand; the words are in the corpus, here is where the line lies."""

from __future__ import annotations

import pytest

from orchestra.kinds import KernelLimits
from orchestra.topology.limits import SYS_ADMIN, in_a_namespace
from orchestra.topology.privileges import IPC_LOCK, SETGID, SETUID, SYS_NICE, SYS_RESOURCE, errors
from tests.support.hosts import USUAL_LIMITS, FakeHost
from tests.support.topologies import load_text

ORDINARY = USUAL_LIMITS._replace(capabilities=0)
ME = FakeHost(users={"me": 1000, "root": 0, "you": 1001}, groups={"me": 1000, "you": 1001}, uid=1000)


def codes(keys: str, limits: KernelLimits = ORDINARY, *, host: FakeHost = ME, segments: str = "") -> list[str]:
    text = f"version: 1\n{segments}processes: {{a: {{command: [x], {keys}}}}}\n"
    return [problem.code for problem in errors(load_text(text), limits, host)]


def with_capability(*numbers: int) -> KernelLimits:
    return ORDINARY._replace(capabilities=sum(1 << number for number in numbers))


@pytest.mark.parametrize(
    ("keys", "limits", "found"),
    [
        ("user: me", ORDINARY, []),
        ("user: 1000", ORDINARY, []),
        ("user: me, group: me", ORDINARY, []),
        ("user: you", ORDINARY, ["privilege"]),
        ("user: you", with_capability(SETUID), ["privilege"]),
        ("user: you", with_capability(SETUID, SETGID), []),
        ("user: ghost", ORDINARY, ["unknown_name"]),
        ("user: 4711", with_capability(SETUID, SETGID), ["missing_key"]),
        ("user: 4711, group: 5", with_capability(SETUID, SETGID), []),
        ("user: you, isolation: private", with_capability(SETUID, SETGID), ["privilege"]),
        ("user: you, isolation: private", with_capability(SETUID, SETGID, SYS_ADMIN), []),
        ("group: you, isolation: private", with_capability(SETGID), ["privilege"]),
        ("user: me, group: me, isolation: private", ORDINARY, []),
        ("group: you", ORDINARY, ["privilege"]),
        ("group: you", with_capability(SETGID), []),
        ("nice: 0", ORDINARY, []),
        ("nice: -1", ORDINARY, ["privilege"]),
        ("nice: -1", with_capability(SYS_NICE), []),
        ("nice: -1", ORDINARY._replace(rlimits={"nice": (21, 21)}), []),
        ("nice: -2", ORDINARY._replace(rlimits={"nice": (21, 21)}), ["privilege"]),
        ("nice: -20", ORDINARY._replace(rlimits={"nice": (-1, -1)}), []),
        ("nice: 3", ORDINARY._replace(niceness=5), ["privilege"]),
        ("nice: 5", ORDINARY._replace(niceness=5), []),
        ("scheduler: other", ORDINARY, []),
        ("scheduler: fifo:1", ORDINARY, ["privilege"]),
        ("scheduler: fifo:1", with_capability(SYS_NICE), []),
        ("scheduler: rr:9", ORDINARY._replace(rlimits={"rtprio": (9, 9)}), []),
        ("scheduler: rr:10", ORDINARY._replace(rlimits={"rtprio": (9, 9)}), ["privilege"]),
        ("cpu_affinity: [0, 3]", ORDINARY, []),
        ("cpu_affinity: [4]", ORDINARY, ["limit"]),
        ("cpu_affinity: {each: [0, 4]}", ORDINARY, ["limit"]),
        ("cpu_affinity: [4]", ORDINARY._replace(processors=None), []),
        ("limits: {nofile: 524288}", ORDINARY, []),
        ("limits: {nofile: 524289}", ORDINARY, ["privilege"]),
        ("limits: {nofile: unlimited}", with_capability(SYS_RESOURCE), ["limit"]),
        ("limits: {nofile: 1048576}", with_capability(SYS_RESOURCE), []),
        ("limits: {memlock: unlimited}", ORDINARY, ["privilege"]),
        ("limits: {memlock: unlimited}", with_capability(SYS_RESOURCE), []),
        ("limits: {core: unlimited}", ORDINARY, []),
    ],
)
def test_where_the_line_lies(keys: str, limits: KernelLimits, found: list[str]) -> None:
    assert codes(keys, limits) == found


@pytest.mark.parametrize(
    ("segment", "limits", "found"),
    [
        ("{size: 8MiB, lock: true}", ORDINARY, []),
        ("{size: 9MiB, lock: true}", ORDINARY, ["limit"]),
        ("{size: 9MiB, lock: true}", with_capability(IPC_LOCK), []),
        ("{size: 9MiB}", ORDINARY, []),
        ("{family: memfd, size: 16MiB, huge_pages: 2MiB}", ORDINARY, []),
        ("{family: memfd, size: 18MiB, huge_pages: 2MiB}", ORDINARY, ["limit"]),
        ("{family: memfd, size: 64MiB, huge_pages: 64MiB}", ORDINARY, ["limit"]),
        ("{family: sysv, size: 2MiB, huge_pages: 2MiB}", ORDINARY, ["privilege"]),
        ("{family: sysv, size: 2MiB, huge_pages: 2MiB}", with_capability(IPC_LOCK), []),
        ("{family: sysv, size: 2MiB, huge_pages: 2MiB}", ORDINARY._replace(hugetlb_shm_group=1000), []),
    ],
)
def test_memory(segment: str, limits: KernelLimits, found: list[str]) -> None:
    assert codes("uses: [s]", limits, segments=f"segments: {{s: {segment}}}\n") == found


def test_nothing_is_said_where_nothing_is_known() -> None:
    keys = "user: you, nice: -5, scheduler: fifo:9, cpu_affinity: [99], limits: {nofile: 9999999}"
    assert codes(keys, KernelLimits()) == []


def test_a_private_run_of_a_root_who_lacks_the_right_is_that_of_an_ordinary_user() -> None:
    most = with_capability(SETUID, SETGID, SYS_NICE)._replace(cap_sys_resource=True)
    assert in_a_namespace(most).capabilities == 0
    assert not in_a_namespace(most).cap_sys_resource
    assert (
        in_a_namespace(with_capability(SETUID, SYS_ADMIN)).capabilities
        == with_capability(SETUID, SYS_ADMIN).capabilities
    )
    assert in_a_namespace(KernelLimits()).capabilities is None
    root = FakeHost(users={"root": 0, "you": 1001}, groups={"you": 1001}, uid=0)
    text = "version: 1\nprocesses: {a: {command: [x], user: you, isolation: private}}\n"
    (problem,) = errors(load_text(text), most, root)
    assert "CAP_SYS_ADMIN" in problem.help
