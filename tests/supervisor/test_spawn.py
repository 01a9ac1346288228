"""Starting children, both ways, and every way it can fail."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestra.errors import LaunchFailed
from orchestra.kernel.namespaces import can_isolate
from orchestra.supervisor import spawn
from orchestra.supervisor.spawn import Launch, launch

WAYS = ["spawn", "fork"]


@pytest.fixture(autouse=True)
def back_again() -> Iterator[None]:
    """Launching changes the working directory."""
    before = os.getcwd()
    yield
    os.chdir(before)


@pytest.fixture
def null() -> Iterator[int]:
    fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    yield fd
    os.close(fd)


def wanted(
    folder: Path, null: int, *argv: str, way: str = "spawn", out: int | None = None, path: str | None = None
) -> Launch:
    environment = {"PATH": os.environ["PATH"] if path is None else path}
    passed = (null,) if way == "fork" else ()
    return Launch(list(argv), str(folder), environment, null, null if out is None else out, null, passed)


def refused(folder: Path, null: int, *argv: str, way: str, path: str | None = None) -> LaunchFailed:
    with pytest.raises(LaunchFailed) as caught:
        launch(wanted(folder, null, *argv, way=way, path=path))
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    return caught.value


def status(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("way", WAYS)
def test_a_child_runs_in_its_directory_and_writes_to_its_pipe(tmp_path: Path, null: int, way: str) -> None:
    read, write = os.pipe()
    pid = launch(wanted(tmp_path, null, "sh", "-c", "pwd; exit 7", way=way, out=write))
    os.close(write)
    assert status(pid) == 7
    assert os.read(read, 4096) == os.fsencode(tmp_path) + b"\n"
    os.close(read)


def test_descriptors_are_laid_out_from_three_whatever_their_numbers_were(tmp_path: Path) -> None:
    """Sources lie in each other's places on purpose: 5 becomes 3, 4 stays 4, 3 becomes 5."""
    files = []
    for name in "abc":
        (tmp_path / name).write_text(name)
        files.append(os.open(tmp_path / name, os.O_RDONLY))
    read, write = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    order = sorted(files, reverse=True)
    names = {fd: os.readlink(f"/proc/self/fd/{fd}")[-1] for fd in files}
    script = 'cat <&3; cat <&4; cat <&5; echo " $LISTEN_PID $$"'
    try:
        pid = launch(
            Launch(["sh", "-c", script], str(tmp_path), {"PATH": os.environ["PATH"]}, null, write, null, order)
        )
        os.close(write)
        assert status(pid) == 0
        said = os.read(read, 4096).decode()
    finally:
        for fd in [*files, read, null]:
            os.close(fd)
    letters, listen_pid, shell_pid = said.split()
    assert letters == "".join(names[fd] for fd in order)
    assert listen_pid == shell_pid == str(pid)


def test_further_descriptors_come_at_exactly_their_numbers(tmp_path: Path, null: int) -> None:
    """Also where that is the highest number that the limit allows, and a source lies in the place of another."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    read, write = os.pipe()
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    a, b = os.open(tmp_path / "a", os.O_RDONLY), os.open(tmp_path / "b", os.O_RDONLY)
    script = f"import os; print([os.readlink(f'/proc/self/fd/{{n}}')[-1] for n in ({a}, {b}, {soft - 1})])"
    places = {b: a, a: b, soft - 1: a}
    environment = {"PATH": os.environ["PATH"]}
    pid = launch(
        Launch([sys.executable, "-c", script], str(tmp_path), environment, null, write, null, extra_fds=places)
    )
    for fd in (write, a, b):
        os.close(fd)
    assert status(pid) == 0
    assert os.read(read, 100) == b"['b', 'a', 'a']\n"
    os.close(read)


@pytest.mark.parametrize("own", [False, True], ids=["another-number", "its-own-number"])
def test_one_further_descriptor_needs_no_fork(
    tmp_path: Path, null: int, monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    monkeypatch.setattr(spawn, "_fork", None)
    read, write = os.pipe()
    (tmp_path / "a").write_text("a")
    a = os.open(tmp_path / "a", os.O_RDONLY)
    number = a if own else null
    script = f"import os; print(os.readlink('/proc/self/fd/{number}')[-1])"
    environment = {"PATH": os.environ["PATH"]}
    wanted = Launch(
        [sys.executable, "-c", script], str(tmp_path), environment, null, write, null, extra_fds={number: a}
    )
    pid = launch(wanted)
    for fd in (write, a):
        os.close(fd)
    assert status(pid) == 0
    assert os.read(read, 100) == b"a\n"
    os.close(read)


@pytest.mark.parametrize("way", WAYS)
def test_a_missing_file(tmp_path: Path, null: int, way: str) -> None:
    error = refused(tmp_path, null, "./none", way=way)
    assert (error.stage, error.errno, error.path) == ("exec", errno.ENOENT, str(tmp_path / "none"))
    assert error.problem == f"{tmp_path}/none does not exist"


@pytest.mark.parametrize("way", WAYS)
def test_a_missing_directory(tmp_path: Path, null: int, way: str) -> None:
    error = refused(tmp_path / "none", null, "true", way=way)
    assert (error.stage, error.errno, error.path) == ("chdir", errno.ENOENT, str(tmp_path / "none"))


def program(path: Path, content: str | bytes, mode: int = 0o755) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize("way", WAYS)
def test_a_missing_interpreter_is_named(tmp_path: Path, null: int, way: str) -> None:
    error = refused(tmp_path, null, program(tmp_path / "x", "#!/no/such/python -u\n"), way=way)
    assert error.errno == errno.ENOENT
    assert "wants the interpreter '/no/such/python'" in error.problem


def test_a_carriage_return_in_the_first_line(tmp_path: Path, null: int) -> None:
    error = refused(tmp_path, null, program(tmp_path / "x", "#!/bin/sh\r\necho\r\n"), way="spawn")
    assert "'/bin/sh\\r'" in error.problem
    assert "carriage return" in error.hint


def test_a_missing_loader_is_named(tmp_path: Path, null: int) -> None:
    data = Path(shutil.which("true") or "/bin/true").read_bytes()
    start = data.index(b"/lib")
    end = data.index(b"\0", start)
    changed = data[:start] + b"/no" + data[start + 3 : end] + data[end:]
    error = refused(tmp_path, null, program(tmp_path / "x", changed), way="spawn")
    assert "wants the loader '/no" in error.problem


@pytest.mark.parametrize("way", WAYS)
def test_a_script_without_a_first_line(tmp_path: Path, null: int, way: str) -> None:
    error = refused(tmp_path, null, program(tmp_path / "x", "echo hello\n"), way=way)
    assert error.errno == errno.ENOEXEC
    assert "has no #! line" in error.problem
    assert "#!/bin/sh" in error.hint


def test_an_empty_file(tmp_path: Path, null: int) -> None:
    assert "is empty" in refused(tmp_path, null, program(tmp_path / "x", ""), way="spawn").problem


def test_another_architecture(tmp_path: Path, null: int) -> None:
    header = bytearray(Path(shutil.which("true") or "/bin/true").read_bytes()[:64])
    header[18:20] = b"\xff\x7f"  # e_machine
    error = refused(tmp_path, null, program(tmp_path / "x", bytes(header)), way="spawn")
    assert "another architecture" in error.problem


@pytest.mark.parametrize("way", WAYS)
def test_a_file_that_is_not_executable(tmp_path: Path, null: int, way: str) -> None:
    error = refused(tmp_path, null, program(tmp_path / "x", "#!/bin/sh\n", 0o644), way=way)
    assert error.errno == errno.EACCES
    assert "not executable" in error.problem
    assert error.hint == f"chmod +x {tmp_path}/x"


def test_a_directory_as_a_program(tmp_path: Path, null: int) -> None:
    assert "is a directory" in refused(tmp_path, null, str(tmp_path), way="spawn").problem


def test_a_dangling_link(tmp_path: Path, null: int) -> None:
    (tmp_path / "x").symlink_to("nowhere")
    assert "link to nowhere" in refused(tmp_path, null, "./x", way="spawn").problem


def test_a_file_that_is_being_written(tmp_path: Path, null: int) -> None:
    target = tmp_path / "x"
    shutil.copy(shutil.which("true") or "/bin/true", target)
    with target.open("ab"):
        error = refused(tmp_path, null, "./x", way="spawn")
    assert error.errno == errno.ETXTBSY


def test_too_long_arguments(tmp_path: Path, null: int) -> None:
    assert refused(tmp_path, null, "true", "x" * 3_000_000, way="spawn").errno == errno.E2BIG


def test_a_command_that_is_nowhere(tmp_path: Path, null: int) -> None:
    error = refused(tmp_path, null, "no-such-command", way="spawn", path="/bin:/usr/bin")
    assert error.problem == "no-such-command: command not found"
    assert error.detail == "PATH=/bin:/usr/bin"


def test_a_command_that_is_there_but_may_not_be_executed(tmp_path: Path, null: int) -> None:
    program(tmp_path / "tool", "#!/bin/sh\n", 0o644)
    error = refused(tmp_path, null, "tool", way="spawn", path=f"{tmp_path}:/bin")
    assert (error.errno, error.path) == (errno.EACCES, str(tmp_path / "tool"))


def test_the_search_skips_what_is_no_program_and_reads_an_empty_entry_as_here(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "tool").mkdir()
    (tmp_path / "two").mkdir()
    program(tmp_path / "two" / "tool", "#!/bin/sh\n")
    program(tmp_path / "local", "#!/bin/sh\n")
    spawn.enter(str(tmp_path))
    assert spawn.executable("tool", {"PATH": f"{tmp_path}/one:{tmp_path}/two"}) == f"{tmp_path}/two/tool"
    assert spawn.executable("local", {"PATH": ":/bin"}) == "./local"
    assert spawn.executable("sh", {}) in ("/bin/sh", "/usr/bin/sh")


@pytest.mark.parametrize("way", WAYS)
def test_a_nul_byte_is_an_error_and_no_crash(tmp_path: Path, null: int, way: str) -> None:
    error = refused(tmp_path, null, "true", "a\0b", way=way)
    assert error.errno == errno.EINVAL


def test_a_failing_step_in_the_forked_child_is_told_as_its_stage(tmp_path: Path, null: int) -> None:
    with pytest.raises(LaunchFailed) as caught:
        launch(Launch(["true"], str(tmp_path), {}, null, null, null, (10**6,)))
    assert (caught.value.stage, caught.value.errno) == ("descriptors", errno.EBADF)


def test_no_descriptor_is_left_open_by_launches_that_fail(tmp_path: Path, null: int) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    for way in WAYS:
        refused(tmp_path, null, "./none", way=way)
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_a_child_in_a_namespace_of_its_own(tmp_path: Path, null: int) -> None:
    if why := can_isolate():
        pytest.skip(why)
    read, write = os.pipe()
    script = "readlink /proc/self/ns/ipc; ls /dev/shm | wc -l"
    environment = {"PATH": os.environ["PATH"]}
    pid = launch(Launch(["sh", "-c", script], str(tmp_path), environment, null, write, null, isolated=True))
    os.close(write)
    assert status(pid) == 0
    namespace, count = os.read(read, 100).decode().split()
    os.close(read)
    assert namespace != os.readlink("/proc/self/ns/ipc")
    assert count == "0"
