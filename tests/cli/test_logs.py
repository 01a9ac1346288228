"""logs of a run, whole and in part."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from orchestra.cli.logs import LNAV_FORMAT
from orchestra.logs.encode import event_record
from tests.support.cli import child_environment, inside, orchestra
from tests.support.small_runs import QUEUE, finish, topology, wait_for_line

pytestmark = pytest.mark.slow


def test_logs_of_a_run(home: Path, tmp_path: Path) -> None:
    topology(
        tmp_path,
        "  talker: {command: [sh, -c, 'echo one; echo two >&2; echo three'], replicas: 2}\n"
        "  quiet: {command: ['true'], uses: [jobs]}\n",
        QUEUE,
    )
    orchestra("up", home=home, cwd=tmp_path)

    def shown(*words: str) -> list[str]:
        answer = orchestra("logs", *words, home=home, cwd=tmp_path)
        assert answer.code == 0
        return answer.out.splitlines()

    assert len(shown("talker.2")) > len(shown("talker.2", "--stream", "stdout")) == 2
    assert [line.split()[-1] for line in shown("demo.talker.1", "--stream", "stdout")] == ["one", "three"]
    assert all("talker" in line for line in shown("demo.talker", "--grep", "two|three"))
    assert len(shown("--event", "process.started")) == 3
    assert len(shown("--tail", "1")) == 1
    assert shown("--level", "error") == []
    assert shown("--until", "1h") == []
    stored = [json.loads(line) for line in shown("demo", "--format", "json")]
    assert stored[0]["event"] == "run.started"
    assert stored[-1]["event"] == "run.ended"
    assert shown("./orchestra.yaml") == shown()
    jobs = shown("demo.jobs")
    assert [line.split()[2] for line in jobs] == ["created", "removed"]
    row = json.loads(shown("demo.jobs", "--format", "json")[0])
    assert shown(f"sysv-queue:{row['data']['id']}") == shown(f"sysv-queue:{row['data']['id']}", "-n", "demo") == jobs
    answer = orchestra("logs", "sysv-queue:0x7fffabcd", home=home, cwd=tmp_path)
    assert (answer.code, answer.out) == (4, "")
    assert "no run of an instance had the object `sysv-queue:0x7fffabcd`" in answer.err


def test_an_instance_first_says_whose_the_names_after_it_are(home: Path, tmp_path: Path) -> None:
    (tmp_path / "orchestra.yaml").write_text(
        "version: 1\nname: demo\nprocesses: {a: {command: [echo, here]}, b: {command: [echo, there]}}\n"
    )
    for name in ("demo", "other"):
        assert orchestra("up", "-n", name, home=home, cwd=tmp_path).code == 0

    def shown(*words: str) -> str:
        answer = orchestra("logs", *words, "--stream", "stdout", "--format", "json", home=home, cwd=tmp_path)
        assert answer.code == 0, answer
        return answer.out

    for words in (("other", "a"), ("other", "other.a"), ("-n", "other", "a")):
        assert shown(*words) == shown("other.a"), words
    assert shown("./orchestra.yaml", "b") == shown("demo", "b") == shown("demo.b") != ""
    assert shown("other", "a", "b") == shown("other")
    for wrong, code, problem in (
        (("other", "c"), 4, "instance other has no process or object `c`"),
        (("other", "demo.a"), 2, "other"),
        (("-n", "5"), 4, "--tail 5"),
    ):
        answer = orchestra("logs", *wrong, home=home, cwd=tmp_path)
        assert (answer.code, answer.out, problem in answer.err) == (code, "", True), answer


def test_a_question_that_no_line_answers_is_answered_in_words(home: Path, tmp_path: Path) -> None:
    (tmp_path / "orchestra.yaml").write_text("version: 1\nname: demo\nprocesses: {a: {command: [echo, here]}}\n")
    assert orchestra("up", home=home, cwd=tmp_path).code == 0
    for words in (["demo.a.7"], ["--event", "object.*"], ["--grep", "nowhere", "--format", "json"]):
        answer = orchestra("logs", *words, home=home, cwd=tmp_path)
        assert (answer.code, answer.out, "no such line" in answer.err) == (0, "", True), answer
    assert orchestra("logs", "demo.a", home=home, cwd=tmp_path).err == ""


# Writes numbered lines in bursts, one burst a line that it reads from the FIFO of its name.
TALKER = """
import os, sys
number, fifo = 0, open(os.environ["GO"])
for burst in fifo:
    for number in range(number + 1, number + 1 + int(burst)):
        print(number, flush=number % 50 == 0)
    sys.stdout.flush()
"""


@contextmanager
def following(home: Path, folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run `orchestra logs -f` beside the test."""
    child = subprocess.Popen(
        [sys.executable, "-m", "orchestra", "logs", "-f", *words], cwd=folder, env=child_environment(home), text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.communicate()


def test_following_with_a_reader_that_is_killed_and_started_again(home: Path, tmp_path: Path) -> None:
    """Every line of every process, once and in order, in each answer that came to its end."""
    (tmp_path / "talker.py").write_text(TALKER)
    topology(
        tmp_path,
        f"  talker: {{command: ['{sys.executable}', talker.py], environment: {{GO: go}}}}\n"
        "  other: {command: [sh, -c, 'echo other; echo late >&2; exec cat go2'], uses: []}\n",
        "log: {rotate: {size: 64KiB, keep: all}}\n",
    )
    for name in ("go", "go2"):
        os.mkfifo(tmp_path / name)
    assert orchestra("up", "-d", home=home, cwd=tmp_path).code == 0
    questions = (
        ["--format", "json"], ["demo.talker"], ["--tail", "10", "--stream", "stdout"],
        ["demo.other", "--event", "process.*"],
    )  # fmt: skip
    with ExitStack() as stack:
        stack.callback(orchestra, "down", "demo", home=home)
        go = stack.enter_context((tmp_path / "go").open("w", buffering=1))
        go2 = stack.enter_context((tmp_path / "go2").open("w"))

        def asked(*words: str) -> subprocess.Popen[str]:
            return stack.enter_context(following(home, tmp_path, *words))

        go.write("3000\n")
        killed = asked()
        wait_for_line(killed, " 2990")
        killed.kill()
        readers = [asked(*words) for words in questions]
        for reader in readers:
            assert reader.stdout is not None
            select.select([reader.stdout], [], [], 60)  # what was there when it began is on its way
        person, pipe = asked("--tail", "1"), asked("--tail", "1")
        wait_for_line(person, "")
        person.send_signal(signal.SIGINT)
        assert finish(person).code == 130
        wait_for_line(pipe, "")
        assert pipe.stdout is not None
        pipe.stdout.close()
        assert pipe.wait(30) == 141  # and nothing was written meanwhile
        pipe.stdout = None
        go.write("2000\n5\n")
        go.close()
        go2.close()
        whole, talker, tail, other = (finish(reader) for reader in readers)
    numbers = [*map(str, range(1, 5006))]
    assert len([*home.glob("runs/*/log.jsonl.*")]) > 5, "rotated meanwhile"
    records = [json.loads(line) for line in whole.out.splitlines()]
    assert [r["message"] for r in records if r.get("process") == "talker" and "stream" in r] == numbers
    assert (records[0]["event"], records[-1]["event"]) == ("run.started", "run.ended")
    assert [line.split()[-1] for line in talker.out.splitlines() if "│" in line] == numbers
    assert [line.split()[-1] for line in tail.out.splitlines()] in (numbers[2990:], [*numbers[2991:], "other"])
    assert [line.split(" ▸ ")[1].split()[1] for line in other.out.splitlines()] == ["started", "exited"]
    assert Counter(answer.code for answer in (whole, talker, tail, other)) == {0: 4}
    assert {answer.err for answer in (whole, talker, tail, other)} == {""}
    again = orchestra("logs", "-f", "--format", "json", home=home, cwd=tmp_path)
    assert (again.out, again.code) == (whole.out, 0)


def test_mistakes_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    for words, problem in (
        (["-f", "--until", "5m"], "--until with -f"),
        (["--since", "lately"], "'lately' is not a time"),
        (["--level", "loud"], "'loud' is not a level"),
        (["--stream", "out"], "`out` is no stream"),
        (["--grep", "("], "'(' is not a regular expression"),
        (["--event", "process.exit"], "there is no event `process.exit`\nhelp: Did you mean `process.exited`"),
        (["--since", "5m", "--until", "10m"], "--until 10m is not after --since 5m"),
        (["--since", "25:00"], "'25:00' is not a time"),
    ):
        answer = inside(capsys, "logs", *words)
        assert (answer.code, answer.out) == (2, "")
        assert problem in answer.err
        assert "help: " in answer.err


def test_on_a_terminal_it_goes_through_a_pager(home: Path, tmp_path: Path) -> None:
    topology(tmp_path, "  a: {command: [echo, here]}\n")
    assert orchestra("up", home=home, cwd=tmp_path).code == 0
    main, terminal = pty.openpty()
    for words in ([], ["--format", "json"]):
        done = subprocess.run(
            [sys.executable, "-m", "orchestra", "logs", "--stream", "stdout", *words],
            cwd=tmp_path, env=child_environment(home, {"PAGER": "sed s/here/there/"}), stdout=terminal,
            stderr=subprocess.PIPE, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"there" in os.read(main, 65536)
    os.close(main)
    os.close(terminal)


class TestLnav:
    def test_the_format_file_is_printed(self, home: Path, tmp_path: Path) -> None:
        answer = orchestra("logs", "--lnav-format", home=home, cwd=tmp_path)
        assert (answer.code, answer.out) == (0, LNAV_FORMAT.read_text())
        assert json.loads(answer.out)["orchestra_log"]["title"] == "orchestra"

    @pytest.mark.skipif(shutil.which("lnav") is None, reason="no lnav on this machine")
    def test_lnav_reads_a_log_with_it(self, home: Path, tmp_path: Path) -> None:
        import orchestra.logs.capture as capture

        log = tmp_path / "log.jsonl"
        children = [
            capture.Capture(run="r7", process="worker", replica=n, pid=n, stream=stream)
            for n, stream in ((1, "stderr"), (2, "stdout"))
        ]
        when = "2026-01-02T03:04:0{}.000006Z"
        log.write_bytes(
            event_record("run.started", timestamp=when.format(0), run="r7", instance="i", topology="t", file="f", pid=1)
            + children[0].feed(b'plain "text"\n\xff\n', when.format(1))
            + children[1].feed(b'{"msg":"done","level":"error","job":17}\n', when.format(2))
            + event_record("process.skipped", timestamp=when.format(3), run="r7", process="p", replica=1, reason="why")
        )

        def lnav(*words: str) -> str:
            environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "TERM": "dumb", "TZ": "UTC"}
            done = subprocess.run(
                ["lnav", *words], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
                stdin=subprocess.DEVNULL, timeout=60,
            )  # fmt: skip
            assert done.returncode == 0, done
            assert "error" not in done.stderr, done
            return done.stdout + done.stderr

        installed = orchestra("logs", "--lnav-format", home=home, cwd=tmp_path).out
        (tmp_path / "orchestra.json").write_text(installed)
        assert "installed" in lnav("-i", "orchestra.json")
        shown = lnav("-n", str(log))
        assert '2026-01-02T03:04:01.000 worker 1 stderr plain "text"\n' in shown
        assert "2026-01-02T03:04:03.000 p 1 event p.1 skipped: why\n" in shown
        table = lnav(
            "-n", "-c", ";SELECT log_level, process, replica, stream, event, log_body, json_extract(data, '$.job') AS "
            "job FROM orchestra_log", "-c", ":write-json-to -", str(log),
        )  # fmt: skip
        rows = json.loads(table)
        assert [row["log_level"] for row in rows] == ["info", "info", "info", "error", "warning"]
        assert [row["event"] for row in rows] == ["run.started", None, None, None, "process.skipped"]
        assert [row["log_body"] for row in rows][3] == "done"
        assert (rows[3]["process"], rows[3]["replica"], rows[3]["stream"], rows[3]["job"]) == (
            "worker", "2", "stdout", "17"
        )  # fmt: skip
