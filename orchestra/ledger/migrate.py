"""Bring a ledger file to the version this program knows; refuse what is newer or is no ledger at all.

`user_version` counts the versions, `application_id` says that the file is a ledger. A new version adds a step to
STEPS; schema.sql always describes step 1.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from orchestra.errors import LedgerError

APPLICATION_ID = 0x6F726368  # "orch"


def _first(connection: sqlite3.Connection) -> None:
    script = Path(__file__).with_name("schema.sql").read_text(encoding="utf-8")
    bare = "\n".join(line.partition("--")[0] for line in script.splitlines())
    for statement in bare.split(";"):
        if statement.strip():
            connection.execute(statement)


def _removals(connection: sqlite3.Connection) -> None:
    """What was removed that no run of ours had made."""
    connection.execute(
        "CREATE TABLE removals (reference TEXT NOT NULL, identity TEXT NOT NULL, verdict TEXT NOT NULL,"
        " evidence TEXT NOT NULL, command TEXT NOT NULL, pid INTEGER NOT NULL, uid INTEGER NOT NULL, at REAL NOT NULL,"
        " outcome TEXT NOT NULL, why TEXT NOT NULL, run TEXT, number INTEGER PRIMARY KEY AUTOINCREMENT)"
    )


def _boxes(connection: sqlite3.Connection) -> None:
    """Who holds the private namespace of a run."""
    connection.execute("ALTER TABLE runs ADD COLUMN box_pid INTEGER")
    connection.execute("ALTER TABLE runs ADD COLUMN box_start INTEGER")


# Step n brings version n - 1 to version n. Executed inside one transaction.
STEPS: tuple[Callable[[sqlite3.Connection], None], ...] = (_first, _removals, _boxes)
VERSION = len(STEPS)


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Create or upgrade the tables. Raises LedgerError for a newer version or a database of something else."""
    if _version(connection, path) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Somebody else may have migrated between the look and the lock.
        for number in range(_version(connection, path), VERSION):
            STEPS[number](connection)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def _version(connection: sqlite3.Connection, path: Path) -> int:
    # One statement, so that another process's migration is seen whole or not at all.
    version, owner, tables = connection.execute(
        "SELECT (SELECT user_version FROM pragma_user_version), (SELECT application_id FROM pragma_application_id),"
        " (SELECT count(*) FROM sqlite_master)"
    ).fetchone()
    if version > VERSION and owner == APPLICATION_ID:
        raise LedgerError(
            f"the ledger {path} was written by a newer orchestra",
            detail=f"its version is {version}, this program knows {VERSION}",
            hint="Use the newer program, or set ORCHESTRA_HOME to another folder.",
        )
    if owner != APPLICATION_ID and (owner or tables or version):
        raise LedgerError(
            f"{path} is a database of another program, not a ledger",
            detail=f"application_id {owner:#x}, user_version {version}, {tables} tables and indices",
            hint="Nothing was changed. Move it away, or set ORCHESTRA_HOME to another folder.",
        )
    return int(version)
