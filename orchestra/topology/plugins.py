"""Keeps plug-ins of pydantic out of our models: they are for people's own, and only looking for them is slow.

PYDANTIC_DISABLE_PLUGINS would say so too, but pydantic reads it only after it has imported what it looks with:
importlib.metadata, and behind it the packages for e-mail and zip files. That is a twelfth of a whole command.
"""

from __future__ import annotations

import sys
from types import ModuleType

_LOADER = "pydantic.plugin._loader"


def keep_out() -> None:
    """Answer in the loader's place that there are none. Call it before the first model is built.

    Should another version of pydantic look elsewhere, it looks as ever, and only the time is lost.
    """
    loader = ModuleType(_LOADER)
    loader.get_plugins = tuple  # type: ignore[attr-defined]
    sys.modules.setdefault(_LOADER, loader)
