"""How the fields of a process read what stands in the file, beyond what values.py reads for every field."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from typing import Any

from pydantic_core import PydanticCustomError

from orchestra.topology.hints import LIMITS, nearest_help
from orchestra.topology.nodes import LeadingZero, Scalar, is_nothing, read_plain
from orchestra.topology.values import (
    QUIET,
    described,
    fault,
    leading_zero,
    moved,
    quiet,
    read_bool,
    read_duration,
    read_path,
    read_size,
    read_text,
    shortened,
    value_of,
    whole,
)

COUNT_MAX = 2**31 - 1
CPUS_MAX = 8192  # CONFIG_NR_CPUS of the largest kernels
UNLIMITED = -1
# setrlimit(2), without RLIMIT_LOCKS, which Linux has not enforced since 2.4.
LIMIT_NAMES = (
    "as", "core", "cpu", "data", "fsize", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "rttime",
    "sigpending", "stack",
)  # fmt: skip
_WORD = r"[A-Za-z_][A-Za-z0-9_]*"
_FUNCTION = re.compile(rf"{_WORD}(\.{_WORD})*:{_WORD}(\.{_WORD})*")
WITH_PRIORITY = ("fifo", "rr")
WITHOUT_PRIORITY = ("batch", "idle", "other")
PRIORITY_MAX = 99  # sched(7)


def read_true(value: Any) -> bool:
    """`true`: the key has only one value that means something."""
    if not read_bool(value):
        raise fault("bad_value", "false means nothing here", "Leave `ready` out: it is ready when it runs then.")
    return True


def read_positive_duration(value: Any) -> float:
    """A duration of which nothing would be left at 0."""
    found = read_duration(value)
    if found <= 0:
        raise fault("out_of_range", "no time at all: nothing can happen within 0 seconds")
    return found


def read_pattern(value: Any) -> str:
    """A regular expression of Python."""
    text = read_text(value)
    if not text:
        raise fault("bad_value", "an empty expression is found in every line")
    try:
        re.compile(text)
    except re.error as err:
        where = "" if err.pos is None else f" at character {err.pos + 1}"
        raise fault("bad_value", f"this is no regular expression: {err.msg}{where}") from None
    return text


def read_function(value: Any) -> str:
    """A function of a module: `package.module:name`."""
    text = read_text(value)
    if _FUNCTION.fullmatch(text) and ".py:" not in text:
        return text
    module, _, name = text.rpartition(".")
    better = f"{module}:{name}"
    hint = f"Write {better}" if ":" not in text and _FUNCTION.fullmatch(better) else "Write package.module:name"
    if re.search(r"\.py\b|/", text):
        hint = "Name the module as `import` does: package.module:name, without `/` and `.py`."
    raise fault("bad_value", f"`{shortened(text)}` does not name a function of a module", hint)


# --- arguments of a function -----------------------------------------------------------------------------------


def read_arguments(value: Any) -> dict[str, Any]:
    """Keyword arguments: names to any value that JSON has; what stands there without quotes is typed as in YAML."""
    if value is None or is_nothing(value):
        return {}
    if not isinstance(value, Mapping):
        hint = "Arguments have names: `{limit: 10}`."
        raise fault("wrong_type", f"expected a mapping, found {described(value)}", hint)
    for name in value:
        if not name.isidentifier() or keyword.iskeyword(name):
            raise fault("bad_name", f"`{shortened(name)}` cannot name an argument of a function", at=(name,))
    return {name: _argument(entry, (name,)) for name, entry in value.items()}


def _argument(node: Any, at: tuple[str | int, ...]) -> Any:
    if isinstance(node, Scalar):
        if node.broken:
            raise quiet()
        try:
            return read_plain(node.text) if node.plain or node.substituted else node.text
        except LeadingZero:
            error = leading_zero(node.text).context or {}
            raise fault("leading_zero", str(error["message"]), str(error["help"]), at) from None
    if isinstance(node, Mapping):
        return {key: _argument(entry, (*at, key)) for key, entry in node.items()}
    if isinstance(node, list | tuple):
        return [_argument(entry, (*at, index)) for index, entry in enumerate(node)]
    return node


# --- what a process runs as ------------------------------------------------------------------------------------


def read_scheduler(value: Any) -> str:
    """A policy of sched(7): fifo and rr with a priority, `fifo:80`; batch, idle and other without."""
    text = read_text(value)
    policy, colon, priority = text.partition(":")
    known = (*WITH_PRIORITY, *WITHOUT_PRIORITY)
    if policy.lower().removeprefix("sched_") in known and policy not in known:
        raise fault(
            "bad_value", f"`{shortened(policy)}` is no policy", f"Write {policy.lower().removeprefix('sched_')}"
        )
    if policy not in known:
        hint = nearest_help(policy, known, "One of fifo:1 to fifo:99, rr:1 to rr:99, batch, idle, other.")
        raise fault("bad_value", f"`{shortened(policy)}` is no scheduling policy", hint)
    if policy in WITHOUT_PRIORITY:
        if colon:
            raise fault("bad_value", f"`{policy}` has no priority", f"Write {policy}")
        return policy
    if not re.fullmatch("[0-9]{1,4}", priority) or not 1 <= int(priority) <= PRIORITY_MAX:
        hint = f"Write {policy}:1 (least) to {policy}:{PRIORITY_MAX} (most urgent)."
        raise fault("bad_value", f"`{policy}` needs a priority" if not priority else "this is no priority", hint)
    return f"{policy}:{int(priority)}"


_cpu = whole(0, CPUS_MAX - 1, what="the number of a processor")


def read_cpus(value: Any) -> tuple[int, ...]:
    """A list of processors, which count from 0."""
    if isinstance(value, Scalar):
        hint = (
            f"Write [{value.text}]." if value.text.isdigit() else "Write [0, 1], or {each: [0, 1]} for one a replica."
        )
        raise fault("wrong_type", f"expected a list of processors, found {described(value)}", hint)
    if not isinstance(value, list | tuple):
        raise fault("wrong_type", f"expected a list of processors, found {described(value)}")
    if not value:
        raise fault("bad_value", "the list is empty: it could run nowhere")
    found = set()
    for index, item in enumerate(value):
        try:
            found.add(_cpu(item))
        except PydanticCustomError as err:
            raise moved(err, (index,)) from None
    return tuple(sorted(found))


def read_one_cpus(value: Any) -> tuple[int, ...]:
    """One processor, or a list of them."""
    return read_cpus(value) if isinstance(value, list | tuple) else (_cpu(value),)


def check_limit_name(name: str) -> str:
    """Refuse what is no resource limit of this kernel."""
    if name in LIMIT_NAMES:
        return name
    bare = name.lower().removeprefix("rlimit_").removeprefix("limit")
    hint = LIMITS.get(name.lower(), "") or (f"Write `{bare}`." if bare in LIMIT_NAMES else "")
    hint = hint or nearest_help(bare, LIMIT_NAMES, "Limits are {}.")
    raise fault("unknown_key", f"there is no limit `{shortened(name)}`", hint)


def read_limit(value: Any) -> int:
    """A number, a size, or `unlimited`, which is -1."""
    found = value_of(value)
    if found in ("unlimited", UNLIMITED) and not isinstance(found, bool):
        return UNLIMITED
    if found in ("infinity", "inf", "infinite", "none", "max"):
        raise fault("bad_value", f"`{found}` is no limit", "Write `unlimited`.")
    if type(found) is int and found == 0:
        return 0
    try:
        return read_size(value)
    except PydanticCustomError as err:
        if err.type in (QUIET, "bad_size") and not str(found).isalpha():
            raise
        hint = "Write a number, a size such as 64MiB, or `unlimited`."
        raise fault("bad_value", f"expected a limit, found {described(value)}", hint) from None


def read_huge_pages(value: Any) -> int:
    """The size of a huge page in bytes: a power of two above the usual 4 KiB."""
    if isinstance(value, Scalar) and value.plain and value.text in ("true", "True"):
        raise fault("wrong_type", "which size of page is meant?", "Write `huge_pages: 2MiB`.")
    found = read_size(value)
    if found & (found - 1) or found <= 4096:
        raise fault("bad_size", f"no page has {found} bytes", "Write a size that the processor has: 2MiB, 1GiB.")
    return found


def read_files(value: Any) -> tuple[str, ...]:
    """A path, or a list of them."""
    if not isinstance(value, list | tuple):
        return (read_path(value),)
    found = []
    for index, item in enumerate(value):
        try:
            found.append(read_path(item))
        except PydanticCustomError as err:
            raise moved(err, (index,)) from None
    return tuple(found)


def read_keep(value: Any) -> int | None:
    """How many rotated files stay; None is all of them."""
    found = value_of(value)
    if found is None or found == "all":
        return None
    if type(found) is not int or not 1 <= found <= COUNT_MAX:
        raise fault("bad_value", f"expected a number of files, found {described(value)}", "Write a number, or `all`.")
    return found
