"""From bytes to text: what is no UTF-8, binary or too large gets its own words."""

from __future__ import annotations

from codecs import BOM_UTF8

from orchestra.errors import Problem
from orchestra.topology.nodes import Place, Source

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_BINARY_STARTS = {
    b"\x7fELF": "a program",
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "gzip data",
    b"SQLite format 3": "a SQLite database",
    b"\x89PNG": "a picture",
    b"%PDF": "a PDF",
}


class Refused(Exception):
    """The file cannot be read any further; internal, carries the reason."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class TooLarge(Refused):
    """A limit on size, depth or number of values was passed."""


def check_size(data: bytes, source: Source, limit: int) -> str:
    """Return the text of a file. Raises Refused."""
    if len(data) > limit:
        raise TooLarge(Place(source, 0, 0).problem("too_large", "", f"the file is larger than {limit // 2**20} MiB"))
    for start, what in _BINARY_STARTS.items():
        if data.startswith(start):
            raise _refused(source, f"this is {what}, not a topology file")
    if data.startswith(_UTF16_MARKS):
        raise _refused(source, "the file is UTF-16", "Save it as UTF-8.")
    if b"\0" in data:
        raise _refused(source, "this is a binary file, not a topology file")
    data = data.removeprefix(BOM_UTF8)
    try:
        return data.decode()
    except UnicodeDecodeError as err:
        source.text = data.decode("utf-8", "replace")
        problem = Place(source, *source.position(len(data[: err.start].decode()))).problem(
            "not_utf8", "", f"the byte 0x{data[err.start]:02x} is not UTF-8", "Save the file as UTF-8."
        )
        raise Refused(problem) from err


def _refused(source: Source, message: str, hint: str = "") -> Refused:
    return Refused(Place(source, 0, 0).problem("not_utf8", "", message, hint))
