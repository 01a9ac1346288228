"""What may be called how: keys of objects and processes, variables, names in a child's environment."""

from __future__ import annotations

import re

from orchestra.bindings import STRIPPED_NAMES, STRIPPED_PREFIXES, variable
from orchestra.topology.interpolation import RESERVED
from orchestra.topology.values import fault, shortened

EXTENSIONS = "x-*"  # where a model keeps its `x-…` keys
KEY_PATTERN = "^[a-z][a-z0-9-]{0,30}$"
VARIABLE_PATTERN = "^[A-Za-z_][A-Za-z0-9_]*$"

_KEY = re.compile(KEY_PATTERN)
_VARIABLE = re.compile(VARIABLE_PATTERN)
# ORCHESTRA_<OBJECT> must not be a variable that means something else.
TAKEN = (
    "version", "topology", "instance", "run", "process", "replica", "bindings", "home", "debug", "ready", "path",
)  # fmt: skip
TAKEN_ENDINGS = ("-key", "-fd", "-read-fd", "-write-fd")


def check_key(key: str) -> str:
    """Refuse a key of an object or process that is not `[a-z][a-z0-9-]{0,30}`."""
    if _KEY.fullmatch(key):
        return key
    if len(key) > 31:
        raise fault("bad_name", f"the name has {len(key)} characters: at most 31")
    hint = ""
    better = re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")
    if _KEY.fullmatch(better):
        hint = f"Write {better}"
    raise fault("bad_name", f"`{shortened(key)}` is not made of a-z, 0-9 and `-`, a letter first", hint)


def check_object_key(key: str) -> str:
    """Refuse, beyond `check_key`, what would collide in a child's environment."""
    check_key(key)
    if key in TAKEN:
        raise fault("bad_name", f"`{key}` cannot name an object: {variable(key)} has a meaning already")
    for ending in TAKEN_ENDINGS:
        if key.endswith(ending):
            about = "the descriptor" if ending.endswith("fd") else "the key"
            raise fault("bad_name", f"an object cannot end in `{ending}`: {variable(key)} is {about} of another")
    return key


def check_variable(name: str) -> str:
    """Refuse a name that `${…}` could not ask for."""
    if not _VARIABLE.fullmatch(name):
        better = re.sub(r"[^A-Za-z0-9_]+", "_", name)
        hint = f"Write {better}" if _VARIABLE.fullmatch(better) else ""
        raise fault("bad_name", f"`{shortened(name)}` is not made of letters, digits and `_`", hint)
    if name in RESERVED:
        raise fault("bad_name", f"`{name}` cannot be a variable: ${{{name}}} has a meaning already")
    return name


def check_environment(name: str) -> str:
    """Refuse a variable of a child that cannot be one, or that orchestra sets itself."""
    if not name or "=" in name or "\0" in name:
        raise fault("bad_name", f"`{shortened(name)}` cannot name a variable of the environment")
    if name in STRIPPED_NAMES or name.startswith(STRIPPED_PREFIXES):
        raise fault("bad_name", f"`{shortened(name)}` is set by orchestra")
    return name


def default_name(file_name: str, folder_name: str) -> str:
    """Return the name of a topology that gives none: `x` of x.orchestra.yaml, else that of its folder."""
    stem = re.sub(r"\.(ya?ml|json)$", "", file_name)
    stem = stem.removesuffix(".orchestra") if stem.endswith(".orchestra") else folder_name
    name = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:31].rstrip("-")
    return name if _KEY.fullmatch(name) else "orchestra"
