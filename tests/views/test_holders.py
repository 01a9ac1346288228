from __future__ import annotations

from orchestra.kinds import Holder, Holders
from orchestra.views import holders

SH, PY = Holder(7, "sh", "open"), Holder(8, "python3", "mapped")


def test_holders_are_named_each_once_and_the_rest_is_counted() -> None:
    assert holders.words(Holders((SH, Holder(7, "sh", "mapped"), PY))) == "7 sh, 8 python3"
    assert holders.words(Holders((SH, PY, Holder(9, "c", "open"), Holder(10, "d", "open")))) == "7 sh, 8 python3, +2"


def test_nobody_and_nobody_seen_are_not_the_same() -> None:
    assert holders.words(Holders(())) == ""
    assert holders.words(Holders((), complete=False)) == "?"
    assert holders.words(Holders((SH,), complete=False)) == "7 sh, ?"


def test_as_json() -> None:
    assert holders.answer(Holders((SH,))) == [{"pid": 7, "command": "sh", "how": "open"}]
