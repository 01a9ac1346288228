"""How many lines a second capture turns into records, alone in memory: no pipe, no disk, one process.

The floor beside it is what no program can avoid: finding the newlines and copying the bytes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence

from orchestra.logs.capture import Capture
from orchestra.logs.encode import now_text
from orchestra.supervisor.output import keep_heap
from tests.benchmarks import harness
from tests.benchmarks.harness import Case, ratio

CHUNK = 64 * 1024
TEXT = b"line %09d of a writer that fills eighty bytes with words and words and more wor\n"
KINDS: dict[str, bytes] = {
    "plain": TEXT,
    "not ASCII": "Zeile %09d einer Schreiberin, die überall Umlaute und → Pfeile gebraucht, ja\n".encode(),
    "tabs and quotes": b'line\t%09d says "hello" and C:\\path, and goes on until there are eighty bytes of\n',
    "ANSI colours": b"\x1b[32mline %09d\x1b[0m of a program that loves colours and thinks this is a terminal\n",
    "JSON object": b'{"message":"line","number":1%09d,"level":"info","data":"and some more of it all"}\n',
    "not UTF-8": b"line %09d has a byte that is \xff wrong, as old programs in Latin-1 do have them now\n",
}


def throughput(lines: bytes, size: int) -> Callable[[], float]:
    """Return a measure of lines a second for one kind of line; cut as a pipe would cut them."""
    chunks = [lines[start : start + CHUNK] for start in range(0, len(lines), CHUNK)]

    def measure() -> float:
        stream = Capture(run="abcdefgh", process="worker", replica=1, pid=4711, stream="stdout")
        start = time.perf_counter()
        for chunk in chunks:
            stream.feed(chunk, now_text())
        return size / (time.perf_counter() - start)

    return measure


def dumped(lines: bytes, size: int) -> Callable[[], float]:
    """Return a measure of the plain way: one dictionary and one json.dumps for each line."""

    def measure() -> float:
        start = time.perf_counter()
        stamp = now_text()
        for line in lines.split(b"\n")[:-1]:
            json.dumps(
                {
                    "timestamp": stamp,
                    "message": line.decode("utf-8", "replace"),
                    "run": "abcdefgh",
                    "process": "worker",
                    "replica": 1,
                    "pid": 4711,
                    "stream": "stdout",
                }
            ).encode()
        return size / (time.perf_counter() - start)

    return measure


def copied(lines: bytes, size: int) -> Callable[[], float]:
    """Return a measure of the floor: one replace of every newline by as many bytes as a record has more."""
    chunks = [lines[start : start + CHUNK] for start in range(0, len(lines), CHUNK)]
    between = b"-" * 130

    def measure() -> float:
        start = time.perf_counter()
        for chunk in chunks:
            chunk.replace(b"\n", between)
        return size / (time.perf_counter() - start)

    return measure


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = harness.options(__doc__ or "", rounds="9")
    parser.add_argument("--lines", type=int, default=100_000, help="lines in one sample")
    chosen = parser.parse_args(arguments)
    keep_heap()
    print(f"capture: {harness.machine()}\n")
    texts = {kind: b"".join([line % n for n in range(chosen.lines)]) for kind, line in KINDS.items()}
    cases = [Case(kind, throughput(text, chosen.lines)) for kind, text in texts.items()]
    cases.append(Case("json.dumps for each plain line", dumped(texts["plain"], chosen.lines)))
    cases.append(Case("floor: one bytes.replace", copied(texts["plain"], chosen.lines)))
    harness.run(cases, chosen.rounds)
    dumps, floor = cases[-2].median, cases[-1].median
    rows = [
        [case.name, f"{(case.median or 0) / 1e6:.2f}", ratio(case.median, dumps), ratio(case.median, floor)]
        for case in cases
    ]
    print(harness.table(["lines of 80 bytes", "million/s", "to json.dumps", "to the floor"], rows))


if __name__ == "__main__":
    main()
