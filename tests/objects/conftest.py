from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.zygote import Zygote


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    """The parent of processes that are killed at a chosen step; ended before other modules count their children."""
    zygote = Zygote()
    yield zygote
    zygote.close()


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user may write to; pytest's own lie below one that only we may enter."""
    folder = Path(tempfile.mkdtemp(prefix="orct-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)
