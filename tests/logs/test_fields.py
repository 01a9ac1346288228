"""The reference of all events: each of them, with what each of its fields means."""

from __future__ import annotations

import pytest

from orchestra.logs.catalogue import EVENTS, TOP_FIELDS
from orchestra.logs.fields import MEANINGS, markdown, meaning_of


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_and_every_field_is_on_the_page_with_its_meaning(name: str) -> None:
    section = markdown().split(f"## `{name}`\n")[1].split("\n## ")[0]
    event = EVENTS[name]
    assert event.about in section
    assert f"level: `{event.level}`" in section
    for field in event.allowed:
        place = field if field in TOP_FIELDS else f"data.{field}"
        missing = ", may be missing" if field not in event.required else ""
        assert f"| `{place}` | {event.fields.get(field) or event.fields[field + '?']}{missing} | " in section
        assert meaning_of(name, field) in section


def test_no_meaning_is_left_over() -> None:
    used = {name for event in EVENTS.values() for name in event.allowed}
    special = {f"{name}:{field}" for name, event in EVENTS.items() for field in event.allowed}
    assert set(MEANINGS) <= used | special
