"""The answer of `orchestra audit` as data, in the documented shape."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from orchestra.audit.classify import Classified, Verdict
from orchestra.kinds import Holders, Stat
from orchestra.ledger.rows import ObjectRow
from orchestra.objects.explain import user_name


@dataclass(frozen=True, slots=True)
class Finding:
    """One object on the host with its verdict."""

    row: ObjectRow
    stat: Stat | None  # None when no name leads to it any more
    holders: Holders
    classified: Classified

    @property
    def verdict(self) -> Verdict:
        """What the object is to us."""
        return self.classified.verdict

    def to_json(self) -> dict[str, Any]:
        """Return the finding as `audit --format json` prints it, every key present."""
        row, stat = self.row, self.stat
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
            "verdict": self.verdict.value,
            "instance": row.instance,
            "run": row.run,
            "intended": self.classified.intended,
            "holders": [{"pid": each.pid, "command": each.command, "how": each.how} for each in self.holders.holders],
            "evidence": self.classified.evidence,
            "removable": self.classified.removable,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """All findings of one look. `elsewhere` counts recorded objects of other namespaces and unmounted file systems."""

    ipc_ns: int
    findings: tuple[Finding, ...]
    elsewhere: int = 0

    @property
    def leaked(self) -> int:
        """How many objects leaked: `audit` exits with 3 when there is one."""
        return sum(finding.verdict is Verdict.LEAKED for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return namespace, findings and summary, every verdict counted."""
        counts = Counter(finding.verdict for finding in self.findings)
        return {
            "namespace": f"ipc:[{self.ipc_ns}]",
            "findings": [finding.to_json() for finding in self.findings],
            "summary": {verdict.value: counts[verdict] for verdict in Verdict},
        }


def _rfc3339(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
