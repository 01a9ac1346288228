"""Not how fast but how whole: every line of every writer is in the log once, in its order, also in rotated logs.

Writers number their lines. A program of its own reads the log back and compares: counts, order, and that each line is
one whole record. Some writers are killed in the middle; what the kernel had taken from them by then must be there. All
of it happens while other processes keep every processor busy.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from orchestra.logs.files import segments_of
from tests.benchmarks import harness

_RECORD = re.compile(
    rb'\{"timestamp":"[0-9T:.-]{26}Z","message":"w\d\d (\d{9}) a{65}","run":"\w+","process":"(w\d+)","replica":1,'
    rb'"pid":\d+,"stream":"stdout"\}\n'
)
_BLOCK = 1 << 23


class Broken(Exception):
    """A line is missing, torn, doubled or out of order; the text says which."""


@dataclass(frozen=True)
class Load:
    """What is written: `lines` by each of `writers`, `killed` of which do not live to the end; the log is rotated."""

    writers: int
    lines: int
    rotate: str = ""
    killed: int = 0

    def __str__(self) -> str:
        kept = f", rotated at {self.rotate}" if self.rotate else ""
        killed = f", {self.killed} killed" if self.killed else ""
        return f"{self.writers:,} x {self.lines:,} lines{kept}{killed}"


@contextmanager
def busy() -> Iterator[None]:
    """Keep every processor busy meanwhile."""
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


class Trial:
    """One run of orchestra with its writers, in a folder of its own."""

    def __init__(self, folder: Path, load: Load) -> None:
        self.folder, self.load = folder, load
        self.name = f"lossless-{secrets.token_hex(3)}"
        self.env = {**os.environ, "ORCHESTRA_HOME": str(folder / "home")}
        self.processes = [f"w{number}" for number in range(load.writers)]
        for name in ("gate", "ready"):
            (folder / name).touch()

    def run(self) -> Path:
        """Run to the end; return the path of the log. Raises Broken."""
        argv = [*harness.orchestra(), "up", self._topology(), "-n", self.name]
        process = subprocess.Popen(argv, env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            if self.load.killed:
                self._kill(process)
            _, errors = process.communicate(timeout=harness.DEADLINE * 5)
        finally:
            harness.stop(process)
        # 1: a writer failed, because it was killed
        if process.returncode not in ((0, 1) if self.load.killed else (0,)):
            raise Broken(f"orchestra ended with {process.returncode}: {errors.decode()[-500:]}")
        (log,) = self.folder.glob("home/runs/*/log.jsonl")
        return log

    def _topology(self) -> str:
        writer = harness.compiled("lines", self.folder.parent)
        fixed = [writer, self.load.lines, 0, 0, self.folder / "gate", self.folder / "ready"]
        text = ["version: 1", "name: lossless"]
        if self.load.rotate:
            text.append(f"log: {{ rotate: {{ size: {self.load.rotate} }} }}")
        text.append("processes:")
        for number, name in enumerate(self.processes):
            words = [str(word) for word in [*fixed, number % 100, self.folder / f"{name}.count"]]
            text.append(f"  {name}: {{ command: {json.dumps(words)}, escalate: ignore }}")
        file = self.folder / "lossless.orchestra.yaml"
        file.write_text("\n".join([*text, ""]))
        return str(file)

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        """End some writers by SIGKILL, each at another point of its work."""
        for number, name in enumerate(self.processes[: self.load.killed], 1):
            while self.accepted(name) < self.load.lines * number // (self.load.killed + 1):
                if process.poll() is not None:
                    raise Broken("orchestra ended before the writers were killed")
                harness.pause(0.001)
            self._end(name)

    def _end(self, name: str) -> None:
        # Only what is still that writer: it may have come to its own end, and its pid may be somebody else's.
        count, pid = self._counter(name)
        with suppress(OSError):
            if count < self.load.lines and str(self.folder).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)

    def accepted(self, name: str) -> int:
        """Return how many lines the kernel has taken from a writer."""
        return self._counter(name)[0]

    def _counter(self, name: str) -> tuple[int, int]:
        try:
            data = (self.folder / f"{name}.count").read_bytes()
        except FileNotFoundError:
            data = b""
        count, pid = struct.unpack("@ll", data) if len(data) == struct.calcsize("@ll") else (0, 0)
        return count, pid


def compare(trial: Trial, log: Path) -> tuple[int, int, int]:
    """Return numbers of lines, of files and of bytes. Raises Broken."""
    seen = dict.fromkeys((name.encode() for name in trial.processes), 0)
    size = 0
    paths = segments_of(log)
    for path in paths:
        with open(path, "rb") as file:
            while lines := file.readlines(_BLOCK):
                block = b"".join(lines)
                size += len(block)
                _follow(block, len(lines), seen)
    for name in trial.processes:
        found, accepted = seen[name.encode()], trial.accepted(name)
        # Killed between the write and its count: one more than was counted.
        if not accepted <= found <= min(accepted + 1, trial.load.lines):
            raise Broken(f"{name}: {found:,} lines in the log, {accepted:,} written")
    total = sum(seen.values())
    whole = sum(count == trial.load.lines for count in seen.values())
    if whole < trial.load.writers - trial.load.killed:
        raise Broken(f"only {whole} writers came to their end")
    return total, len(paths), size


def _follow(block: bytes, lines: int, seen: dict[bytes, int]) -> None:
    found = _RECORD.findall(block)
    for number, name in found:
        if int(number) != seen[name]:
            raise Broken(f"{name.decode()}: line {int(number):,} follows {seen[name] - 1:,}")
        seen[name] += 1
    others = _RECORD.sub(b"", block) if len(found) != lines else b""
    for line in others.splitlines():
        if "event" not in json.loads(line):
            raise Broken(f"a line that nobody wrote: {line[:200]!r}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every trial and print what came of it; the first broken line ends it with status 1."""
    parser = harness.options(__doc__ or "")
    parser.add_argument("--scale", type=float, default=1.0, help="part of the full numbers of lines")
    parser.add_argument("--trials", type=int, nargs="+", default=[1, 2, 3, 4, 5], help="which ones to run")
    chosen = parser.parse_args(arguments)
    many, one = max(1, int(10_000 * chosen.scale)), max(1, int(5_000_000 * chosen.scale))
    loads = [Load(100, many), Load(1, one), Load(100, many, "1MiB"), Load(1, one, "1MiB")]
    loads += [Load(20, max(1000, one // 10), "1MiB", killed=10)]
    print(f"lossless: {harness.machine()}\n")
    for load in [loads[number - 1] for number in chosen.trials]:
        with tempfile.TemporaryDirectory(prefix="orct-lossless-") as top:
            folder = Path(top) / "trial"
            folder.mkdir()
            trial = Trial(folder, load)
            start = time.monotonic()
            try:
                with busy():
                    log = trial.run()
                seconds = time.monotonic() - start
                total, files, size = compare(trial, log)
            except Broken as err:
                print(f"{load}: BROKEN: {err}")
                sys.exit(1)
            print(
                f"{load}: all {total:,} there, in order, {files} files, {size / 1e6:,.0f} MB, {seconds:.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
