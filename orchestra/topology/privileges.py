"""What a file asks for that only root may have: said before anything starts, at the line that asks for it.

One function per rule. What this process may do comes as data (KernelLimits); where that is unknown, nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from orchestra.errors import Problem
from orchestra.kinds import KernelLimits
from orchestra.topology.fields import Isolation
from orchestra.topology.host import HostFacts
from orchestra.topology.limits import counted, in_a_namespace, made, sized
from orchestra.topology.loader import Loaded
from orchestra.topology.model import Process
from orchestra.topology.objectmodels import Segment, SysvSegment
from orchestra.topology.processmodels import EachCpus
from orchestra.topology.processplans import scheduler_of
from orchestra.topology.processvalues import UNLIMITED, WITH_PRIORITY

# Numbers of capabilities(7).
SETGID, SETUID, IPC_LOCK, SYS_NICE, SYS_RESOURCE = 6, 7, 14, 23, 24  # SYS_ADMIN: see limits
_NICE_TOP = 20  # RLIMIT_NICE counts from 20 down: setrlimit(2)

Rule = Callable[[Loaded, KernelLimits, HostFacts], Iterator[Problem]]


def errors(loaded: Loaded, limits: KernelLimits, host: HostFacts) -> list[Problem]:
    """Return everything that this process could not give to a child, or not lock into memory."""
    return [problem for rule in RULES for problem in rule(loaded, limits, host)]


def asks_for_attributes(loaded: Loaded) -> bool:
    """Whether any process asks for something that a limit or a capability decides on."""
    return any(
        item.limits or item.cpu_affinity is not None or item.nice is not None or item.scheduler is not None
        or item.user is not None or item.group is not None
        for item in loaded.topology.processes.values()
    )  # fmt: skip


def may(limits: KernelLimits, capability: int) -> bool:
    """Whether this process has a capability; also true where that is not known."""
    return limits.capabilities is None or bool(limits.capabilities >> capability & 1)


def _processes(loaded: Loaded) -> Iterator[tuple[str, Process]]:
    for name, process in loaded.topology.processes.items():
        if ("processes", name) not in loaded.broken:
            yield name, process


def users(loaded: Loaded, limits: KernelLimits, host: HostFacts) -> Iterator[Problem]:
    """Each user and group is known, and may be taken on."""
    for name, process in _processes(loaded):
        path = ("processes", name)
        own = in_a_namespace(limits) if process.isolation is Isolation.PRIVATE else limits
        if process.user is not None:
            yield from _user((*path, "user"), process.user, process, loaded, own, host)
        if process.group is not None:
            group = host.gid_of(process.group) if isinstance(process.group, str) else process.group
            if group is None:
                message = f"this host has no group `{process.group}`"
                yield loaded.marks.problem((*path, "group"), "unknown_name", message)
            elif group != host.own_gid() and not may(own, SETGID):
                message = f"running a process with the group `{process.group}` takes root (CAP_SETGID)"
                yield loaded.marks.problem((*path, "group"), "privilege", message, _way_out(host))


def _way_out(host: HostFacts) -> str:
    if host.own_uid() != 0:
        return "Run `orchestra up` as root, or remove the line."
    return "Root has lost that capability here; a private namespace leaves none to a root without CAP_SYS_ADMIN."


def _user(
    path: tuple[str, ...], user: int | str, process: Process, loaded: Loaded, limits: KernelLimits, host: HostFacts
) -> Iterator[Problem]:
    account = host.account(user)
    if account is None and isinstance(user, str):
        name, _, group = user.partition(":")
        hint = f"The group is a key of its own: `user: {name}`, `group: {group}`." if group else ""
        yield loaded.marks.problem(path, "unknown_name", f"this host has no user `{user}`", hint)
    elif account is None and process.group is None and user != host.own_uid():
        message = f"this host knows no user {user}, so it has no group"
        yield loaded.marks.problem(path, "missing_key", message, "Add `group:`, a name or a number.")
    elif (user if account is None else account.uid) != host.own_uid() and not _may_change_user(limits):
        message = f"running a process as `{user}` takes root (CAP_SETUID and CAP_SETGID)"
        yield loaded.marks.problem(path, "privilege", message, _way_out(host))


def _may_change_user(limits: KernelLimits) -> bool:
    return may(limits, SETUID) and may(limits, SETGID)


def niceness(loaded: Loaded, limits: KernelLimits, host: HostFacts) -> Iterator[Problem]:  # noqa: ARG001
    """Only who may, makes a process more urgent."""
    current, floor = limits.niceness or 0, limits.rlimits.get("nice", (0, 0))[0]
    lowest = -_NICE_TOP if floor == UNLIMITED else _NICE_TOP - floor
    for name, process in _processes(loaded):
        nice = process.nice
        if nice is not None and nice < current and nice < lowest and not may(limits, SYS_NICE):
            message = f"niceness {nice} is below {current}, the one here: that takes root (CAP_SYS_NICE)"
            hint = f"Write {current} or more, or let root raise RLIMIT_NICE (`ulimit -e`) to {_NICE_TOP - nice}."
            yield loaded.marks.problem(("processes", name, "nice"), "privilege", message, hint)


def schedulers(loaded: Loaded, limits: KernelLimits, host: HostFacts) -> Iterator[Problem]:  # noqa: ARG001
    """Real-time policies take CAP_SYS_NICE or RLIMIT_RTPRIO: sched(7)."""
    bound = limits.rlimits.get("rtprio", (0, 0))[0]
    for name, process in _processes(loaded):
        if process.scheduler is None or may(limits, SYS_NICE):
            continue
        policy, priority = scheduler_of(process.scheduler)
        if policy in WITH_PRIORITY and bound != UNLIMITED and priority > bound:
            allowed = f"priorities up to {bound}" if bound else "none"
            message = f"real-time scheduling takes root (CAP_SYS_NICE); RLIMIT_RTPRIO allows {allowed}"
            hint = "Write other, batch or idle, or let root raise `ulimit -r`."
            yield loaded.marks.problem(("processes", name, "scheduler"), "privilege", message, hint)


def processors(loaded: Loaded, limits: KernelLimits, host: HostFacts) -> Iterator[Problem]:  # noqa: ARG001
    """Each processor is there."""
    if limits.processors is None:
        return
    last = max(limits.processors, default=0)
    for name, process in _processes(loaded):
        wanted = process.cpu_affinity
        if wanted is None:
            continue
        sets = wanted.each if isinstance(wanted, EachCpus) else (wanted,)
        missing = sorted({cpu for cpus in sets for cpu in cpus} - limits.processors)
        if missing:
            message = f"this host has no processor {missing[0]}: they count from 0 to {last}"
            yield loaded.marks.problem(("processes", name, "cpu_affinity"), "limit", message)


def resource_limits(loaded: Loaded, limits: KernelLimits, host: HostFacts) -> Iterator[Problem]:  # noqa: ARG001
    """Only CAP_SYS_RESOURCE raises a hard limit; nothing raises descriptors beyond fs.nr_open."""
    for name, process in _processes(loaded):
        for limit, wanted in process.limits.items():
            _, hard = wanted.both
            path = ("processes", name, "limits", limit)
            if limit == "nofile" and limits.nr_open is not None and (hard == UNLIMITED or hard > limits.nr_open):
                message = f"more descriptors than this kernel allows: {limits.nr_open} (fs.nr_open)"
                yield loaded.marks.problem(path, "limit", message, f"Write at most {limits.nr_open}.")
                continue
            bound = limits.rlimits.get(limit, (UNLIMITED, UNLIMITED))[1]
            if bound == UNLIMITED or may(limits, SYS_RESOURCE):
                continue
            if hard == UNLIMITED or hard > bound:
                message = f"the hard limit here is {bound}: raising it takes CAP_SYS_RESOURCE"
                yield loaded.marks.problem(path, "privilege", message, f"Write at most {bound}.")


def locked_memory(loaded: Loaded, limits: KernelLimits, host: HostFacts) -> Iterator[Problem]:  # noqa: ARG001
    """RLIMIT_MEMLOCK bounds what is locked, unless CAP_IPC_LOCK lifts it."""
    bound = limits.rlimits.get("memlock", (UNLIMITED, UNLIMITED))[0]
    locked = [(path, item) for path, item in made(loaded, Segment) if item.lock]
    total = sum(item.size or 0 for _, item in locked)
    if (
        not locked
        or bound == UNLIMITED
        or total <= bound
        or (limits.capabilities is not None and may(limits, IPC_LOCK))
    ):
        return
    path = max(locked, key=lambda entry: entry[1].size or 0)[0]
    what = "this segment locks" if len(locked) == 1 else f"{len(locked)} segments lock"
    message = f"{what} {sized(total)} of memory, RLIMIT_MEMLOCK allows {sized(bound)} (`ulimit -l`)"
    yield loaded.marks.problem((*path, "lock"), "limit", message, "Let root raise it, or lock less.", key=True)


def huge_pages(loaded: Loaded, limits: KernelLimits, host: HostFacts) -> Iterator[Problem]:
    """Huge pages of that size are set up, and enough of them are free."""
    needed: dict[int, int] = {}
    for path, item in made(loaded, Segment):
        page: int | None = getattr(item, "huge_pages", None)
        if page is None or item.size is None:
            continue
        where = (*path, "huge_pages")
        needed[page] = needed.get(page, 0) + item.size // page
        if page not in limits.huge_pages:
            sizes = ", ".join(sized(size) for size in sorted(limits.huge_pages))
            hint = f"It has pages of {sizes}." if sizes else "Leave `huge_pages` out."
            yield loaded.marks.problem(where, "limit", f"this host has no pages of {sized(page)}", hint)
        elif needed[page] > limits.huge_pages[page]:
            free = limits.huge_pages[page]
            message = f"this takes {counted(needed[page], 'pages')} of {sized(page)}; free: {free}"
            file = f"/sys/kernel/mm/hugepages/hugepages-{page // 1024}kB/nr_hugepages"
            hint = f"Let root set some aside: echo {needed[page]} > {file}"
            yield loaded.marks.problem(where, "limit", message, hint)
        elif isinstance(item, SysvSegment) and not may(limits, IPC_LOCK) and limits.hugetlb_shm_group != host.own_gid():
            message = "System V segments of huge pages take root (CAP_IPC_LOCK)"
            hint = "`family: memfd` does not, and neither does the group in vm.hugetlb_shm_group."
            yield loaded.marks.problem(where, "privilege", message, hint)


RULES: tuple[Rule, ...] = (
    users, niceness, schedulers, processors, resource_limits, locked_memory, huge_pages,
)  # fmt: skip
