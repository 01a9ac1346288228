"""The reference of all events: each of them, with what each of its fields means."""

from __future__ import annotations

import pytest

from orchestra.logs.catalogue import EVENTS, TOP_FIELDS
from orchestra.logs.fields import MEANINGS, markdown, meaning_of, section


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_and_every_field_is_on_the_page_with_its_meaning(name: str) -> None:
    text, event = section(name), EVENTS[name]
    assert text.startswith(f"## `{name}`\n\n{event.about}\n")
    assert f"level: `{event.level}`" in text
    for field in event.allowed:
        place = field if field in TOP_FIELDS else f"data.{field}"
        missing = ", may be missing" if field not in event.required else ""
        assert f"| `{place}` | {event.fields.get(field) or event.fields[field + '?']}{missing} | " in text
        assert meaning_of(name, field) in text


def test_the_page_has_them_in_the_order_of_the_table() -> None:
    assert [line[4:-1] for line in markdown().splitlines() if line.startswith("## ")] == list(EVENTS)


def test_a_field_without_a_meaning_is_asked_for() -> None:
    with pytest.raises(LookupError, match=r"what does mood of run.ended mean\? Say it in"):
        meaning_of("run.ended", "mood")


def test_no_meaning_is_left_over() -> None:
    used = {name for event in EVENTS.values() for name in event.allowed}
    special = {f"{name}:{field}" for name, event in EVENTS.items() for field in event.allowed}
    assert set(MEANINGS) <= used | special
