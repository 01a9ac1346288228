"""How a field reads what stands in the file: strict types, units, and words for what is wrong.

A reader takes a Scalar of a file or a plain Python value and returns the typed value. What it refuses it raises as
PydanticCustomError with a stable code, a message and, where there is one, a help; `at` leads further into the value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from pydantic_core import PydanticCustomError

from orchestra.bindings import Template
from orchestra.topology import signals
from orchestra.topology.hints import nearest_help
from orchestra.topology.interpolation import Scope, Unresolved, expand
from orchestra.topology.nodes import Core, LeadingZero, Scalar, read_plain
from orchestra.topology.words import SplitError, split

Path = tuple[str | int, ...]

QUIET = "reported"  # code of an error that was reported where it arose

_UNITS = {"": 1, "B": 1, "K": 2**10, "KiB": 2**10, "M": 2**20, "MiB": 2**20, "G": 2**30, "GiB": 2**30}
_DECIMAL_UNITS = {"kb": "KiB", "mb": "MiB", "gb": "GiB", "tb": "GiB"}
_SIZE = re.compile(r"([0-9]{1,19})\s*([A-Za-z]*)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(?:[0-9]{1,12}(?:\.[0-9]{1,9})?(?:ms|s|m|h))+")
_DURATION_PART = re.compile(r"([0-9.]+)(ms|s|m|h)")
DURATION_MAX = 366 * 86400.0
NAME_MAX = 255  # bytes of one part of a path: limits.h
SIZE_MAX = 2**63 - 1
_OCTAL = re.compile(r"(?:0o)?[0-7]{1,5}")


def fault(code: str, message: str, help: str = "", at: Path = ()) -> PydanticCustomError:  # noqa: A002
    """Return the error of a reader; the words travel in its context, so that braces in them are safe."""
    return PydanticCustomError(code, "{message}", {"message": message, "help": help, "at": at})


def moved(error: PydanticCustomError, at: Path) -> PydanticCustomError:
    """Return the same error, `at` further inside the value."""
    if error.type == QUIET:
        return error
    context = error.context or {}
    return fault(error.type, str(context.get("message", "")), str(context.get("help", "")), at)


def quiet() -> PydanticCustomError:
    """Return the error of a value whose problem is reported already."""
    return PydanticCustomError(QUIET, "reported where it arose")


def value_of(value: Any) -> Any:
    """Return a scalar's value by the core rules, other values as they are. Raises faults."""
    if type(value) is not Scalar:
        return value
    if value.broken:
        raise quiet()
    if not value.plain and not value.substituted:
        return value.text
    try:
        return read_plain(value.text)
    except LeadingZero:
        raise leading_zero(value.text) from None


def leading_zero(text: str) -> PydanticCustomError:
    """Return the fault of a plain `0600`."""
    digits = text.lstrip("+-0") or "0"
    octal = f"0o{digits} or " if re.fullmatch("[0-7]+", digits) else ""
    return fault(
        "leading_zero", f"`{text}` is octal to some and decimal to others", f"Write {octal}{digits}, or quote it."
    )


def described(value: Any) -> str:
    """Return a value in words: "the text `abc`", "a list"."""
    if isinstance(value, Scalar):
        try:
            value = value_of(value)
        except PydanticCustomError:
            return f"`{shortened(value.text)}`"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the text `{shortened(value)}`" if value else "an empty text"
    return "a mapping" if isinstance(value, Mapping) else "a list"


def shortened(text: str, limit: int = 40) -> str:
    """Return a text that fits into a message."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def written(value: Any) -> str:
    """Return a value as it stands in the file."""
    return value.text if isinstance(value, Scalar) else str(value)


# --- text ------------------------------------------------------------------------------------------------------


def read_text(value: Any) -> str:
    """Text; a number is refused, because whoever wrote `1.10` may have meant either."""
    if type(value) is str:
        return value
    if type(value) is Scalar and value.substituted and not value.broken:
        return value.text
    found = value_of(value)
    if isinstance(found, str):
        return found
    hint = f'Quote it: "{written(value)}"' if isinstance(value, Scalar) and value.text else ""
    raise fault("wrong_type", f"expected text, found {described(value)}", hint)


def read_source_text(value: Any) -> str:
    """Text as it stands in the file, so `1.10` stays `1.10`; only nothing at all is refused."""
    if type(value) is Scalar:
        if value.broken:
            raise quiet()
        if value.plain and not value.substituted and value.text in ("", "~", "null", "Null", "NULL"):
            wanted = f'"{value.text}"'
            raise fault("wrong_type", "nothing is given", f"For the text itself, or for no text, quote it: {wanted}")
        return value.text
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise fault("wrong_type", f"expected a single value, found {described(value)}")


def read_template(value: Any) -> Template:
    """Text that may hold placeholders; in Python, a ready template or a text with `${…}` in it."""
    if type(value) is Scalar and value.template is not None and not value.broken:
        return _without_nul(value.template)
    if isinstance(value, tuple):
        return _without_nul(value)
    text = read_source_text(value)
    _without_nul((text,))
    if type(value) is not Scalar and "${" in text:
        try:
            return expand(text, Scope(), late=True).parts
        except Unresolved as err:
            raise fault(err.code, err.message, err.hint) from err
    return (text,) if text else ()


def _without_nul(template: Template) -> Template:
    if any(isinstance(part, str) and "\0" in part for part in template):
        raise fault("bad_value", "a NUL character cannot be passed to a program")
    return template


def _check_text(text: str) -> None:
    """Refuse bytes of a variable that are no text: what they name is written to logs, answers and the ledger."""
    try:
        text.encode()
    except UnicodeEncodeError as err:
        raise fault("bad_value", f"`{shortened(text)}` is not UTF-8") from err


def read_path(value: Any) -> str:
    """A path: text that is not empty."""
    text = read_text(value)
    if not text or "\0" in text:
        raise fault("bad_value", "a path cannot be empty" if not text else "a path cannot hold a NUL character")
    _check_text(text)
    longest = max(len(part.encode()) for part in text.split("/"))
    if longest > NAME_MAX:
        raise fault("bad_name", f"a name in this path has {longest} bytes: at most {NAME_MAX}")
    return text


def read_directory(value: Any) -> Template:
    """A folder; may hold placeholders."""
    return _read_path_template(value, "Leave `directory` out: it is the file's own folder then.")


def read_open_path(value: Any) -> Template:
    """The path of a file or a socket; may hold placeholders."""
    return _read_path_template(value)


def _read_path_template(value: Any, hint: str = "") -> Template:
    template = read_template(value)
    if not template:
        raise fault("bad_value", "a path cannot be empty", hint)
    return template


def read_command(value: Any) -> tuple[Template, ...]:
    """A list of words, or a string that is split as a shell would."""
    if isinstance(value, str):
        try:
            value = split(value)
        except SplitError as err:
            raise fault("shell_syntax", err.message, err.hint) from err
    if type(value) is Scalar:
        if value.broken:
            raise quiet()
        raise fault("wrong_type", f"expected a list such as [program, argument], found {described(value)}")
    if not isinstance(value, list | tuple):
        raise fault("wrong_type", f"expected a list such as [program, argument], found {described(value)}")
    if not value:
        raise fault("bad_value", "the command is empty", "Write [program, argument, …].")
    words = tuple(_word(item, index) for index, item in enumerate(value))
    if not words[0]:
        raise fault("bad_value", "the program has an empty name", at=(0,))
    return words


def _word(item: Any, index: int) -> Template:
    try:
        return read_template(item)
    except PydanticCustomError as err:
        if isinstance(item, Mapping) and len(item) == 1:
            hint = "A `: ` in a word makes it a mapping: quote the word."
            raise fault("wrong_type", "expected a word, found a mapping", hint, at=(index,)) from None
        raise moved(err, (index,)) from None


# --- numbers ---------------------------------------------------------------------------------------------------


def read_bool(value: Any) -> bool:
    """`true` or `false`, nothing else: in YAML 1.2 `yes` and `on` are text."""
    found = value_of(value)
    if isinstance(found, bool):
        return found
    raise fault("wrong_type", f"expected true or false, found {described(value)}", _bool_hint(found))


def _bool_hint(found: Core) -> str:
    word = str(found).lower()
    if word in ("yes", "on", "y", "1", "true"):
        return "Write true."
    return "Write false." if word in ("no", "off", "n", "0", "false") else ""


def whole(low: int, high: int, *, what: str = "a whole number", hint: str = "") -> Callable[[Any], int]:
    """Return a reader of whole numbers from `low` to `high`."""

    def read(value: Any) -> int:
        found = value_of(value)
        if type(found) is not int:
            raise fault("wrong_type", f"expected {what}, found {described(value)}", _number_hint(found))
        if not low <= found <= high:
            bound = f"at least {low}" if found < low else f"at most {high}"
            raise fault("out_of_range", f"{found} is out of range: {bound}", hint)
        return found

    return read


def _number_hint(found: Core) -> str:
    if isinstance(found, str) and re.fullmatch(r"[0-9]{1,18}", found):
        return f"Remove the quotes: {found}"
    return ""


def read_size(value: Any) -> int:
    """Bytes: a whole number, or one with B, KiB, MiB or GiB; at least 1."""
    found = value_of(value)
    if isinstance(found, str):
        found = _size_of(found)
    if type(found) is not int:
        raise fault("wrong_type", f"expected a size, found {described(value)}", "Write bytes, or 64KiB, 16MiB, 1GiB.")
    if found < 1:
        raise fault("out_of_range", f"the size is {found}: an object needs at least one byte")
    if found > SIZE_MAX:
        raise fault("out_of_range", "no object can be that large")
    return found


def _size_of(text: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        if re.fullmatch(r"-[0-9]+\s*[A-Za-z]*", text.strip()):
            raise fault("out_of_range", f"the size `{shortened(text)}` is negative")
        if re.fullmatch(r"[0-9]*\.[0-9]+\s*[A-Za-z]*", text.strip()):
            raise fault(
                "bad_size", f"`{shortened(text)}` is no whole number", "Use a smaller unit: 1536KiB, not 1.5MiB."
            )
        raise fault("bad_size", f"`{shortened(text)}` is no size", "Write bytes, or 64KiB, 16MiB, 1GiB.")
    number, unit = match.groups()
    if unit in _UNITS:
        return int(number) * _UNITS[unit]
    if unit.lower() in _DECIMAL_UNITS:
        binary = _DECIMAL_UNITS[unit.lower()]
        raise fault(
            "bad_size", f"`{unit}` is read as 1000 by some and 1024 by others", f"Write {number}{binary} for 1024."
        )
    known = [name for name in _UNITS if len(name) > 1]
    exact = next((name for name in _UNITS if name.lower() == unit.lower()), None)
    hint = f"Write {number}{exact}." if exact else f"Units are B, {', '.join(known)}."
    raise fault("bad_size", f"`{unit}` is no unit of size", hint)


def read_duration(value: Any) -> float:
    """Seconds: a number, or one with ms, s, m or h."""
    found = value_of(value)
    if isinstance(found, str):
        if not _DURATION.fullmatch(found.replace(" ", "")):
            hint = "Write seconds, or 200ms, 5s, 2m, 1h."
            raise fault("bad_duration", f"`{shortened(found)}` is no duration", hint)
        parts = _DURATION_PART.findall(found.replace(" ", ""))
        found = math.fsum(float(number) * _SECONDS[unit] for number, unit in parts)
    if isinstance(found, bool) or not isinstance(found, int | float):
        hint = "Write seconds, or 200ms, 5s, 2m, 1h."
        raise fault("wrong_type", f"expected a duration, found {described(value)}", hint)
    if not 0 <= found <= DURATION_MAX:  # also refuses nan
        raise fault("out_of_range", f"{written(value)} is out of range: from 0 to one year")
    return float(found)


def read_mode(value: Any) -> int:
    """Permission bits: `0o600`, or octal digits in quotes; a bare `600` is octal to one reader, decimal to another."""
    if type(value) is int:  # from Python
        found: Any = value
    elif type(value) is Scalar and value.plain and not value.substituted:
        if value.broken:
            raise quiet()
        text = value.text
        if re.fullmatch(r"[0-7]{1,5}", text):
            digits = text.lstrip("0") or "0"
            message = (
                f"`{text}` is octal for chmod and decimal for YAML"
                if text[0] != "0"
                else f"`{text}` is not read as octal by every parser"
            )
            raise fault("bad_mode", message, f'Write 0o{digits}, or quote it: "{text}"')
        found = int(text, 8) if text.startswith("0o") and _OCTAL.fullmatch(text) else None
    else:
        text = read_text(value)
        found = int(text, 8) if _OCTAL.fullmatch(text) else None
    if found is None:
        hint = "Write octal digits, such as 0o600 or 0o660."
        raise fault("bad_mode", f"expected permissions, found {described(value)}", hint)
    if not 0 <= found <= 0o777:
        raise fault("bad_mode", f"0o{found:o} has bits that are no permissions", "Permissions are 0o000 to 0o777.")
    return int(found)


# --- words -----------------------------------------------------------------------------------------------------


def choice(enum: type[StrEnum], what: str, foreign: Mapping[str, str] | None = None) -> Callable[[Any], Any]:
    """Return a reader of one word out of an enumeration."""
    names = [member.value for member in enum]

    def read(value: Any) -> Any:
        if isinstance(value, enum):
            return value
        text = _word_text(value)
        if text in names:
            return enum(text)
        known = (foreign or {}).get(text.lower())
        hint = f"Write `{known}`." if known else nearest_help(text, names, "One of {}.")
        found = f"`{shortened(text)}` is no {what}" if text else f"expected {what}: one of {', '.join(names)}"
        raise fault("bad_value", found, hint)

    return read


def _word_text(value: Any) -> str:
    if type(value) is Scalar:
        if value.broken:
            raise quiet()
        return value.text
    return value if isinstance(value, str) else ""


def read_signal(value: Any) -> str:
    """A signal, as SIGTERM, TERM or its number; returned as SIGTERM."""
    found = value_of(value)
    if type(found) is int:
        name = signals.name_of(found)
        if name is not None:
            return name
        raise fault("bad_value", f"there is no signal {found}", "Name it: SIGTERM, SIGINT, SIGQUIT …")
    text = read_text(value)
    name = signals.normal_name(text)
    if name is None:
        hint = nearest_help(text.upper(), list(signals.NUMBERS), "")
        raise fault("bad_value", f"there is no signal `{shortened(text)}`", hint)
    return name


def read_success(value: Any) -> int | str:
    """An exit code from 0 to 255, or the name of a signal."""
    found = value_of(value)
    if type(found) is int:
        if not 0 <= found <= 255:
            raise fault("out_of_range", f"{found} is no exit code: from 0 to 255", "Name a signal: SIGTERM.")
        return found
    if not isinstance(found, str):
        raise fault("wrong_type", f"expected an exit code or a signal, found {described(value)}")
    if re.fullmatch(r"[0-9]{1,3}", found):
        raise fault("wrong_type", f"expected an exit code, found the text `{found}`", f"Remove the quotes: {found}")
    return read_signal(value)


def read_owner(value: Any) -> int | str:
    """A user or group: a name, or its number."""
    found = value_of(value)
    if type(found) is int:
        if not 0 <= found < 2**32 - 1:
            raise fault("out_of_range", f"{found} is no id of a user or group")
        return found
    if isinstance(found, str) and found:
        return found
    raise fault("wrong_type", f"expected a name or a number, found {described(value)}")


def posix_name(limit: int) -> Callable[[Any], str]:
    """Return a reader of POSIX object names: one slash and up to `limit` bytes. Source: mq_overview(7), shm_open(3)."""

    def read(value: Any) -> str:
        text = read_text(value)
        bare = text.lstrip("/")
        if not text.startswith("/"):
            raise fault(
                "bad_name",
                f"`{shortened(text)}` has no slash at its start",
                f"Write /{bare}" if bare else "Write /name",
            )
        if not bare:
            raise fault("bad_name", "the name is empty", "Write /name")
        if "/" in text[1:]:
            hint = f"Write /{bare.strip('/').replace('/', '-')[:60]}"
            raise fault("bad_name", f"`{shortened(text)}` has more than one slash", hint)
        if "\0" in text or bare in (".", ".."):
            raise fault("bad_name", "this name cannot belong to an object")
        _check_text(text)
        length = len(text[1:].encode())
        if length > limit:
            raise fault("bad_name", f"the name has {length} bytes behind its slash: at most {limit}")
        return text

    return read


# --- forms of single fields ------------------------------------------------------------------------------------


def read_const(constant: StrEnum) -> Callable[[Any], Any]:
    """Return a reader of exactly one word; which model reads it was decided by that word."""

    def read(value: Any) -> Any:
        if _word_text(value) == constant.value:
            return constant
        raise fault("bad_value", f"expected `{constant.value}`, found {described(value)}")

    return read


def read_version(value: Any) -> int:
    """The version of the format: 1."""
    found = value_of(value)
    if type(found) is int and found == 1:
        return found
    raise fault("bad_version", f"expected the number 1, found {described(value)}", "Write `version: 1`.")


def read_variable(value: Any) -> str | None:
    """The source text of a variable, or None when it must be given."""
    if value is None or (type(value) is Scalar and value.plain and value.text in ("", "~", "null", "Null", "NULL")):
        return None
    return read_source_text(value)


def read_ipc_key(form: type[StrEnum]) -> Callable[[Any], Any]:
    """Return a reader of `auto`, `private`, or a System V key as a number (or as the text `0x…`, for JSON)."""

    def read(value: Any) -> Any:
        if isinstance(value, form):
            return value
        found = value_of(value)
        if isinstance(found, str):
            if found in (member.value for member in form):
                return form(found)
            if not re.fullmatch("0x[0-9a-fA-F]{1,16}", found):
                hint = nearest_help(
                    found, [member.value for member in form], "Write {}, 0x4f524331 or {{path: ./file, project: A}}."
                )
                raise fault("bad_value", f"`{shortened(found)}` is no System V key", hint)
            found = int(found, 16)
        if type(found) is not int:
            hint = "Write auto, private, 0x4f524331 or {path: ./file, project: A}."
            raise fault("wrong_type", f"expected a System V key, found {described(value)}", hint)
        if found == 0:
            raise fault("out_of_range", "key 0 is IPC_PRIVATE: no key at all", "Write `private`.")
        if not 0 < found <= 0xFFFFFFFF:
            raise fault("out_of_range", f"{found} is no System V key: from 1 to 0xffffffff")
        return found

    return read


def read_project(value: Any) -> int:
    """The project of ftok(3): a single character, or a number from 1 to 255."""
    found = value_of(value)
    if isinstance(found, str) and len(found.encode("utf-8", "surrogateescape")) == 1 and found != "\0":
        return ord(found)
    if type(found) is int and 1 <= found <= 255:
        return found
    hint = "ftok(3) uses 8 bits of it." if type(found) is int else ""
    raise fault("bad_value", f"expected a single character or a number from 1 to 255, found {described(value)}", hint)


def read_zeros(value: Any) -> str:
    """The word `zeros`."""
    if _word_text(value) == "zeros":
        return "zeros"
    hint = "Write zeros, {text: …}, {hex: …} or {file: …}."
    raise fault("bad_value", f"expected a content, found {described(value)}", hint)


def read_hex(value: Any) -> str:
    """Bytes as hexadecimal digits; spaces and line breaks are ignored."""
    text = "".join(read_source_text(value).split())
    if text.startswith("0x"):
        raise fault("bad_value", "hexadecimal digits need no `0x` here", f"Write {shortened(text[2:])}")
    bad = re.search("[^0-9a-fA-F]", text)
    if bad is not None:
        raise fault("bad_value", f"`{bad.group()}` is no hexadecimal digit")
    if len(text) % 2:
        raise fault("bad_value", f"{len(text)} hexadecimal digits are not whole bytes", "Two digits make a byte.")
    return text.lower()
