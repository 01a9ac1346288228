from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.zygote import Zygote


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """The parent of processes that are killed at a chosen step."""
    zygote = Zygote()
    yield zygote
    zygote.close()
