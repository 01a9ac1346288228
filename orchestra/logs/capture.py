"""What a child writes, turned into log lines by the chunk instead of by the line.

A pipe delivers chunks of up to 64 KiB. Three ways lead from a chunk to its lines, the cheapest that fits is taken:

1. One `bytes.translate` proves that no byte needs escaping, one `bytes.replace` puts the end of one record and the
   beginning of the next in place of every newline. No Python code runs per line.
2. Quotes, backslashes, tabs, escapes, in valid UTF-8: json's own string encoder escapes the whole chunk in one call.
3. Line by line: lines that begin with `{` (they may be JSON objects) and lines that are not valid UTF-8. What lies
   between them goes the other ways.

What a record says about a line beyond its text stands in `data`:

- `continued: true`: the line was longer than 64 KiB and goes on in the next record of this stream. The cut never
  divides a UTF-8 sequence.
- `unterminated: true`: the stream ended without a newline after this line.
- `base64`: the line is not valid UTF-8; these are its bytes, while `message` shows U+FFFD in place of bad ones.

A line ends at the newline (0x0a) and nowhere else: the carriage return of CRLF is the last character of `message`.
So joining messages, with a newline after each that is neither continued nor unterminated, gives back the stream.

A line that is a JSON object from its first byte gives its parts instead: `message` from message, msg or event (the
first that is a string; else the raw line), `level` if it is a known word, `data` = its `data` if that is all that is
left, else all other keys. Text that json would not give back (duplicate keys, NaN, lone surrogates, numbers beyond a
double), and what is nested deeper than others can read, is not such a line: it stays as it was written.
"""

from __future__ import annotations

import json
from binascii import b2a_base64
from collections.abc import Callable
from json.encoder import c_make_encoder, encode_basestring  # type: ignore[attr-defined]  # typeshed lacks the first
from typing import Any, Final

LINE_LIMIT: Final = 64 * 1024  # bytes of one line in one record
NESTING: Final = 100  # levels of arrays and objects in a line: any reader can take so many, its own stack included

_ESCAPED: Final = frozenset(range(0x20)) - {0x0A} | {0x22, 0x5C}  # RFC 8259 section 7; newlines become records
_PLAIN: Final = bytes(sorted(set(range(256)) - _ESCAPED))
_MESSAGE_KEYS: Final = ("message", "msg", "event")

# What programs call their levels, as the word that we store.
KNOWN_LEVELS: Final = {
    "trace": "debug",
    "debug": "debug",
    "info": "info",
    "notice": "info",
    "warn": "warning",
    "warning": "warning",
    "err": "error",
    "error": "error",
    "exception": "error",
    "critical": "critical",
    "fatal": "critical",
}


_head: tuple[str, bytes] = ("", b"")  # many streams are read at one time: what their records begin with is made once


def _head_of(timestamp: str) -> bytes:
    """Return what stands before the message in a captured record."""
    global _head  # noqa: PLW0603 a cache of one entry
    if _head[0] is not timestamp:
        _head = (timestamp, f'{{"timestamp":"{timestamp}","message":"'.encode())
    return _head[1]


class Capture:
    """One stream of one process. Holds at most one unfinished line of 64 KiB.

    `stream` is `stdout` or `stderr`; the timestamps given are those of the read, in the form of `encode.now_text`.
    """

    __slots__ = ("_continuing", "_foot", "_identity", "_tail")

    def __init__(self, *, run: str, process: str, replica: int | None, pid: int, stream: str) -> None:
        identity = {"run": run, "process": process, "replica": replica, "pid": pid, "stream": stream}
        shown = {name: value for name, value in identity.items() if value is not None}
        self._identity = "," + json.dumps(shown, ensure_ascii=False, separators=(",", ":"))[1:-1]
        self._foot = f'"{self._identity}}}\n'.encode()
        self._tail = b""
        self._continuing = False  # the tail is the rest of a line whose beginning is already logged

    @property
    def pending(self) -> int:
        """Bytes read that are not in any record yet: an unfinished line."""
        return len(self._tail)

    def feed(self, chunk: bytes, timestamp: str) -> bytes:
        """Take what one read returned; return the records of all lines that are complete now."""
        if len(chunk) <= LINE_LIMIT:
            # What most chunks are: whole lines of printable ASCII, none of which can be a JSON object. It stands here,
            # and not in functions of its own, because calls are what counts where chunks are small.
            if (
                not self._tail
                and chunk.endswith(b"\n")
                and b"{" not in chunk
                and chunk.isascii()
                and not chunk.translate(None, _PLAIN)
            ):
                head = _head[1] if _head[0] is timestamp else _head_of(timestamp)
                foot = self._foot
                return b"".join((head, chunk[:-1].replace(b"\n", foot + head), foot))
            return self._feed(chunk, timestamp)
        slices = (chunk[start : start + LINE_LIMIT] for start in range(0, len(chunk), LINE_LIMIT))
        return b"".join([self._feed(piece, timestamp) for piece in slices])

    def close(self, timestamp: str) -> bytes:
        """Take the end of the stream; return the record of an unterminated last line, if there is one."""
        tail, self._tail, self._continuing = self._tail, b"", False
        return self._record(tail, timestamp, unterminated=True) if tail else b""

    def _feed(self, chunk: bytes, timestamp: str) -> bytes:
        end = chunk.rfind(b"\n")
        if end < 0:
            self._tail += chunk
            return self._cut(timestamp) if len(self._tail) > LINE_LIMIT else b""
        whole, self._tail = self._tail + chunk[:end], chunk[end + 1 :]
        # A chunk is no longer than a line may be, so only the line that began before it can be too long.
        if not self._continuing and (len(whole) <= LINE_LIMIT or -1 < whole.find(b"\n") <= LINE_LIMIT):
            return self._lines(whole, timestamp)
        first, newline, rest = whole.partition(b"\n")
        records = self._finish(first, timestamp)
        return records + self._lines(rest, timestamp) if newline else records

    def _cut(self, timestamp: str) -> bytes:
        # Log the beginning of a line that is too long for one record; keep at most LINE_LIMIT bytes.
        records = []
        while len(self._tail) > LINE_LIMIT:
            end = _boundary(self._tail)
            records.append(self._record(self._tail[:end], timestamp, continued=True))
            self._tail = self._tail[end:]
            self._continuing = True
        return b"".join(records)

    def _finish(self, line: bytes, timestamp: str) -> bytes:
        # The end of a long line has come. Its rest is text even if it begins like a JSON object.
        after, self._tail = self._tail, line
        records = self._cut(timestamp)
        records += self._record(self._tail, timestamp)
        self._tail, self._continuing = after, False
        return records

    def _lines(self, whole: bytes, timestamp: str) -> bytes:
        # `whole` is one or more complete lines, without the last newline, each within LINE_LIMIT.
        if b"{" not in whole or not (whole.startswith(b"{") or b"\n{" in whole):
            return self._text(whole, timestamp)
        records: list[bytes] = []
        text: list[bytes] = []  # lines since the last object
        for line in whole.split(b"\n"):
            record = self._object(line, timestamp) if line.startswith(b"{") else None
            if record is None:
                text.append(line)
                continue
            if text:
                records.append(self._text(b"\n".join(text), timestamp))
                text = []
            records.append(record)
        if text:
            records.append(self._text(b"\n".join(text), timestamp))
        return b"".join(records)

    def _object(self, line: bytes, timestamp: str) -> bytes | None:
        # The record of a line that is a JSON object; None if it is not.
        try:
            level, message, data = _json_parts(line)
            return f'{{"timestamp":"{timestamp}"{level},"message":{message}{self._identity}{data}}}\n'.encode()
        except (ValueError, RecursionError):  # also a lone surrogate, which cannot be written as UTF-8
            return None

    def _text(self, whole: bytes, timestamp: str) -> bytes:
        # Lines that are text. What is not UTF-8 is done line by line, what lies between by the chunk.
        if whole.isascii():
            return self._valid(whole, timestamp)
        records: list[bytes] = []
        view, start = memoryview(whole), 0
        while start <= len(whole):
            try:
                str(view[start:], "utf-8")
            except UnicodeDecodeError as err:
                bad = start + err.start
            else:
                records.append(self._valid(whole[start:], timestamp))
                break
            begin = whole.rfind(b"\n", start, bad) + 1 or start
            end = whole.find(b"\n", bad)
            end = len(whole) if end < 0 else end
            if begin > start:
                records.append(self._valid(whole[start : begin - 1], timestamp))
            records.append(self._record(whole[begin:end], timestamp))
            start = end + 1
        return b"".join(records)

    def _valid(self, whole: bytes, timestamp: str) -> bytes:
        # Lines of valid UTF-8: no Python code runs per line.
        if not whole.translate(None, _PLAIN):
            start, end = _head_of(timestamp), self._foot
            return b"".join((start, whole.replace(b"\n", end + start), end))
        head, foot = _head_of(timestamp).decode(), self._foot.decode()
        text = whole.decode()
        # The encoder would escape newlines too, and then `\n` that the child wrote looks the same: take another mark.
        mark = "\x7f" if "\x7f" not in text else "\ud800"  # no decoded UTF-8 holds a surrogate
        escaped = encode_basestring(text.replace("\n", mark))[1:-1]
        return f"{head}{escaped.replace(mark, foot + head)}{foot}".encode()

    def _record(self, line: bytes, timestamp: str, *, continued: bool = False, unterminated: bool = False) -> bytes:
        notes = []
        try:
            text = line.decode()
        except UnicodeDecodeError:
            text = line.decode("utf-8", "replace")
            notes.append(f'"base64":"{b2a_base64(line, newline=False).decode()}"')
        if continued:
            notes.append('"continued":true')
        if unterminated:
            notes.append('"unterminated":true')
        data = f',"data":{{{",".join(notes)}}}' if notes else ""
        return f'{{"timestamp":"{timestamp}","message":{encode_basestring(text)}{self._identity}{data}}}\n'.encode()


def _boundary(line: bytes) -> int:
    # Where to cut a line longer than LINE_LIMIT: not before a continuation byte (10xxxxxx), 3 of which follow at most.
    for end in range(LINE_LIMIT, LINE_LIMIT - 4, -1):
        if line[end] & 0xC0 != 0x80:
            return end
    return LINE_LIMIT


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate key")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_LOAD: Final = json.JSONDecoder(object_pairs_hook=_no_duplicates, parse_constant=_no_constant).raw_decode


def _is_deep(found: Any) -> bool:
    """Whether there are more levels than NESTING."""
    level = [found]
    for _ in range(NESTING):
        parts = [part for whole in level for part in (whole.values() if isinstance(whole, dict) else whole)]
        level = [part for part in parts if isinstance(part, dict | list)]
        if not level:
            return False
    return True


def _dumper() -> Callable[[Any], str]:
    """Return what writes parsed JSON as JSON again. JSONEncoder.encode makes its C encoder anew for each value."""
    if c_make_encoder is None:  # an interpreter without the C module
        return json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
    # markers (none: what was parsed has no circles), default, string encoder, indent, separators of keys and of items,
    # sort_keys, skipkeys, allow_nan
    encoder = c_make_encoder(None, None, encode_basestring, None, ":", ",", False, False, False)
    return lambda value: "".join(encoder(value, 0))


_DUMP: Final = _dumper()


def _json_parts(line: bytes) -> tuple[str, str, str]:
    # The level, message and data of a line that is a JSON object, as JSON text to put into a record.
    text = line.decode()
    found, end = _LOAD(text)
    if end < len(text) and text[end:].strip(" \t\r"):
        raise ValueError("something follows the object")
    if text.count("{") + text.count("[") > NESTING and _is_deep(found):
        raise ValueError("nested too deeply")
    message = text
    for key in _MESSAGE_KEYS:
        if isinstance(found.get(key), str):
            message = found.pop(key)
            break
    word = None
    if isinstance(level := found.get("level"), str) and (word := KNOWN_LEVELS.get(level.lower())):
        del found["level"]
    data = found["data"] if len(found) == 1 and "data" in found else found
    shown = f',"data":{_DUMP(data)}' if found else ""
    return f',"level":"{word}"' if word else "", encode_basestring(message), shown
