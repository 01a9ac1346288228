"""The families: real names of real programs, and what may be done about each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import orchestra.audit
from orchestra.audit import rules
from orchestra.kernel.inventory import Seen
from orchestra.kinds import Family, Kind
from tests.support.seen import file_seen, queue_seen, segment_seen, set_seen

SEM = Kind.SEMAPHORE
IN_FOLDER: dict[str, Any] = {"family": Family.FILE, "kind": Kind.SEGMENT}


@pytest.mark.parametrize(
    ("seen", "owner", "family", "pid", "remove"),
    [
        (file_seen("/psm_1a2b3c4d~orchestra.0123abcd"), "joe", "orchestra-removal", None, False),
        (file_seen("/orc.a.b.k3j9x2ab~orchestra.0123abcd"), "joe", "orchestra-removal", None, False),
        (file_seen("/psm_1a2b3c4d"), "joe", "python-shared-memory", None, True),
        (file_seen("/mp-x3_9kd2a", kind=SEM), "joe", "python-semaphore", None, True),
        (file_seen("/loky-4711-x3_9kd2a", kind=SEM), "joe", "loky-semaphore", 4711, True),
        (
            file_seen("/dev/shm/joblib_memmapping_folder_4711_0a1b_2c3d", family=Family.FILE, kind=Kind.FOLDER),
            "joe", "joblib", 4711, True,
        ),
        (
            file_seen("/dev/shm/joblib_memmapping_folder_4711_0a1b_2c3d/140-array.pkl", **IN_FOLDER),
            "joe", "joblib", 4711, True,
        ),
        (file_seen("/torch_4711_28374"), "joe", "pytorch", 4711, True),
        (file_seen("/torch_4711_28374_0"), "joe", "pytorch", 4711, True),
        (file_seen("/__KMP_REGISTERED_LIB_4711_1000"), "joe", "openmp-runtime", 4711, True),
        (file_seen("/nccl-a1B2c3"), "joe", "nccl", None, False),
        (file_seen("/nccl-shm-recv-1234-0-1-2"), "joe", "nccl", None, False),
        (file_seen("/vllm_offload_6f1c"), "joe", "vllm", None, False),
        (file_seen("/PostgreSQL.3696513550"), "postgres", "postgresql-dynamic", None, True),
        (segment_seen(size=56, key=0x220027), "postgres", "postgresql-interlock", None, True),
        (segment_seen(size=1 << 30, mode=0o640), "oracle", "oracle", None, False),
        (segment_seen(), "prdadm", "sap", None, False),
        (queue_seen(), "prdadm", "sap", None, False),
        (set_seen(), "sybase", "sybase", None, False),
        (set_seen(key=0), "www-data", "apache-httpd", None, True),
        (file_seen("/vader_segment.host.1000.1a2b0001.0"), "joe", "open-mpi", None, True),
        (file_seen("/sm_segment.host.1000.1a2b0001.0"), "joe", "open-mpi", None, True),
        (file_seen("/fastrtps_2f1e"), "joe", "fast-dds", None, False),
        (file_seen("/fastrtps_port7413_el"), "joe", "fast-dds", None, False),
        (file_seen("/iox2_1f_connection"), "joe", "iceoryx", None, False),
        (file_seen("/iceoryx_mgmt"), "joe", "iceoryx", None, False),
        (file_seen("/triton_python_backend_shm_region_3"), "joe", "triton", None, True),
        (file_seen("/.org.chromium.Chromium.aB3d"), "joe", "chromium", None, True),
        (file_seen("/u1000-Shm_4a1c2b3d"), "joe", "steam", None, True),
        (file_seen("/u1000-ValveIPCSharedObj-Steam"), "joe", "steam-constant", None, False),
        (file_seen("/wine-1a2b3c-fsync"), "joe", "wine", None, True),
        (file_seen("/libpod_lock"), "root", "podman", None, False),
        (file_seen("/libpod_rootless_lock_1000"), "joe", "podman", None, False),
        (file_seen("/pulse-shm-123456"), "joe", "pulseaudio", None, False),
        (file_seen("/zzo-sema-4711.0x55d0", kind=SEM), "joe", "liboauth2", 4711, True),
        (segment_seen(key=0x6202AB38, size=80_000), "root", "opencryptoki", None, False),
        (file_seen("/orc.pipeline.jobs.m7c4w8tz"), "root", "orchestra", None, False),
        (segment_seen(size=4096), "joe", "creator-gone", None, True),
    ],
    ids=lambda value: value.name if isinstance(value, Seen) else None,
)  # fmt: skip
def test_real_objects_of_real_programs(seen: Seen, owner: str, family: str, pid: int | None, remove: bool) -> None:
    found = rules.load().match(seen, owner)
    assert found is not None
    assert (found.rule.id, found.pid, found.rule.remove) == (family, pid, remove)


@pytest.mark.parametrize(
    "seen",
    [
        file_seen("/psm_1a2b3c4"), file_seen("/my_psm_1a2b3c4d"), file_seen("/psm_1a2b3c4d\n"),
        file_seen("/psm_1a2b3c4d", kind=SEM), file_seen("/torch_x_1"), file_seen("/jobs", kind=Kind.QUEUE),
        file_seen("/PostgreSQL."), file_seen("/libpod_lock2"), queue_seen(), set_seen(), set_seen(key=0, nsems=2),
        file_seen("/dev/shm/x/psm_1a2b3c4d", **IN_FOLDER),
    ],
)  # fmt: skip
def test_what_only_resembles_a_family_is_none(seen: Seen) -> None:
    assert rules.load().match(seen, "joe") is None


def test_what_lies_in_one_folder_goes_together() -> None:
    load = rules.load()
    names = ("", "/a", "/b/c")
    base = "/dev/shm/joblib_memmapping_folder_1_a_b"
    found = [load.match(file_seen(base + name, **IN_FOLDER), "joe") for name in names]
    assert {each.group for each in found if each} == {"joblib:0:joblib_memmapping_folder_1_a_b"}
    other = load.match(file_seen("/dev/shm/joblib_memmapping_folder_2_a_b/a", **IN_FOLDER), "joe")
    assert other is not None
    assert other.group == "joblib:0:joblib_memmapping_folder_2_a_b"


def test_the_same_answer_for_a_second_object_of_the_same_shape_and_another_for_another_key() -> None:
    load = rules.load()
    assert load.match(segment_seen(size=80), "joe") is load.match(segment_seen(size=80, id=6), "joe")
    assert load.match(segment_seen(size=80), "prdadm") is not load.match(segment_seen(size=80), "joe")
    first, second = load.match(segment_seen(key=5), "joe"), load.match(segment_seen(key=0x6202AB38), "joe")
    assert first is not None
    assert second is not None
    assert (first.rule.id, second.rule.id) == ("postgresql-interlock", "opencryptoki")


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"id": "x", "software": "X", "kinds": [], "colour": "red"}, "a rule has no colour: x"),
        ({"id": "x", "software": "X", "kinds": []}, "needs an `instead`"),
        ({"id": "x", "software": "X", "kinds": [], "name": "("}, "unterminated subpattern"),
    ],
)
def test_a_rule_that_is_not_well_formed_is_refused(broken: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, Exception), match=words):
        rules.rule({"remove": "name" in broken, **broken})


def test_every_rule_says_what_it_needs_to() -> None:
    text = (Path(orchestra.audit.__file__).parent / "families.json").read_text()
    items = json.loads(text)
    assert len({item["id"] for item in items}) == len(items)
    for item in items:
        rule = rules.rule(item)
        provable = rule.programs or (rule.name and "pid" in rule.name.groupindex) or "sysv" in str(rule.kinds)
        assert provable or not rule.remove, f"{rule.id}: nothing could ever prove its maker gone"
        assert not rule.normal or rule.why
