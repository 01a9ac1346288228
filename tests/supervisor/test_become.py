"""What a forked child does to itself; each step in a child of its own."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable

import pytest

from orchestra.supervisor import become


def in_child(work: Callable[[], object]) -> str:
    """Return what `work` returned, or raised, in a forked child."""
    read, low = os.pipe()
    write = become.aside(low, range(60))  # out of the way of what is arranged
    os.close(low)
    pid = os.fork()
    if pid == 0:
        text = "nothing"
        try:
            text = repr(work())
        except BaseException as err:
            text = f"{type(err).__name__} {err.args}"
        finally:
            os.write(write, text.encode())
            os._exit(0)
    os.close(write)
    with open(read) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    return text


def test_steps_are_taken_in_order_up_to_the_one_that_fails() -> None:
    def work() -> object:
        try:
            become.take([("umask", 0o27), ("directory", "/nowhere"), ("umask", 0)])
        except become.Refused as err:
            return err.index, err.errno, os.umask(0)
        return None

    assert in_child(work) == repr((1, errno.ENOENT, 0o27))


@pytest.mark.parametrize(
    ("step", "number"),
    [
        (("limit", "nofile", 10, 5), errno.EINVAL),
        (("limit", "nofile", 10, resource.RLIM_INFINITY), errno.EPERM),
        (("scheduler", "fifo", 1000), errno.EINVAL),
        (("affinity", -1), errno.EINVAL),
    ],
)
def test_what_python_hides_behind_other_exceptions_is_an_errno_again(step: tuple[object, ...], number: int) -> None:
    def work() -> object:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
        become.take([step])
        return None

    assert in_child(work) == f"Refused (0, {number})"


def test_nothing_is_left_of_an_arrangement_but_what_was_asked_for() -> None:
    def work() -> object:
        a, b = os.open("/dev/null", os.O_RDONLY), os.open("/dev/zero", os.O_RDONLY)
        before = set(os.listdir("/proc/self/fd"))
        become.arrange({a: b, b: a, 50: a})
        after = set(os.listdir("/proc/self/fd"))
        names = [os.readlink(f"/proc/self/fd/{fd}") for fd in (a, b, 50)]
        return sorted(after - before), names, os.get_inheritable(50)

    assert in_child(work) == repr((["50"], ["/dev/zero", "/dev/null", "/dev/null"], True))
