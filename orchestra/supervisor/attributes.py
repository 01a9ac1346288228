"""From the attributes of a process to the steps that give them to a child, in order, each with its words. Pure.

What needs a privilege comes before the identity, which gives privileges up: limits, nice value, scheduler, processors,
then groups, group and user. Nothing is asked of the kernel that the child has already: an ordinary user may then name
the own user and group in a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from orchestra.runplan import Attributes


class Step(NamedTuple):
    """One call of `become.CALLS`. `stage` names it in events; `problem` says in words what was wanted."""

    stage: str  # limits | nice | scheduler | affinity | umask | credentials | chdir
    call: str
    arguments: tuple[Any, ...]
    problem: str
    hint: str = ""

    @property
    def plain(self) -> tuple[Any, ...]:
        """Return what `become.take` reads."""
        return (self.call, *self.arguments)


class Identity(NamedTuple):
    """Who a process is now."""

    user: int
    group: int
    groups: tuple[int, ...]


_LIMIT_HINT = "Only root may raise a hard limit, and only with CAP_SYS_RESOURCE; `ulimit -Ha` shows those in force."
_NICE_HINT = "Without root it can only be raised, or lowered as far as `ulimit -e` allows."
_SCHEDULER_HINT = "Real-time scheduling takes root (CAP_SYS_NICE), or a limit as `ulimit -r` shows it."
_CPU_HINT = "`nproc --all` counts the processors; a container may be confined to some of them."
_ROOT_HINT = "Only root can change user and groups: run `orchestra up` as root."


def steps(
    wanted: Attributes, replica: int, now: Identity, *, open_files: tuple[int, int] | None = None, directory: str = ""
) -> tuple[Step, ...]:
    """Return the steps of one replica (they count from 1).

    `open_files` is the limit on descriptors of a child that declares none. `directory` is entered once more when the
    identity changes, as who the child is then.
    """
    found: list[Step] = []
    declared = {name for name, _, _ in wanted.limits}
    if open_files is not None and "nofile" not in declared:
        found.append(_limit("nofile", *open_files))
    found += [_limit(*limit) for limit in wanted.limits]
    if wanted.nice is not None:
        found.append(Step("nice", "nice", (wanted.nice,), f"the nice value {wanted.nice} was refused", _NICE_HINT))
    if wanted.scheduler is not None:
        policy, priority = wanted.scheduler
        problem = f"the scheduler {policy}:{priority} was refused"
        found.append(Step("scheduler", "scheduler", (policy, priority), problem, _SCHEDULER_HINT))
    found += affinity(wanted, replica)
    if wanted.umask is not None:
        found.append(Step("umask", "umask", (wanted.umask,), f"the umask {wanted.umask:#o} was refused"))
    identity = _identity(wanted, now)
    if identity and directory:
        problem = f"user {now.user if wanted.user is None else wanted.user} cannot enter the directory {directory}"
        identity.append(Step("chdir", "directory", (directory,), problem))
    return (*found, *identity)


def affinity(wanted: Attributes, replica: int) -> list[Step]:
    """Return the step that binds one replica to its processors, if any: one set for all, or one a replica in turn."""
    if not wanted.cpu_affinity:
        return []
    cpus = wanted.cpu_affinity[(replica - 1) % len(wanted.cpu_affinity)]
    problem = f"the processors {', '.join(map(str, cpus))} cannot be used"
    return [Step("affinity", "affinity", cpus, problem, _CPU_HINT)]


def variables(wanted: Attributes) -> Mapping[str, str]:
    """Return what a login would set: HOME, USER and LOGNAME of the declared user."""
    found = {"HOME": wanted.home, "USER": wanted.login, "LOGNAME": wanted.login}
    return {name: value for name, value in found.items() if value}


def _limit(name: str, soft: int, hard: int) -> Step:
    shown = [str(value) if value != -1 else "unlimited" for value in (soft, hard)]
    problem = f"the limit {name} of {shown[0]}, at most {shown[1]}, was refused"
    return Step("limits", "limit", (name, soft, hard), problem, _LIMIT_HINT)


def _identity(wanted: Attributes, now: Identity) -> list[Step]:
    found: list[Step] = []
    if wanted.groups is not None and not _same_groups(wanted.groups, now.groups):
        problem = f"the groups {', '.join(map(str, wanted.groups)) or '(none)'} were refused"
        found.append(Step("credentials", "groups", wanted.groups, problem, _ROOT_HINT))
    if wanted.group is not None and wanted.group != now.group:
        problem = f"becoming group {wanted.group} was refused"
        found.append(Step("credentials", "group", (wanted.group,), problem, _ROOT_HINT))
    if wanted.user is not None and wanted.user != now.user:
        problem = f"becoming user {wanted.user} was refused"
        found.append(Step("credentials", "user", (wanted.user,), problem, _ROOT_HINT))
    return found


def _same_groups(wanted: Sequence[int], now: Sequence[int]) -> bool:
    return set(wanted) == set(now)
