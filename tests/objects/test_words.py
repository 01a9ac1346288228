from __future__ import annotations

from orchestra.kinds import Holder, Holders
from orchestra.objects.words import holders_in_words


def test_holders_are_named_up_to_five() -> None:
    some = tuple(Holder(pid, "sh", "open") for pid in range(1, 8))
    assert holders_in_words(Holders(some[:2])) == "held by 1 (sh), 2 (sh)"
    assert holders_in_words(Holders(some)) == "held by 1 (sh), 2 (sh), 3 (sh), 4 (sh), 5 (sh), 2 more"


def test_nobody_is_claimed_only_when_all_could_be_looked_at() -> None:
    assert holders_in_words(Holders(())) == "held by nobody"
    assert holders_in_words(Holders((), complete=False)).startswith("no holder seen, though not every process")
