"""The box, made and entered for real as this user and as an ordinary one; and why a host refuses it, in words."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestra.errors import KernelError, PermissionRefused
from orchestra.kernel import namespaces
from orchestra.kernel.host import sysctl
from orchestra.kernel.namespaces import HostPolicy, refusal

ROOT = Path(__file__).parents[2]
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
USERS = [
    pytest.param([], id="as-this-user"),
    pytest.param(NOBODY, id="as-nobody", marks=[pytest.mark.root, pytest.mark.other_user]),
]

INSIDE = """
import json, os, sys
from orchestra.kernel import libc, namespaces
from orchestra.kernel.host import ipc_namespace, sysctl
from orchestra.errors import KernelError

why = namespaces.can_isolate()
if why:
    print(json.dumps({"why": why}), flush=True)
    sys.exit()
outer = ipc_namespace()
name = sys.argv[1]
limits = {"fs.mqueue.msg_max": 23, "kernel.msgmnb": 77777, "kernel.sem": "251 32001 101 257"}
namespaces.make_private_ipc(limits, 1 << 20)
open(f"/dev/shm{name}", "x").close()
closed = libc.msgget(0x0c7a, libc.IPC_CREAT | libc.IPC_EXCL)  # mode 0
os.chmod("/dev/shm" + name, 0)
refused = 0
for attempt in (lambda: libc.msg_stat(closed), lambda: os.open("/dev/shm" + name, os.O_RDONLY)):
    try:
        attempt()
    except PermissionError:
        refused += 1
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
queues = None if not os.path.isdir("/dev/mqueue") else os.path.ismount("/dev/mqueue")
print(json.dumps({
    "why": "", "outer": outer, "inner": ipc_namespace(), "uid": os.getuid(), "gid": os.getgid(),
    "caps": int(status["CapEff"], 16), "refused": refused, "queues": queues,
    "shm": sorted(os.listdir("/dev/shm")), "mode": os.stat("/dev/shm").st_mode & 0o7777,
    "bytes": os.statvfs("/dev/shm").f_blocks * os.statvfs("/dev/shm").f_frsize,
    "limits": [sysctl("fs.mqueue.msg_max"), sysctl("kernel.msgmnb"), sysctl("kernel.sem")],
}), flush=True)
sys.stdin.read()
"""

VISITOR = """
import json, os, sys
from orchestra.kernel import libc, namespaces
from orchestra.kernel.host import ipc_namespace

fds = namespaces.open_namespaces(int(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()  # the box is empty by now
namespaces.enter(fds)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({
    "ipc": ipc_namespace(), "shm": sorted(os.listdir("/dev/shm")), "queue": libc.msgget(0x0c7a, 0) >= 0,
    "uid": os.getuid(), "caps": int(status["CapEff"], 16), "folder": os.getcwd(),
}), flush=True)
"""


@contextmanager
def started(user: Sequence[str], program: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [*user, sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    try:
        yield child
    finally:
        child.communicate(timeout=30)


def told(child: subprocess.Popen[str]) -> dict[str, Any]:
    assert child.stdout is not None
    answer: dict[str, Any] = json.loads(child.stdout.readline())
    return answer


@pytest.mark.slow
@pytest.mark.parametrize("user", USERS)
def test_a_box_has_its_own_objects_folders_and_limits_and_outlives_its_makers(user: Sequence[str]) -> None:
    name = f"/orct.box.{os.getpid()}"
    before = [sysctl("fs.mqueue.msg_max"), sysctl("kernel.msgmnb"), sysctl("kernel.sem")]
    with started(user, INSIDE, name) as maker:
        seen = told(maker)
        if seen["why"]:
            pytest.skip(seen["why"])
        uid = 65534 if user else os.getuid()
        assert seen["inner"] != seen["outer"]
        assert (seen["uid"], seen["gid"]) == (uid, 65534 if user else os.getgid())
        assert seen["shm"] == [name[1:]]
        assert (seen["mode"], seen["bytes"]) == (0o1777, 1 << 20)
        assert seen["queues"] in (None, True)
        assert seen["limits"] == ["23", "77777", "251 32001 101 257"]
        assert seen["refused"] == (2 if uid else 0), "a mode that forbids must forbid"
        if uid:
            assert seen["caps"] == 0
        assert not os.path.exists(f"/dev/shm{name}")
        assert [sysctl("fs.mqueue.msg_max"), sysctl("kernel.msgmnb"), sysctl("kernel.sem")] == before

        with started(user, VISITOR, str(maker.pid)) as visitor:
            assert visitor.stdin is not None
            assert visitor.stdout is not None
            assert visitor.stdout.readline() == "ready\n"
            maker.communicate(timeout=30)
            visitor.stdin.write("go\n")
            visitor.stdin.flush()
            found = told(visitor)
    assert found["ipc"] == seen["inner"]
    assert found["shm"] == seen["shm"]
    assert found["queue"]
    assert found["uid"] == uid
    assert uid == 0 or found["caps"] == 0
    assert found["folder"] == str(ROOT)


def test_a_limit_that_the_kernel_does_not_take_says_which_and_why() -> None:
    def attempt(limits: dict[str, int | str]) -> str:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                namespaces.make_private_ipc(limits)
                os.write(writing, b"made")
            except KernelError as err:
                os.write(writing, str(err).encode())
            finally:
                os._exit(0)
        os.close(writing)
        with open(reading) as file:
            words = file.read()
        os.waitpid(child, 0)
        return words

    if namespaces.can_isolate():
        pytest.skip(namespaces.can_isolate())
    words = attempt({"fs.mqueue.msg_max": 10_000_000})
    assert words.startswith("fs.mqueue.msg_max cannot be set to 10000000 for a private IPC namespace: the kernel does")
    assert "detail: write(/proc/sys/fs/mqueue/msg_max) -> EINVAL" in words
    assert "this kernel has no such setting" in attempt({"kernel.no_such_thing": 1})


def test_trying_out_changes_nothing_here() -> None:
    before = {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in namespaces.BOX_KINDS}
    namespaces.can_isolate()
    assert {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in namespaces.BOX_KINDS} == before


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.other_user
def test_a_host_that_allows_none_says_so_in_words() -> None:
    """In a user namespace of its own max_user_namespaces can be 0 without touching the host."""
    program = (
        "from orchestra.kernel import namespaces, libc\n"
        "namespaces.unshare('user'); open('/proc/self/uid_map', 'w').write(f'0 65534 1')\n"
        "open('/proc/sys/user/max_user_namespaces', 'w').write('0'); libc.drop_capabilities()\n"
        "print(namespaces.can_isolate())"
    )
    done = subprocess.run(
        [*NOBODY, sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("this host allows no user namespaces: user.max_user_namespaces is 0 (unshare(user")
    assert "-> ENOSPC" in done.stdout


def test_namespaces_of_a_process_that_is_gone() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    with pytest.raises(KernelError, match="cannot be entered"):
        namespaces.open_namespaces(child)
    with pytest.raises(KernelError):
        namespaces.enter(child)


def test_what_was_opened_is_closed_again_when_one_is_missing(tmp_path: Path) -> None:
    (tmp_path / "7" / "ns").mkdir(parents=True)
    (tmp_path / "7" / "ns" / "user").touch()
    before = os.listdir("/proc/self/fd")
    with pytest.raises(KernelError):
        namespaces.open_namespaces(7, root=str(tmp_path))
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize(
    ("number", "policy", "words"),
    [
        (errno.ENOSPC, HostPolicy(max_user_namespaces="0"), "user.max_user_namespaces is 0"),
        (errno.EPERM, HostPolicy(debian_switch="0"), "kernel.unprivileged_userns_clone is 0"),
        (errno.EACCES, HostPolicy(apparmor_restricts="1"), "AppArmor keeps ordinary users from it"),
        (errno.EPERM, HostPolicy(apparmor_restricts="1", max_user_namespaces="9"), "AppArmor"),
        (errno.EPERM, HostPolicy(seccomp=True), "as in most containers"),
        (errno.EPERM, HostPolicy(apparmor_restricts="0"), "does not permit private namespaces to this process"),
        (errno.ENOSPC, HostPolicy(max_user_namespaces="9", seccomp=True), "as many namespaces as this host allows"),
        (errno.EINVAL, HostPolicy(), "several threads"),
        (errno.EIO, HostPolicy(), "Input/output error"),
    ],
)
def test_why_it_is_refused(number: int, policy: HostPolicy, words: str) -> None:
    problem, hint = refusal(number, policy)
    assert words in problem
    assert hint


def test_the_policy_of_a_host_is_read_from_proc(tmp_path: Path) -> None:
    (tmp_path / "sys/kernel").mkdir(parents=True)
    (tmp_path / "sys/kernel/apparmor_restrict_unprivileged_userns").write_text("1\n")
    (tmp_path / "self").mkdir()
    (tmp_path / "self/status").write_text("Name:\tx\nSeccomp:\t2\n")
    assert namespaces.read_policy(str(tmp_path)) == HostPolicy("1", None, None, seccomp=True)


def test_a_refusal_is_one_of_permission() -> None:
    if os.getuid() != 0:
        pytest.skip("needs uid 0 to give up what it may")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        from orchestra.kernel import libc

        libc.drop_capabilities()
        try:
            namespaces.unshare("ipc")
        except PermissionRefused as err:
            os.write(writing, err.detail.encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading) as file:
        assert file.read() == "unshare(ipc) -> EPERM"
    os.waitpid(child, 0)


def test_the_higher_of_two_settings_number_by_number() -> None:
    assert namespaces._highest("10", "64") == "64"
    assert namespaces._highest("100", "64") == "100"
    assert namespaces._highest("32000 1024000000 500 32000", "250 2000000000 500 40000") == "32000 2000000000 500 40000"
    assert namespaces._highest("", "64") == "64", "where it cannot be read"
