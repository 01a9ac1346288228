"""The folders that programs of a run import from and include from."""

from __future__ import annotations

from pathlib import Path

from orchestra.cli import clientfiles
from orchestra.client.lib import orchestra_client


def test_it_is_where_the_client_lies() -> None:
    assert clientfiles.library_folder() / "orchestra_client.py" == Path(orchestra_client.__file__).resolve()


def test_nothing_else_can_be_imported_from_there_by_accident() -> None:
    found = {path.name for path in clientfiles.library_folder().iterdir() if path.suffix in {".py", ".pyi", ".so"}}
    assert found == {"orchestra_client.py"}


def test_the_header_is_there() -> None:
    assert (clientfiles.include_folder() / "orchestra.h").is_file()
