"""What a test left, and how sure that is."""

from __future__ import annotations

from collections.abc import Callable

from orchestra.kernel.registry import adapter_for
from orchestra.kinds import Family, Kind, ObjectRef, Spec
from orchestra.testing.leaks import Suspect, Watch, still_there


def segment(name: str | None) -> ObjectRef:
    family = Family.SYSV if name is None else Family.POSIX
    spec = Spec(family, Kind.SEGMENT, name=name, key=0 if name is None else None, size=64)
    handle = adapter_for(family, Kind.SEGMENT).create(spec)
    return handle.ref if name else ObjectRef(family, Kind.SEGMENT, id=handle.identity.id)


def remove(ref: ObjectRef) -> None:
    adapter_for(ref.family, ref.kind).remove(ref)


def test_what_this_process_made_is_sure_and_the_rest_is_suspect(ipc_name: Callable[[], str]) -> None:
    name = ipc_name()
    watch = Watch("test_it", [], shared=True)
    ours, unsure = segment(None), segment(name)
    try:
        words = watch.finish()
        assert "this test left 1 IPC object behind" in words
        assert f"{ours}" in words
        (suspect,) = [each for each in watch.suspects if name in each.reference]
        assert still_there([suspect, suspect._replace(reference="", test="")]) == "", "somebody knows better"
        assert suspect.test == "test_it"
        again = [suspect, suspect._replace(test="test_other")]
        assert f"posix-segment:{name}: left by one of test_it, test_other, which ran at the same time" in still_there(
            again
        )
        assert f"posix-segment:{name}: left by test_it\n" in still_there([suspect])
    finally:
        remove(ours)
        remove(unsure)
    assert still_there([suspect]) == ""


def test_alone_everything_new_of_our_user_counts_unless_it_may_stay(ipc_name: Callable[[], str]) -> None:
    name, cache = ipc_name(), ipc_name()
    watch = Watch("test_it", ["/orct.*.none"])
    watch.ignore(f"{cache}*")
    made = [segment(name), segment(cache)]
    try:
        words = watch.finish()
        assert name in words
        assert cache not in words
        assert watch.suspects == []
    finally:
        for ref in made:
            remove(ref)


def test_nobody_is_blamed_for_what_is_gone() -> None:
    assert still_there([Suspect("(1, 2)", "posix-queue:/gone", "test_it")]) == ""
    assert still_there([]) == ""
