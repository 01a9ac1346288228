from __future__ import annotations

import pytest

from orchestra.ledger.rows import OPEN_STATES, RUN_STATES, RUNNING_STATES, ObjectState
from tests.support.rows import object_row


def test_rows_are_frozen() -> None:
    row = object_row()
    with pytest.raises(AttributeError):
        row.name = "/x"  # type: ignore[misc]


def test_a_row_knows_whether_it_is_on_record() -> None:
    with pytest.raises(ValueError, match="board was never written"):
        _ = object_row().recorded
    assert object_row()._replace(number=7).recorded == 7


def test_open_states_are_those_in_which_something_of_ours_may_exist() -> None:
    assert set(ObjectState) - set(OPEN_STATES) == {
        ObjectState.REMOVED,
        ObjectState.GONE,
        ObjectState.ABANDONED,
        ObjectState.BORROWED,
    }
    assert set(RUNNING_STATES) < set(RUN_STATES)
