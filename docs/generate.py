"""Writes the reference pages that are made from the program itself; with --check, says which ones are stale.

`python -m docs.generate` writes, `python -m docs.generate --check` compares, and so does tests/docs. Each page has
one function here that returns its whole text; the source of truth is always the code that acts.
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
REFERENCE = DOCS / "reference"
NOTE = "<!-- Made by docs/generate.py; change the code it is made from instead. -->\n\n"

Page = Callable[[], str]

CLI_INTRO = """\
The answer goes to standard output, everything else to standard error. `--format json` gives one JSON object
([JSON answers](json.md)). What a word on the command line can name: [Targets](targets.md). How commands end:
[Exit statuses](exit-codes.md)."""

EVENTS_INTRO = """\
What orchestra itself writes into a run's log. An id keeps its meaning once published; the message is for people and
may change. How records look, and how captured lines stand between them: [Logs](../concepts/logs.md)."""

CONTROL_INTRO = """\
How other programs talk to a live instance: the same words by which the commands do. The supervisor of each instance
listens at a Unix stream socket ([where](state.md); `ls --format json` has its pid, the ledger its path), which only its
user and root may use.

Both sides send JSON objects, one a line. A request has `v`, the version, which is 1, and `op`, the operation:

```text
→ {"v":1,"op":"restart","targets":["worker.2"],"timeout":10}
← {"v":1,"ok":true,"accepted":true}
← {"v":1,"ok":true,"done":true,"results":[{"name":"worker","replica":2,"result":"ok",…}]}
```

An answer has `ok`. With `false` it has `error`: `class` ([which](errors.md)), `problem`, `detail` and `hint`. What
takes its time is answered with `accepted` at once and with `done` (or `ended`, when it is the run) in the end; hanging
up does not take it back. Keys that an operation does not know are refused, null counts as left out; answers may get
more keys.
Several requests may be on their way on one connection, and are answered as each is done: whoever needs to tell the
answers apart uses a connection for each. A request has at most 16 MiB.

A `result` is `ok`, `failed` (with a `reason`) or `timeout`."""

KEYS_INTRO = """\
How a file is read, and how sizes, durations and modes are written: [The topology file](topology-file.md). What the
kinds of object are: [The ten kinds of object](objects.md). Wherever a value stands, `${…}` may stand as well. Keys that
are not in these tables are errors; `x-…` keys are yours where the table has them."""

# Sections in the order of a file; what is not named here follows by name.
_ORDER = (
    "PosixQueue", "SysvQueue", "PosixSegment", "SysvSegment", "FileSegment", "MemfdSegment", "PosixSemaphore",
    "SysvSemaphore", "AnonymousPipe", "Fifo", "Process", "Ready", "Waiting", "Bounds", "ValueBounds", "Dependency",
    "Restart", "Stop", "Limit", "EachCpus", "StdinFile", "Log", "Rotate",
)  # fmt: skip
_FILLED_IN = r"\$\{"  # the pattern that lets a placeholder stand for a number or a word

ERRORS_INTRO = """\
An error has one line that says what is wrong and, where they are known, a `detail:` (the exact call that failed) and a
`help:` (what to do). Programs that import orchestra get the same three as attributes `problem`, `detail` and `hint`.
An error with two parents is listed under both."""


def cli_page() -> str:
    """Every command's --help, as it is printed."""
    from orchestra.cli.app import COMMANDS

    parts = ["# Command line", CLI_INTRO, _help_block([])]
    for name in COMMANDS:
        parts += [f"## orchestra {name}", _help_block([name])]
    return NOTE + "\n\n".join(parts) + "\n"


def help_text(arguments: list[str]) -> str:
    """Return what `orchestra ARGUMENTS --help` prints."""
    import contextlib
    import io

    from orchestra.cli.app import main

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main([*arguments, "--help"])
    if code != 0:
        raise RuntimeError(f"orchestra {' '.join(arguments)} --help ended with {code}")
    return out.getvalue()


def _help_block(arguments: list[str]) -> str:
    command = " ".join(["orchestra", *arguments, "--help"])
    text = "\n".join(line.rstrip() for line in help_text(arguments).strip("\n").splitlines())
    return f"```text\n$ {command}\n{text}\n```"


def events_page() -> str:
    """Every event with its level, words and fields."""
    from orchestra.logs.fields import markdown

    return f"{NOTE}# Events\n\n{EVENTS_INTRO}\n\n{markdown()}"


def control_page() -> str:
    """Every operation of the control protocol."""
    from orchestra.supervisor.protocol import markdown

    return f"{NOTE}# Control protocol\n\n{CONTROL_INTRO}\n\n{markdown()}"


def errors_page() -> str:
    """The tree of errors with the exit status of each."""
    from orchestra import errors

    rows = ["| error | exit status | when |", "|---|---|---|"]
    for depth, cls in _tree(errors.OrchestraError, 0):
        summary = (inspect.getdoc(cls) or "").splitlines()[0]
        rows.append(f"| {'&nbsp;&nbsp;&nbsp;' * depth}`{cls.__name__}` | {cls.exit_code} | {summary} |")
    return f"{NOTE}# Errors\n\n{ERRORS_INTRO}\n\n" + "\n".join(rows) + "\n"


def _tree(cls: type[Any], depth: int) -> Iterator[tuple[int, type[Any]]]:
    yield depth, cls
    for child in cls.__subclasses__():
        if child.__module__ == cls.__module__:  # whatever else happens to be loaded
            yield from _tree(child, depth + 1)


def exit_codes_page() -> str:
    """The table at the head of cli/exits.py."""
    from orchestra.cli import exits

    rows = []
    for line in (inspect.getdoc(exits) or "").splitlines():
        code, _, meaning = line.partition(" ")
        if code.isdigit():
            rows.append(f"| {code} | {meaning.strip()} |")
    return (
        f"{NOTE}# Exit statuses\n\n| status | meaning |\n|---|---|\n" + "\n".join(rows) + "\n\n"
        "A run that was stopped by a signal to the foreground command ends with 128 + that signal, after everything "
        "was stopped in order and the objects were dealt with.\n"
    )


def schema_file() -> str:
    """The JSON Schema of topology files, as `orchestra schema` prints it."""
    from orchestra.topology.schema import schema_text

    return schema_text()


def keys_page() -> str:
    """Every key of a topology file, from the JSON Schema."""
    from orchestra.topology.schema import json_schema

    schema = json_schema()
    parts = ["# Keys of a topology file", KEYS_INTRO, "## The file", _key_table(schema)]
    concrete = {name: item for name, item in schema["$defs"].items() if item.get("additionalProperties") is False}
    for name in sorted(concrete, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)):
        parts += [f"## {_words(name)}", concrete[name]["description"], _key_table(concrete[name])]
    return NOTE + "\n\n".join(parts) + "\n"


def _words(name: str) -> str:
    """`SysvSegment` -> `System V segment`: the headings that objects.md has too."""
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()
    for plain, proper in (("posix", "POSIX"), ("sysv", "System V"), ("fifo", "FIFO")):
        words = words.replace(plain, proper)
    return words[:1].upper() + words[1:]


def _key_table(definition: dict[str, Any]) -> str:
    required = set(definition.get("required", ()))
    for rule in definition.get("allOf", ()):
        required |= set(rule.get("required", ()))
    rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for key, item in definition["properties"].items():
        default = "required" if key in required else _default(key, item)
        rows.append(f"| `{key}` | {_value(item)} | {default} | {_escaped(item.get('description', ''))} |")
    if "patternProperties" in definition:
        rows.append("| `x-…` | anything | | Your own; handed on untouched. |")
    return "\n".join(rows)


def _default(key: str, item: dict[str, Any]) -> str:
    if item.get("default") in (None, "", [], {}):
        return ""
    if key == "mode":
        return f"`{item['default']:#o}`"
    if isinstance(item["default"], dict):  # has a table of its own
        return f"`{item['default']['policy']}`" if "policy" in item["default"] else ""
    return f"`{json.dumps(item['default']).strip(chr(34))}`"


def _value(item: dict[str, Any]) -> str:
    """Return what may be written, in words."""
    if "examples" in item:
        return ", ".join(f"`{_plain(example)}`" for example in item["examples"])
    if "$ref" in item:
        name = _words(item["$ref"].rpartition("/")[2])
        return f"[{name}](#{name.lower().replace(' ', '-')})"
    if "const" in item:
        return f"`{_plain(item['const'])}`"
    if "enum" in item:
        return ", ".join(dict.fromkeys(f"`{_plain(word)}`" for word in item["enum"]))
    choices = [*item.get("anyOf", ()), *item.get("oneOf", ())]
    found = [word for choice in choices if choice.get("pattern") != _FILLED_IN and (word := _value(choice))]
    if found:
        return " or ".join(dict.fromkeys(found))
    return _plain_type(item)


def _plain_type(item: dict[str, Any]) -> str:
    kinds = item.get("type", "")
    kind = next((word for word in kinds if word != "null"), "") if isinstance(kinds, list) else kinds
    if kind == "integer" and "minimum" in item:
        return f"integer, {item['minimum']} to {item['maximum']}" if "maximum" in item else "integer"
    if kind == "object":
        inner = item.get("additionalProperties")
        name = inner["$ref"].rpartition("/")[2] if isinstance(inner, dict) and "$ref" in inner else ""
        return f"map of {name.lower()} by key" if name else "map"
    return {"array": "list", "string": "text", "boolean": "`true`, `false`"}.get(kind, str(kind))


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


FAMILIES_INTRO = """\
Objects of software that the [audit](../concepts/audit.md) recognises, in the order in which they are compared. The name
is a pattern for all of it, without the slash; what lies in a folder goes by the folder's name. "Unheld" says what to
think of one that nobody holds: `leak` makes it an orphan when its maker is provably gone."""


def families_page() -> str:
    """Every rule of families.json."""
    from orchestra.audit.rules import load

    parts = ["# Families of objects", FAMILIES_INTRO]
    for rule in load().all:
        facts = [("kinds", ", ".join(f"`{kind}`" for kind in sorted(rule.kinds)))]
        facts += [("name", f"`{rule.name.pattern}`")] if rule.name else []
        facts += [("owner", f"`{rule.owner.pattern}`")] if rule.owner else []
        shape = (("size", rule.size), ("members", rule.members), ("mode", rule.mode and f"0o{rule.mode:o}"))
        facts += [(word, f"`{value}`") for word, value in shape if value is not None]
        facts += [("key", f"`{rule.key:#010x}`")] if rule.key is not None else []
        facts += [("key", "none" if not rule.keyed else "any")] if rule.keyed is not None else []
        facts += [("unheld", f"normal: {rule.why}" if rule.normal else "leak")]
        if rule.programs is not None:
            whose = "any user" if rule.programs.any_user else "its owner"
            asked = f" with `{rule.programs.arguments.pattern}`" if rule.programs.arguments else ""
            facts += [("normal while", f"a program `{rule.programs.command.pattern}`{asked} of {whose} runs")]
        facts += (
            [("an orphan", "may be removed" + (", all of its folder or none" if rule.together else ""))]
            if (rule.remove)
            else [("an orphan", f"stays; instead: {rule.instead}")]
            if rule.instead
            else []
        )
        facts += [("danger", rule.danger)] if rule.danger else []
        rows = "\n".join(f"| {word} | {_escaped(text)} |" for word, text in facts)
        parts += [
            f"## {rule.id}",
            _sentence(rule.software or "any other program"),
            f"| what | is |\n|---|---|\n{rows}",
        ]
    return NOTE + "\n\n".join(parts) + "\n"


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def changelog_page() -> str:
    """The fragments of docs/changelog.d under "Not yet released", then what was released before."""
    page = DOCS / "changelog.md"
    before = page.read_text() if page.exists() else ""
    _, mark, released = before.partition("\n## Version ")
    parts = ["# Changes", "## Not yet released"]
    for kind in ("added", "changed", "fixed", "removed"):
        fragments = sorted((DOCS / "changelog.d").glob(f"*.{kind}.md"))
        if fragments:
            parts += [f"### {kind.capitalize()}", "\n".join("- " + _indent(path.read_text()) for path in fragments)]
    return NOTE + "\n\n".join(parts) + "\n" + mark + released


def _indent(text: str) -> str:
    return text.strip().replace("\n", "\n  ")


PAGES: dict[Path, Page] = {
    REFERENCE / "families.md": families_page,
    REFERENCE / "cli.md": cli_page,
    REFERENCE / "keys.md": keys_page,
    REFERENCE / "events.md": events_page,
    REFERENCE / "control-protocol.md": control_page,
    REFERENCE / "errors.md": errors_page,
    REFERENCE / "exit-codes.md": exit_codes_page,
    REFERENCE / "orchestra.schema.json": schema_file,
    DOCS / "changelog.md": changelog_page,
}


def main() -> int:
    """Write all pages, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a page is stale")
    check = parser.parse_args().check
    stale = []
    for path, make in PAGES.items():
        text = make()
        if not path.exists() or path.read_text() != text:
            stale.append(str(path.relative_to(DOCS.parent)))
            if not check:
                path.write_text(text)
    if stale:
        sys.stdout.write(f"{'stale' if check else 'written'}: {', '.join(stale)}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
