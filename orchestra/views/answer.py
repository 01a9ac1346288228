"""JSON answers: one object, the schema first, every key present, stable order."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def render_json(command: str, content: Mapping[str, Any], *, version: int = 1) -> str:
    """Return `{"schema": "orchestra/<command>/<version>", …}` and a line end."""
    return json.dumps({"schema": f"orchestra/{command}/{version}", **content}, indent=2) + "\n"


def octal(mode: int | None) -> str | None:
    """Return permission bits as the topology file writes them: `0o600`."""
    return None if mode is None else f"0o{mode:03o}"


def hex_key(key: int | None) -> str | None:
    """Return a System V key as `ipcs` shows it: `0x4f524331`."""
    return None if key is None else f"{key & 0xFFFF_FFFF:#010x}"
