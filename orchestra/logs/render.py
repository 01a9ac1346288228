"""A record as a terminal shows it: `worker.2 │ text`, one colour per process, nothing that could drive the terminal.

The mark after the name tells what it is without colour: `│` standard output, `!` standard error, `▸` our own events.
Control characters that a child wrote are shown as escapes, never sent (`screen`).
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from typing import Any, Final, TextIO

from orchestra.logs.records import PLAIN, message_of, record_of
from orchestra.logs.screen import escape, use_colour

OURS: Final = "orchestra"
_NAME_WIDTH: Final = 24  # longer names are not aligned

_SAFE: Final = bytes([*range(0x20, 0x7F), 0x09, 0x0A])  # bytes that need no look at all
_NOTES: Final = frozenset({"continued", "unterminated", "base64"})  # what capture says about a line
_BARE: Final = re.compile(r"[^\s\"=\\{}\[\]]+")

_PALETTE: Final = ("36", "33", "32", "35", "34", "96", "93", "92", "95", "94")  # no red: that is for trouble
_LEVEL_STYLES: Final = {"warning": "33", "error": "31", "critical": "1;31"}


def is_ours(record: Mapping[str, Any]) -> bool:
    """Whether a record is an event of orchestra rather than what a child wrote."""
    return "stream" not in record


def text_of_record(record: Mapping[str, Any]) -> str:
    """Return the words of a record: its message and, for a child's JSON line, what else it said. Not escaped."""
    message = str(record.get("message", ""))
    data = record.get("data")
    if data is None or is_ours(record) or message.startswith("{"):  # our messages, and raw objects, say it already
        return message
    if isinstance(data, dict):
        if data.keys() <= _NOTES:
            return message
        pairs = [f"{name}={_value(value)}" for name, value in data.items()]
        return " ".join([message, *pairs])
    return f"{message} {_value(data)}"


def _value(value: Any) -> str:
    if isinstance(value, str) and _BARE.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class Renderer:
    """Turns records into lines for one terminal.

    `replicas` maps each process of the run to how many there are: it fixes the colours, the width of the names, and
    whether a name needs its replica's number.
    """

    def __init__(self, *, colour: bool, replicas: Mapping[str, int] | None = None, encoding: str = "utf-8") -> None:
        self._colour = colour
        self._replicas = dict(replicas or {})
        self._encoding = encoding
        fits = encoding.lower().replace("_", "-") in ("utf-8", "utf8")
        self._unicode = fits
        self._marks = {"stdout": "│", "stderr": "!", "": "▸"} if fits else {"stdout": "|", "stderr": "!", "": ">"}
        self._prefixes: dict[tuple[str, str | None, str], str] = {}
        self._more = "…" if fits else "..."
        self._styles = {name: _PALETTE[i % len(_PALETTE)] for i, name in enumerate(self._replicas)}
        labels = [f"{name}.{count}" if count > 1 else name for name, count in self._replicas.items()]
        self._width = max([len(label) for label in labels if len(label) <= _NAME_WIDTH] + [len(OURS)])

    @classmethod
    def to(
        cls, stream: TextIO, *, replicas: Mapping[str, int] | None = None, environment: Mapping[str, str] | None = None
    ) -> Renderer:
        """Return a renderer that fits a stream: colour by the rules, drawing characters by its encoding."""
        encoding = getattr(stream, "encoding", None) or "utf-8"
        return cls(colour=use_colour(stream, environment), replicas=replicas, encoding=encoding)

    def render(self, record: Mapping[str, Any]) -> str:
        """Return one record as one or more whole lines, newlines included."""
        prefix = self._prefix(record)
        text = text_of_record(record)
        text = text[:-1] if text.endswith("\r") else text  # the end of a CRLF line
        if isinstance(data := record.get("data"), dict) and data.get("continued") is True:
            text += self._more
        body = [self._body(record, escape(line), first=not i) for i, line in enumerate(text.split("\n"))]
        lines = "".join([f"{prefix}{line}\n" for line in body])
        if self._unicode:
            return lines
        return lines.encode(self._encoding, "backslashreplace").decode(self._encoding)

    def render_lines(self, lines: bytes, *, ours: Renderer | None = None, hidden: str = "") -> list[tuple[bool, str]]:
        """Return some stored whole lines as they are shown, in their order, in parts: (is it ours?, text).

        What orchestra says is rendered by `ours` where that is given; its event `hidden` and torn lines are left out.
        """
        text = lines.decode("utf-8", "replace")
        clean = not lines.translate(None, _SAFE)
        parts: list[tuple[bool, str]] = []
        waiting: list[str] = []  # texts of children since the last part
        done = 0

        def others(end: int) -> None:
            # Lines in text[done:end] that are not plain.
            for line in text[done:end].split("\n")[:-1]:
                record = record_of(line)
                if record is None or (hidden and record.get("event") == hidden):
                    continue
                if not is_ours(record):
                    waiting.append(self.render(record))
                    continue
                if waiting:
                    parts.append((False, "".join(waiting)))
                    waiting.clear()
                parts.append((True, (ours or self).render(record)))

        for found in PLAIN.finditer(text):
            if found.start() > done:
                others(found.start())
            done = found.end()
            waiting.append(self._plain(found, clean=clean))
        others(len(text))
        if waiting:
            parts.append((False, "".join(waiting)))
        return parts

    def _plain(self, found: re.Match[str], *, clean: bool) -> str:
        """Render a line that is nothing but what a child wrote."""
        _, message, process, replica, stream = found.groups()
        if not clean or "\\" in message or not self._unicode:
            record = {"process": process, "replica": int(replica) if replica else None, "stream": stream}
            return self.render({**record, "message": message_of(message)})
        known = (process, replica, stream)
        prefix = self._prefixes.get(known)
        if prefix is None:
            record = {"process": process, "replica": int(replica) if replica else None, "stream": stream}
            prefix = self._prefixes[known] = self._prefix(record)
        return f"{prefix}{message}\n"

    def label(self, record: Mapping[str, Any]) -> str:
        """Return the name that stands before a line: `worker.2`, `producer`, `orchestra`."""
        if is_ours(record):
            return OURS
        process, replica = str(record.get("process", "?")), record.get("replica")
        alone = self._replicas.get(process) == 1 or replica is None
        return escape(process if alone else f"{process}.{replica}")

    def _prefix(self, record: Mapping[str, Any]) -> str:
        label, mark = self.label(record), self._marks.get(str(record.get("stream", "")), "?")
        if not self._colour:
            return f"{label:<{self._width}} {mark} "
        style = "1" if is_ours(record) else self._style(str(record.get("process", "?")))
        mark_style = "31" if mark == "!" else style
        return f"\x1b[{style}m{label:<{self._width}}\x1b[0m \x1b[{mark_style}m{mark}\x1b[0m "

    def _style(self, process: str) -> str:
        if process not in self._styles:
            self._styles[process] = _PALETTE[zlib.crc32(process.encode("utf-8", "replace")) % len(_PALETTE)]
        return self._styles[process]

    def _body(self, record: Mapping[str, Any], text: str, *, first: bool) -> str:
        level = str(record.get("level", ""))
        style = _LEVEL_STYLES.get(level)
        if style is None:
            dim = self._colour and level == "debug"
            return f"\x1b[2m{text}\x1b[0m" if dim else text
        word = f"{level}: " if first else ""
        return f"\x1b[{style}m{word}\x1b[0m{text}" if self._colour and word else f"{word}{text}"
