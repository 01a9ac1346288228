"""The ledger: what runs announced, made, kept and removed, so that it can be named after any crash.

One SQLite file per user and host. Every method is one transaction; a row that a method returned from is committed,
so a SIGKILL right after it loses nothing. Methods raise LedgerError and nothing else on purpose.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from orchestra.errors import LedgerError
from orchestra.kinds import Family, Handle, Identity, Kind, OnDown
from orchestra.ledger import migrate, storage
from orchestra.ledger.rows import OPEN_STATES, ObjectRow, ObjectState, ProcessRow, RemovalRow, RunRow

_RUN = RunRow._fields
_PROCESS = ProcessRow._fields
_OBJECT = ObjectRow._fields
_REMOVAL = RemovalRow._fields
_REMOVAL_NEW = tuple(name for name in _REMOVAL if name != "number")
_OBJECT_NEW = tuple(name for name in _OBJECT if name != "number")


class Ledger:
    """Rows of runs, processes and objects. Open one per process: a connection must not cross a fork."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.path = path
        self._connection = connection
        self._pid = os.getpid()
        self._depth = 0

    @classmethod
    def open(
        cls, path: Path, *, create: bool = True, file_system: Callable[[Path], str] = storage.file_system_of
    ) -> Ledger:
        """Open the ledger, 0600, made or migrated as needed. Raises LedgerError.

        `create=False` and no file: an empty ledger in memory, for commands that only look. `file_system` names the
        type of file system of a folder.
        """
        if not create and not storage.is_there(path):
            connection = storage.in_memory()
        else:
            connection = storage.connect(path, file_system=file_system)
        try:
            with storage.translated(path):
                migrate.migrate(connection, path)
        except BaseException:
            connection.close()
            raise
        return cls(connection, path)

    def close(self) -> None:
        """Close the file. In a process forked from the opener nothing happens: the connection is the parent's."""
        if self._pid == os.getpid():
            with storage.translated(self.path):
                self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def patience(self, seconds: float) -> None:
        """Set how long a call waits for somebody else's transaction before it raises (at first BUSY_SECONDS)."""
        self._run(f"PRAGMA busy_timeout = {round(seconds * 1000)}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the write lock over several calls: all of them are committed at the end, or none.

        Whoever else wants to write waits, so a look at a row and what follows from it cannot be overtaken. Nests.
        """
        if self._depth:
            yield
            return
        self._run("BEGIN IMMEDIATE")
        self._depth += 1
        try:
            yield
            self._run("COMMIT")
        except BaseException:
            with storage.translated(self.path):
                self._connection.rollback()
            raise
        finally:
            self._depth -= 1

    # Runs

    def begin_run(self, run: RunRow) -> None:
        """Record a new run. Raises LedgerError when that run id is on record already."""
        self._run(_insert("runs", _RUN), run)

    def update_run(self, run: str, **changes: Any) -> None:
        """Change fields of a run by their names in RunRow. Raises LedgerError for an unknown run."""
        unknown = set(changes) - set(_RUN)
        if unknown:
            raise TypeError(f"a run has no field {', '.join(sorted(unknown))}")
        if not changes:
            return
        sets = ", ".join(f"{name} = ?" for name in changes)
        # S608: column names come from the row, values travel as parameters
        done = self._run(f"UPDATE runs SET {sets} WHERE run = ?", [*changes.values(), run])  # noqa: S608
        if done.rowcount == 0:
            raise LedgerError(f"run {run} is not on record in {self.path}")

    def run(self, run: str) -> RunRow | None:
        """Return one run by its id, or None."""
        found = self._runs("WHERE run = ?", [run])
        return found[0] if found else None

    def newest_run(self, instance: str) -> RunRow | None:
        """Return the run of an instance that was recorded last, or None."""
        found = self._runs("WHERE instance = ? ORDER BY rowid DESC LIMIT 1", [instance])
        return found[0] if found else None

    def runs(self, *, instance: str | None = None) -> list[RunRow]:
        """Return all runs, or those of one instance, oldest first."""
        where, values = ("", []) if instance is None else ("WHERE instance = ?", [instance])
        return self._runs(f"{where} ORDER BY rowid", values)

    def forget_run(self, run: str) -> None:
        """Delete the rows of a run, its processes and its objects. Raises LedgerError while one may still exist."""
        with self.transaction():
            if self.objects(run=run, states=OPEN_STATES):
                raise LedgerError(f"run {run} has objects on record that may still exist")
            for table in ("objects", "processes", "runs"):
                self._run(f"DELETE FROM {table} WHERE run = ?", [run])  # noqa: S608 fixed names

    # Processes

    def record_processes(self, rows: Sequence[ProcessRow]) -> None:
        """Insert or replace rows by (run, process, replica), all in one transaction."""
        statement = _insert("processes", _PROCESS).replace("INSERT", "INSERT OR REPLACE", 1)
        with self.transaction(), storage.translated(self.path):
            self._connection.executemany(statement, rows)

    def processes(self, run: str) -> list[ProcessRow]:
        """Return the processes of a run, by name and replica."""
        rows = self._rows(f"{_select('processes', _PROCESS)} WHERE run = ? ORDER BY process, replica", [run])
        return [ProcessRow(*row) for row in rows]

    # Objects

    def intend(self, row: ObjectRow) -> int:
        """Commit a new row and return its number. Call it before the system call that makes the object."""
        done = self._run(_insert("objects", _OBJECT_NEW), _object_values(row))
        return int(done.lastrowid or 0)

    def confirm(self, number: int, handle: Handle) -> None:
        """Record what was made: identity, id, key and name. The row becomes LIVE."""
        identity = json.dumps(handle.identity.to_json())
        key = handle.identity.key if handle.identity.key is not None else handle.ref.key
        self._change(
            number, identity=identity, id=handle.identity.id, ipc_key=key, name=handle.ref.name,
            state=ObjectState.LIVE.value,
        )  # fmt: skip

    def rename(self, number: int, name: str) -> None:
        """Record that the object now has its explicit name; its nonce name is still told by the nonce."""
        self._change(number, name=name, wanted_name=None)

    def settle(self, number: int, state: ObjectState, why: str = "", *, by_hand: bool = False) -> None:
        """Record what became of an object, and why, in words. `by_hand` marks what `--leak` left."""
        self._change(number, state=state.value, why=why, settled_at=time.time(), by_hand_leak=int(by_hand))

    def set_on_down(self, number: int, on_down: OnDown) -> None:
        """Record what is to become of an object at the end, after its file was edited."""
        self._change(number, on_down=on_down.value)

    def adopt(self, kept: int, row: ObjectRow) -> int | None:
        """Hand a KEPT object over to a new row, in one transaction; None when it is not KEPT any more."""
        with self.transaction():
            old = self.object(kept)
            if old is None or old.state is not ObjectState.KEPT:
                return None
            number = self.intend(row)
            self.settle(kept, ObjectState.GONE, f"taken over by run {row.run}")
            return number

    def object(self, number: int) -> ObjectRow | None:
        """Return one object by its row number, or None."""
        found = self._objects("WHERE number = ?", [number])
        return found[0] if found else None

    def objects(
        self, *, run: str | None = None, instance: str | None = None, states: Iterable[ObjectState] | None = None
    ) -> list[ObjectRow]:
        """Return the objects that meet every condition given, oldest first."""
        tests: list[str] = []
        values: list[Any] = []
        for column, wanted in (("run", run), ("instance", instance)):
            if wanted is not None:
                tests.append(f"{column} = ?")
                values.append(wanted)
        if states is not None:
            words = [state.value for state in states]
            tests.append(f"state IN ({', '.join('?' * len(words))})")
            values += words
        where = f"WHERE {' AND '.join(tests)}" if tests else ""
        return self._objects(f"{where} ORDER BY number", values)

    # Removals of what no run of ours made

    def announce_removal(self, row: RemovalRow) -> int:
        """Commit that an object is about to be removed; return the number of the row."""
        values = row._replace(at=row.at or time.time())._asdict()
        values["identity"] = json.dumps(row.identity.to_json())
        done = self._run(_insert("removals", _REMOVAL_NEW), [values[name] for name in _REMOVAL_NEW])
        return int(done.lastrowid or 0)

    def settle_removal(self, number: int, outcome: str, why: str = "") -> None:
        """Record what came of it."""
        self._run("UPDATE removals SET outcome = ?, why = ? WHERE number = ?", [outcome, why, number])

    def removals(self) -> list[RemovalRow]:
        """Return all of them, oldest first."""
        rows = self._rows(f"{_select('removals', _REMOVAL)} ORDER BY number", [])
        try:
            return [RemovalRow(*row)._replace(identity=Identity.from_json(json.loads(row[1]))) for row in rows]
        except (ValueError, TypeError, KeyError) as err:
            raise LedgerError(f"a row of the ledger {self.path} is damaged", detail=repr(err)) from err

    def _runs(self, rest: str, values: Sequence[Any]) -> list[RunRow]:
        return [_run_row(row) for row in self._rows(f"{_select('runs', _RUN)} {rest}", values)]

    def _objects(self, rest: str, values: Sequence[Any]) -> list[ObjectRow]:
        rows = self._rows(f"{_select('objects', _OBJECT)} {rest}", values)
        try:
            return [_object_row(row) for row in rows]
        except (ValueError, TypeError, KeyError) as err:  # JSON or a word that no version of ours writes
            raise LedgerError(f"a row of the ledger {self.path} is damaged", detail=repr(err)) from err

    def _change(self, number: int, **changes: Any) -> None:
        sets = ", ".join(f"{name} = ?" for name in changes)
        done = self._run(f"UPDATE objects SET {sets} WHERE number = ?", [*changes.values(), number])  # noqa: S608 as above
        if done.rowcount == 0:
            raise LedgerError(f"object row {number} is not on record in {self.path}")

    def _rows(self, statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with storage.translated(self.path):
            return self._run(statement, values).fetchall()  # a damaged page may show only while fetching

    def _run(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        if self._pid != os.getpid():
            raise LedgerError(
                "the ledger was opened before a fork and cannot be used after it",
                detail=f"opened by process {self._pid}, used by {os.getpid()}",
            )
        with storage.translated(self.path):
            return self._connection.execute(statement, values)


def _insert(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608 fixed names


def _select(table: str, columns: Sequence[str]) -> str:
    return f"SELECT {', '.join(columns)} FROM {table}"  # noqa: S608 fixed names


def _run_row(values: Sequence[Any]) -> RunRow:
    row = RunRow(*values)
    return row._replace(detached=bool(row.detached), leak=bool(row.leak), finished=bool(row.finished))


def _object_values(row: ObjectRow) -> list[Any]:
    data = row._asdict()
    del data["number"]
    data["identity"] = None if row.identity is None else json.dumps(row.identity.to_json())
    data["shape"] = json.dumps(dict(row.shape))
    data["created_at"] = row.created_at or time.time()
    for name in ("family", "kind", "state", "on_down"):
        data[name] = data[name].value
    return list(data.values())


def _object_row(values: Sequence[Any]) -> ObjectRow:
    data = ObjectRow(*values)._asdict()
    data["family"], data["kind"] = Family(data["family"]), Kind(data["kind"])
    data["state"], data["on_down"] = ObjectState(data["state"]), OnDown(data["on_down"])
    data["identity"] = None if data["identity"] is None else Identity.from_json(json.loads(data["identity"]))
    data["shape"] = json.loads(data["shape"])
    data["by_hand_leak"] = bool(data["by_hand_leak"])
    return ObjectRow(**data)
