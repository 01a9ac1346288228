"""The answer of `orchestra audit` as data, in the documented shape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from orchestra.audit.classify import Classified, Verdict
from orchestra.kernel.census import user_name
from orchestra.kernel.inventory import Place, Seen
from orchestra.kinds import Family, Holder, Holders, Identity, Kind, ObjectRef, Stat
from orchestra.ledger.rows import ObjectRow


@dataclass(frozen=True, slots=True)
class Finding:
    """One object on the host with its verdict.

    `row` is what our record says, None when it says nothing: then `seen` is what the inventory found, and `place` where
    it is. `rule` names the family that it belongs to, "" for none known. Findings with the same `group` are removed
    together or not at all; "" stands alone.
    """

    row: ObjectRow | None
    stat: Stat | None  # of what is on record; None when no name leads to it any more
    holders: Holders
    classified: Classified
    seen: Seen | None = None
    place: Place | None = None
    rule: str = ""
    group: str = ""

    @property
    def verdict(self) -> Verdict:
        """What the object is to us."""
        return self.classified.verdict

    @property
    def declared(self) -> str | None:
        """`INSTANCE.KEY` of what is on record."""
        return None if self.row is None else f"{self.row.instance}.{self.row.key}"

    @property
    def ref(self) -> ObjectRef:
        """How to address it."""
        if self.seen is not None:
            return self.seen.ref
        if self.stat is not None or self.row is None:
            return self.stat.ref if self.stat is not None else ObjectRef(Family.FILE, Kind.OTHER)
        return ObjectRef(self.row.family, self.row.kind, name=self.row.name, id=self.row.id, key=self.row.ipc_key)

    @property
    def identity(self) -> Identity | None:
        """What proves that it is the same object later: as on record, else as it was seen."""
        if self.row is not None and self.row.identity is not None:
            return self.row.identity
        if self.stat is not None:
            return self.stat.identity
        return None if self.seen is None or self.place is None else self.seen.identity(self.place)

    @property
    def created_at(self) -> float:
        """Seconds since the epoch: from our record, else the last change of its owner, mode or shape."""
        if self.row is not None:
            return self.row.created_at
        return self.seen.ctime if self.seen is not None else 0.0

    @property
    def here(self) -> bool:
        """Whether it is in the namespaces of this process: nothing else can be removed from here."""
        return self.place is None or self.place.pid is None

    def to_json(self) -> dict[str, Any]:
        """Return the finding as `audit --format json` prints it, every key present."""
        shown = self._recorded(self.row) if self.row is not None else _found(self.seen) if self.seen is not None else {}
        return {**shown, **self._judged()}

    def _judged(self) -> dict[str, Any]:
        row = self.row
        return {
            "verdict": self.verdict.value,
            "instance": None if row is None else row.instance,
            "run": None if row is None else row.run,
            "intended": self.classified.intended,
            "holders": [_holder(each) for each in self.holders.holders],
            "evidence": self.classified.evidence,
            "removable": self.classified.removable,
            "holders_complete": self.holders.complete,
            "danger": self.classified.danger or None,
            "rule": self.rule or None,
            "group": self.group or None,
            "namespace": None if self.place is None else place_name(self.place),
        }

    def _recorded(self, row: ObjectRow) -> dict[str, Any]:
        stat = self.stat
        key = stat.identity.key if stat is not None and stat.identity.key is not None else row.ipc_key
        number = stat.identity.id if stat is not None else None
        return {
            "family": row.family.value,
            "kind": row.kind.value,
            "name": stat.ref.name if stat is not None and stat.ref.name is not None else row.name,
            "key": None if key is None else f"{key:#010x}",
            "id": row.id if number is None else number,
            "size": stat.size if stat is not None else row.shape.get("size"),
            "mode": f"0o{row.mode if stat is None else stat.mode:03o}",
            "owner": user_name(row.uid if stat is None else stat.uid),
            "created_at": _rfc3339(row.created_at),
        }


@dataclass(frozen=True, slots=True)
class Report:
    """All findings of one look. `elsewhere` counts recorded objects of other namespaces and unmounted file systems.

    `gaps` says what could not be seen, `notes` what else helps to read the answer: limits that are nearly reached, who
    removes objects behind everybody's back.
    """

    ipc_ns: int
    findings: Sequence[Finding]
    elsewhere: int = 0
    gaps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    counts: Mapping[Verdict, int] | None = None  # where they are known without making all findings

    @property
    def summary(self) -> dict[str, int]:
        """How many findings there are of each verdict."""
        counts = self.counts if self.counts is not None else Counter(finding.verdict for finding in self.findings)
        return {verdict.value: counts.get(verdict, 0) for verdict in Verdict}

    @property
    def leaked(self) -> int:
        """How many objects leaked: `audit` exits with 3 when there is one."""
        return self.summary[Verdict.LEAKED.value]

    def to_json(self) -> dict[str, Any]:
        """Return namespace, findings and summary, every verdict counted."""
        return {
            "namespace": f"ipc:[{self.ipc_ns}]",
            "findings": [finding.to_json() for finding in self.findings],
            "summary": self.summary,
            "gaps": list(self.gaps),
            "notes": list(self.notes),
        }


def place_name(place: Place) -> str:
    """Return how /proc names the IPC namespace of a place."""
    return f"ipc:[{place.ipc_ns}]"


def _found(seen: Seen) -> dict[str, Any]:
    return {
        "family": seen.family.value,
        "kind": seen.kind.value,
        "name": seen.name,
        "key": None if seen.key is None else f"{seen.key:#010x}",
        "id": seen.id,
        "size": seen.size,
        "mode": f"0o{seen.mode:03o}",
        "owner": user_name(seen.uid),
        "created_at": _rfc3339(seen.ctime),
    }


def _holder(each: Holder) -> dict[str, Any]:
    return {
        "pid": each.pid,
        "command": each.command,
        "how": each.how,
        "started_at": None if each.started_at is None else _rfc3339(each.started_at),
        "user": each.user,
        "unit": each.unit,
    }


def _rfc3339(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
