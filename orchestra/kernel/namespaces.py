"""The box: an IPC namespace with its own /dev/shm, /dev/mqueue and limits, made and entered without any other program.

    can_isolate()          why no box can be made here, in words; "" when one can
    make_private_ipc(…)    moves this process into a new box
    open_namespaces(pid)   descriptors that keep another process's box alive, and lead into it
    enter(…)               moves this process into it
    raise_limits(pid, …)   moves this process to where its limits can be set, and sets them

As root (CAP_SYS_ADMIN) a box is an IPC and a mount namespace. Anybody else needs user namespaces, two of them: in the
outer one the caller is uid 0 and may mount and set the limits of the new IPC namespace, which belongs to it; in the
inner one the caller has the own uid and gid again and no capability over anything, so that a mode that forbids
something does forbid it. The process keeps /proc and its pid, and everything else that it had.

Everything here changes the calling process, which must have one thread only: fork first.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import zip_longest

from orchestra.errors import KernelError, PermissionRefused
from orchestra.kernel import host, libc
from orchestra.kernel.api import SHM_FOLDER

MQUEUE_FOLDER = "/dev/mqueue"
BOX_KINDS = ("user", "ipc", "mnt")  # in the order in which they can be entered
_FLAGS = {
    "user": libc.CLONE_NEWUSER,
    "ipc": libc.CLONE_NEWIPC,
    "mnt": libc.CLONE_NEWNS,
    "pid": libc.CLONE_NEWPID,
    "net": libc.CLONE_NEWNET,
}
_NS_GET_USERNS = 0xB701  # include/uapi/linux/nsfs.h: the user namespace that owns another namespace
_CAP_SYS_ADMIN = 21
_NO_LIMIT = {
    errno.ENOENT: "this kernel has no such setting",
    errno.EINVAL: "the kernel does not take that value",
    errno.EROFS: "/proc/sys is read-only here, as in most containers",
    errno.EACCES: "this kernel lets only root of the host set it",
    errno.EPERM: "this kernel lets only root of the host set it",
}


@dataclass(frozen=True, slots=True)
class HostPolicy:
    """What this host says about user namespaces. None: it has no such setting."""

    apparmor_restricts: str | None = None  # kernel.apparmor_restrict_unprivileged_userns, Ubuntu since 23.10
    max_user_namespaces: str | None = None  # user.max_user_namespaces
    debian_switch: str | None = None  # kernel.unprivileged_userns_clone, Debian until 10
    seccomp: bool = False  # a filter of system calls is in force, as in a container


def unshare(*kinds: str) -> None:
    """Leave the namespaces of `kinds` ("user", "ipc", "mnt", "pid", "net") for new ones. Raises KernelError."""
    bits = 0
    for kind in kinds:
        bits |= _FLAGS[kind]
    with _step(f"unshare({', '.join(kinds)})"):
        libc.unshare(bits)


def make_private_ipc(limits: Mapping[str, int | str] | None = None, shm_size: int | None = None) -> None:
    """Move this process into a new box.

    `limits` are settings by their dotted names: `{"fs.mqueue.msg_max": 64, "kernel.sem": "250 32000 100 256"}`; they
    change nothing outside. `shm_size` is bytes, half of the memory without it. Raises PermissionRefused where the host
    does not allow it (see `can_isolate`), KernelError for a limit that the kernel does not take; the process may then
    be half way inside, and should end.
    """
    uid, gid = os.geteuid(), os.getegid()
    privileged = host.has_capability(_CAP_SYS_ADMIN)
    if privileged:
        unshare("ipc", "mnt")
    else:
        unshare("user", "ipc", "mnt")
        _map_ids(0, uid, 0, gid)
    _mount_folders(shm_size)
    for name, value in (limits or {}).items():
        _set_limit(name, value)
    if not privileged:
        unshare("user")
        _map_ids(uid, 0, gid, 0)
        with _step("capset(none)"):
            libc.drop_capabilities()


def can_isolate() -> str:
    """Return why `make_private_ipc` is refused to this process, "" when it is not. Tried in a child: a few ms."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        words = "the attempt failed"
        try:
            make_private_ipc()
            words = ""
        except KernelError as err:
            words = f"{err.problem} ({err.detail})"
        finally:
            os.write(writing, words.encode(errors="replace"))
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        answer = file.read().decode(errors="replace")
    os.waitpid(child, 0)
    return answer


def open_namespaces(pid: int | str = "self", kinds: Iterable[str] = BOX_KINDS, root: str = "/proc") -> dict[str, int]:
    """Return close-on-exec descriptors of a process's namespaces by kind; the caller closes them.

    They keep the namespaces, with all objects inside, when every process has left. Raises PermissionRefused for a
    process of somebody else, KernelError for one that is gone.
    """
    opened: dict[str, int] = {}
    try:
        for kind in kinds:
            path = f"{root}/{pid}/ns/{kind}"
            with _step(f"open({path})"):
                opened[kind] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except KernelError:
        close_all(opened)
        raise
    return opened


def close_all(opened: Mapping[str, int]) -> None:
    """Close what `open_namespaces` gave."""
    for fd in opened.values():
        os.close(fd)


def enter(target: int | Mapping[str, int], kinds: Iterable[str] = BOX_KINDS) -> None:
    """Move this process into the box of a process, or the one behind the descriptors of `open_namespaces`.

    Namespaces that this process is in already are skipped. The working directory stays what it was, where it exists
    inside. Raises PermissionRefused, KernelError.
    """
    if isinstance(target, int):
        opened = open_namespaces(target, kinds)
        try:
            _enter(opened)
        finally:
            close_all(opened)
    else:
        _enter({kind: target[kind] for kind in kinds})


def raise_limits(pid: int, limits: Mapping[str, int | str]) -> None:
    """Raise those limits of the box of a process that are lower than `limits`, which are as in `make_private_ipc`.

    Not possible from inside for an ordinary user: limits belong to uid 0 of the outer namespace. This process is in
    the box's IPC namespace afterwards, and should end. Raises PermissionRefused, KernelError.
    """
    opened = open_namespaces(pid, ("ipc",))
    try:
        if not _is_ours("ipc", opened["ipc"]):
            _enter_owner("ipc", opened["ipc"])
            _setns("ipc", opened["ipc"])
    finally:
        close_all(opened)
    for name, value in limits.items():
        _set_limit(name, _highest(host.sysctl(name) or "", str(value)))


def _highest(one: str, other: str) -> str:
    """Return the higher of two settings, number by number: "250 32000" and "300 10" are "300 32000"."""
    pairs = zip_longest(one.split(), other.split(), fillvalue="0")
    return " ".join(max(pair, key=int) for pair in pairs)


def _enter(fds: Mapping[str, int]) -> None:
    folder = os.getcwd()
    wanted = {kind: fd for kind, fd in fds.items() if not _is_ours(kind, fd)}
    user = wanted.pop("user", None)
    if user is not None:
        for kind, fd in wanted.items():
            _enter_owner(kind, fd)
    for kind in sorted(wanted, key=list(_FLAGS).index):
        _setns(kind, wanted[kind])
    if user is not None:
        if not _is_ours("user", user):
            _setns("user", user)
        with _step("capset(none)"):
            libc.drop_capabilities()
    with suppress(OSError):
        os.chdir(folder)


def _enter_owner(kind: str, fd: int) -> None:
    """Enter the user namespace that this one belongs to: only from there may it be entered."""
    with _step(f"ioctl({kind}, NS_GET_USERNS)"):
        owner = fcntl.ioctl(fd, _NS_GET_USERNS)
    try:
        if not _is_ours("user", owner):
            _setns("user", owner)
    finally:
        os.close(owner)


def _setns(kind: str, fd: int) -> None:
    with _step(f"setns({kind})"):
        libc.setns(fd, _FLAGS[kind])


def _is_ours(kind: str, fd: int) -> bool:
    mine, other = os.stat(f"/proc/self/ns/{kind}"), os.fstat(fd)
    return (mine.st_dev, mine.st_ino) == (other.st_dev, other.st_ino)


def _map_ids(inside_uid: int, outside_uid: int, inside_gid: int, outside_gid: int) -> None:
    """Say who we are in the user namespace just made. Giving up setgroups is the price of mapping a group oneself."""
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{inside_uid} {outside_uid} 1")
    _write("/proc/self/gid_map", f"{inside_gid} {outside_gid} 1")


def _mount_folders(shm_size: int | None) -> None:
    # Mounts made from here on must not show outside, nor those of outside in here.
    with _step("mount(/, MS_REC|MS_PRIVATE)"):
        libc.mount("none", "/", None, libc.MS_REC | libc.MS_PRIVATE)
    plain = libc.MS_NOSUID | libc.MS_NODEV
    if os.path.isdir(SHM_FOLDER):
        size = "" if shm_size is None else f",size={shm_size}"
        with _step(f"mount(tmpfs, {SHM_FOLDER})"):
            libc.mount("shm", SHM_FOLDER, "tmpfs", plain, f"mode=1777{size}")
    if os.path.isdir(MQUEUE_FOLDER):
        with _step(f"mount(mqueue, {MQUEUE_FOLDER})"):
            libc.mount("mqueue", MQUEUE_FOLDER, "mqueue", plain | libc.MS_NOEXEC)


def _set_limit(name: str, value: int | str) -> None:
    path = f"/proc/sys/{name.replace('.', '/')}"
    if host.sysctl(name) == str(value):
        return  # so that nobody is refused what needs no change
    try:
        _write_text(path, str(value))
    except OSError as err:
        reason = _NO_LIMIT.get(err.errno or 0, err.strerror)
        cls = PermissionRefused if isinstance(err, PermissionError) else KernelError
        raise cls(
            f"{name} cannot be set to {value} for a private IPC namespace: {reason}",
            detail=f"write({path}) -> {errno.errorcode.get(err.errno or 0)}",
            hint="Ask for less, or have root raise it on the host and use the host's namespace.",
        ) from err


def _write(path: str, text: str) -> None:
    with _step(f"write({path}, {text})"):
        _write_text(path, text)


def _write_text(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


@contextmanager
def _step(call: str) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        number = err.errno or 0
        detail = f"{call} -> {errno.errorcode.get(number, number)}"
        refused = number in (errno.EPERM, errno.EACCES, errno.ENOSPC, errno.EUSERS)
        if call.startswith(("open", "setns", "ioctl")):
            cls = PermissionRefused if refused else KernelError
            raise cls(f"the namespaces cannot be entered: {err.strerror}", detail=detail) from err
        problem, hint = refusal(number, read_policy())
        raise (PermissionRefused if refused else KernelError)(problem, detail=detail, hint=hint) from err


def refusal(number: int, policy: HostPolicy) -> tuple[str, str]:
    """Return in words why this host lets us make no box, and what to do, from the errno and the host's settings."""
    root_can = "Run it as root, in a container, or in the host's namespace."
    if policy.max_user_namespaces == "0":
        return "this host allows no user namespaces: user.max_user_namespaces is 0", root_can
    if policy.debian_switch == "0":
        return "only root may make user namespaces here: kernel.unprivileged_userns_clone is 0", root_can
    if policy.apparmor_restricts == "1" and number in (errno.EPERM, errno.EACCES):
        words = "AppArmor keeps ordinary users from it: kernel.apparmor_restrict_unprivileged_userns is 1"
        return words, f"Root can allow it (sysctl -w kernel.apparmor_restrict_unprivileged_userns=0). {root_can}"
    if policy.seccomp and number in (errno.EPERM, errno.ENOSYS):
        words = "a filter of system calls forbids it, as in most containers"
        return words, "Give the container SYS_ADMIN, or use its own namespace: it is one already."
    known = {
        errno.EPERM: "the kernel does not permit private namespaces to this process",
        errno.EACCES: "a security module of this host does not permit private namespaces",
        errno.ENOSPC: "there are as many namespaces as this host allows (user.max_…_namespaces)",
        errno.EUSERS: "user namespaces are nested as deeply as the kernel allows",
        errno.EINVAL: "this kernel has no such namespaces, or this process has several threads",
        errno.ENOSYS: "this kernel has no namespaces",
    }
    return known.get(number, f"private namespaces cannot be made: {os.strerror(number)}"), root_can


def read_policy(root: str = "/proc") -> HostPolicy:
    """Read what this host says about user namespaces."""
    return HostPolicy(
        host.sysctl("kernel.apparmor_restrict_unprivileged_userns", root),
        host.sysctl("user.max_user_namespaces", root),
        host.sysctl("kernel.unprivileged_userns_clone", root),
        _is_filtered(root),
    )


def _is_filtered(root: str) -> bool:
    with suppress(OSError), open(f"{root}/self/status", encoding="utf-8", errors="replace") as file:
        return any(line.split() == ["Seccomp:", "2"] for line in file)
    return False
