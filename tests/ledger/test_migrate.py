from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from orchestra.errors import LedgerError
from orchestra.ledger.journal import Ledger
from orchestra.ledger.migrate import APPLICATION_ID, VERSION
from orchestra.ledger.rows import ObjectRow, ProcessRow, RemovalRow, RunRow


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "record.db"


def _pragmas(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_a_new_ledger_has_the_current_version_and_one_column_per_field(path: Path) -> None:
    Ledger.open(path).close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    for table, row in (("runs", RunRow), ("processes", ProcessRow), ("objects", ObjectRow), ("removals", RemovalRow)):
        columns = {line[1] for line in connection.execute(f"PRAGMA table_info({table})")}
        assert columns == set(row._fields)
    connection.close()


def test_a_newer_version_is_refused_with_words_and_left_alone(path: Path) -> None:
    Ledger.open(path).close()
    _pragmas(path, f"PRAGMA user_version = {VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(LedgerError) as caught:
        Ledger.open(path)
    assert "written by a newer orchestra" in caught.value.problem
    assert f"its version is {VERSION + 1}" in caught.value.detail
    assert "ORCHESTRA_HOME" in caught.value.hint
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "statements",
    [("CREATE TABLE notes (text)",), ("PRAGMA application_id = 17",), ("PRAGMA user_version = 3",)],
    ids=["tables", "application", "version"],
)
def test_another_programs_database_is_refused(path: Path, statements: tuple[str, ...]) -> None:
    _pragmas(path, *statements)
    with pytest.raises(LedgerError, match="database of another program"):
        Ledger.open(path)


def test_an_empty_file_becomes_a_ledger(path: Path) -> None:
    path.touch(0o600)
    with Ledger.open(path) as ledger:
        assert ledger.runs() == []
