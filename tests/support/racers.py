"""A process that gets in the way of a removal at a chosen step, a thousand times; run as a program in its own box.

The one that removes and the one that interferes are two processes. What interferes is told apart from what was looked
at, so that a wrong removal shows. The answer is JSON: for each race, how often it was run, how often the object was
removed all the same, and what was wrong.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from contextlib import suppress
from dataclasses import dataclass

from orchestra.kernel import libc, namespaces, procfs
from orchestra.kernel.exact import remove_exact
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import Family, Holders, Identity, Kind, ObjectRef, Spec

NOBODY = Holders(())
SYSV = (Kind.QUEUE, Kind.SEGMENT, Kind.SEMAPHORE)
_SPAN = 200e-6  # seconds within which a removal begins and ends: somebody interferes at any moment of it
NEXT_ID = {Kind.QUEUE: "msg", Kind.SEGMENT: "shm", Kind.SEMAPHORE: "sem"}


@dataclass
class Tally:
    """What came of one race."""

    tries: int = 0
    removed: int = 0
    wrong: int = 0


class Other:
    """The process that interferes: it does what its functions say, when it is told to."""

    def __init__(self) -> None:
        ask, self._ask = os.pipe()
        self._answer, answer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._ask)
            hands = Hands()
            with open(ask) as orders, open(answer, "w") as answers:
                for line in orders:
                    name, *words = json.loads(line)
                    print(json.dumps(getattr(hands, name)(*words)), file=answers, flush=True)
            os._exit(0)
        self._orders, self._answers = open(self._ask, "w"), open(self._answer)  # noqa: SIM115

    def do(self, *order: object) -> object:
        print(json.dumps(order), file=self._orders, flush=True)
        return json.loads(self._answers.readline())

    def start(self, *order: object) -> None:
        """Give an order and do not wait for it."""
        print(json.dumps(order), file=self._orders, flush=True)

    def finish(self) -> object:
        """Return what came of it."""
        return json.loads(self._answers.readline())

    def end(self) -> None:
        self._orders.close()
        os.waitpid(self.pid, 0)


class Hands:
    """What the other process can do. Each returns something that JSON can hold."""

    def __init__(self) -> None:
        self.held: list[int] = []

    def recycle(self, kind: str, number: int, key: int) -> int:
        """Remove the object of this id and make another one that gets the same id."""
        what = Kind(kind)
        adapter = adapter_for(Family.SYSV, what)
        adapter.remove(ObjectRef(Family.SYSV, what, id=number))
        with open(f"/proc/sys/kernel/{NEXT_ID[what]}_next_id", "w") as file:
            file.write(str(number))
        return made(Family.SYSV, what, key=key)[1].id or 0

    def attach(self, number: int) -> int:
        """Attach a segment and keep it."""
        import sysv_ipc

        sysv_ipc.attach(number)
        return number

    def detach_all(self) -> int:
        """Let go of everything: this process starts over."""
        for fd in self.held:
            os.close(fd)
        self.held.clear()
        return 0

    def open(self, path: str) -> bool:
        """Open a file of /dev/shm and keep it; False when somebody's lease is in the way."""
        try:
            self.held.append(os.open(path, os.O_RDWR | os.O_NONBLOCK))
        except OSError:
            return False
        return True

    def open_queue(self, name: str) -> bool:
        try:
            self.held.append(libc.mq_open(name, os.O_RDONLY | os.O_NONBLOCK))
        except OSError:
            return False
        return True

    def open_later(self, delay: float, kind: str, name: str) -> float | None:
        """Open it at any moment from now, as most programs do; return when that had happened, None if it was gone."""
        spin(delay)
        try:
            if Kind(kind) is Kind.QUEUE:
                self.held.append(libc.mq_open(name, os.O_RDONLY))
            else:
                self.held.append(os.open(path_of(Kind(kind), name), os.O_RDWR))
        except FileNotFoundError:
            return None
        return time.perf_counter()

    def again_later(self, delay: float, kind: str, name: str) -> list[int | None]:
        """Give the name to another object at any moment from now."""
        spin(delay)
        return self.again(kind, name)

    def again(self, kind: str, name: str) -> list[int | None]:
        """Remove the name and give it to another object; return that one's inode."""
        what = Kind(kind)
        adapter_for(Family.POSIX, what).remove(ObjectRef(Family.POSIX, what, name=name))
        identity = made(Family.POSIX, what, name=name)[1]
        return [identity.st_dev, identity.st_ino]


def made(family: Family, kind: Kind, *, name: str | None = None, key: int = 0) -> tuple[ObjectRef, Identity]:
    spec = Spec(
        family, kind, name=name, key=None if name else key, size=4096, values=(1,), max_messages=1, message_size=8
    )
    handle = adapter_for(family, kind).create(spec)
    return handle.ref, handle.identity


def race(ref: ObjectRef, identity: Identity, other: Other, *order: object) -> tuple[bool, object]:
    """Remove it, while `other` follows its order before everything, or just before the last comparison.

    Return whether it was removed, and what the other answered.
    """
    step = random.choice(("", "leased"))
    answers = []

    def interfere(now: str) -> None:
        if now == step:
            answers.append(other.do(*order))

    interfere("")
    attempt = remove_exact(ref, identity, holders=lambda _: NOBODY, checkpoint=interfere)
    return attempt.removed, answers[0] if answers else None


def wait_for_zero(number: int) -> None:
    """Block until the first semaphore of a set is 0."""
    import sysv_ipc

    key = next(row.key for row in procfs.sysv_sets() if row.id == number)
    sysv_ipc.Semaphore(key).Z()


def recycled(tries: int, other: Other) -> Tally:
    tally = Tally()
    for number in range(tries):
        kind = SYSV[number % 3]
        ref, identity = made(Family.SYSV, kind, key=0x0C7A0001)
        order = ("recycle", kind.value, identity.id, 0x0C7A0002 if number % 2 else 0)
        removed, again = race(ref, identity, other, *order)
        stays = adapter_for(Family.SYSV, kind).stat(ObjectRef(Family.SYSV, kind, id=identity.id))
        tally.tries += 1
        tally.removed += removed
        tally.wrong += stays is None or again != identity.id
        adapter_for(Family.SYSV, kind).remove(ObjectRef(Family.SYSV, kind, id=identity.id))
    return tally


def attached(tries: int) -> Tally:
    tally = Tally()
    for number in range(tries):
        if number % 100 == 0:  # what it attached ends with it
            other = Other()
        ref, identity = made(Family.SYSV, Kind.SEGMENT)
        removed, _ = race(ref, identity, other, "attach", identity.id)
        stays = adapter_for(Family.SYSV, Kind.SEGMENT).stat(ObjectRef(Family.SYSV, Kind.SEGMENT, id=identity.id))
        tally.tries += 1
        tally.removed += removed
        tally.wrong += removed or stays is None or stays.marked
        adapter_for(Family.SYSV, Kind.SEGMENT).remove(ObjectRef(Family.SYSV, Kind.SEGMENT, id=identity.id))
        if number % 100 == 99:
            other.end()
    return tally


def opened(tries: int, other: Other, prefix: str) -> Tally:
    tally = Tally()
    for number in range(tries):
        kind = SYSV[number % 3]
        name = f"{prefix}.{number}"
        ref, identity = made(Family.POSIX, kind, name=name)
        order = ("open_queue", name) if kind is Kind.QUEUE else ("open", path_of(kind, name))
        removed, _ = race(ref, identity, other, *order)
        stays = adapter_for(Family.POSIX, kind).stat(ref)
        tally.tries += 1
        tally.removed += removed
        tally.wrong += removed or stays is None
        other.do("detach_all")
        adapter_for(Family.POSIX, kind).remove(ref)
    return tally


def named_again(tries: int, other: Other, prefix: str) -> Tally:
    tally = Tally()
    for number in range(tries):
        kind = SYSV[number % 3]
        name = f"{prefix}.{number}"
        ref, identity = made(Family.POSIX, kind, name=name)
        order = ("again", kind.value, name)
        removed, second = race(ref, identity, other, *order)
        stays = adapter_for(Family.POSIX, kind).stat(ref)
        tally.tries += 1
        tally.removed += removed
        now = None if stays is None else [stays.identity.st_dev, stays.identity.st_ino]
        tally.wrong += removed or second != now
        adapter_for(Family.POSIX, kind).remove(ref)
    return tally


def spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def opened_at_random(tries: int, other: Other, prefix: str) -> Tally:
    """Wrong: it was removed, though somebody had it open before the lease. Who comes later waits, or finds nothing."""
    tally = Tally()
    for number in range(tries):
        kind = SYSV[number % 3]
        ref, identity = made(Family.POSIX, kind, name=f"{prefix}.{number}")
        leased: list[float] = []
        other.start("open_later", random.random() * _SPAN, kind.value, ref.name)
        attempt = remove_exact(
            ref, identity, holders=lambda _: NOBODY,
            checkpoint=lambda step, at=leased: at.append(time.perf_counter()),  # type: ignore[misc]
        )  # fmt: skip
        opened_at = other.finish()
        tally.tries += 1
        tally.removed += attempt.removed
        tally.wrong += attempt.removed and isinstance(opened_at, float) and opened_at < leased[0]
        other.do("detach_all")
        adapter_for(Family.POSIX, kind).remove(ref)
    return tally


def named_again_at_random(tries: int, other: Other, prefix: str, kinds: tuple[Kind, ...]) -> Tally:
    """Wrong: the second object lost its name. Nothing closes that window for a queue: there it is counted."""
    tally = Tally()
    for number in range(tries):
        kind = kinds[number % len(kinds)]
        ref, identity = made(Family.POSIX, kind, name=f"{prefix}.{number}")
        other.start("again_later", random.random() * _SPAN, kind.value, ref.name)
        attempt = remove_exact(ref, identity, holders=lambda _: NOBODY)
        second = other.finish()
        stays = adapter_for(Family.POSIX, kind).stat(ref)
        there = stays is not None and [stays.identity.st_dev, stays.identity.st_ino] == second
        tally.tries += 1
        tally.removed += attempt.removed
        tally.wrong += not there
        adapter_for(Family.POSIX, kind).remove(ref)
    return tally


def undisturbed(tries: int, prefix: str) -> tuple[Tally, float]:
    """Nobody interferes: everything goes. Also the longest and the usual moment between comparison and removal."""
    tally, windows = Tally(), []
    for number in range(tries):
        kind, family = SYSV[number % 3], (Family.SYSV, Family.POSIX)[number % 2]
        name = f"{prefix}.{number}" if family is Family.POSIX else None
        ref, identity = made(family, kind, name=name)
        attempt = remove_exact(ref, identity, holders=lambda _: NOBODY)
        windows.append(attempt.window)
        tally.tries += 1
        tally.removed += attempt.removed
        tally.wrong += (
            not attempt.removed
            or adapter_for(family, kind).stat(ref if name else ObjectRef(family, kind, id=identity.id)) is not None
        )
        with suppress(Exception):
            adapter_for(family, kind).remove(ref)
    windows.sort()
    return tally, windows[len(windows) // 2]


def path_of(kind: Kind, name: str) -> str:
    return f"/dev/shm/{'sem.' if kind is Kind.SEMAPHORE else ''}{name[1:]}"


def main(tries: int) -> None:
    namespaces.make_private_ipc({"fs.mqueue.msg_max": 10})
    other, prefix = Other(), f"/orct.race.{os.getpid()}"
    calm, window = undisturbed(min(tries, 300), prefix)
    answer = {
        "recycled": vars(recycled(tries, other)),
        "attached": vars(attached(tries)),
        "opened": vars(opened(tries, other, prefix)),
        "named again": vars(named_again(tries, other, prefix)),
        "opened at random": vars(opened_at_random(tries, other, prefix)),
        "named again at random": vars(named_again_at_random(tries, other, prefix, (Kind.SEGMENT, Kind.SEMAPHORE))),
        "queue named again at random": vars(named_again_at_random(tries, other, prefix, (Kind.QUEUE,))),
        "undisturbed": vars(calm),
        "window": window,
    }
    other.end()
    print(json.dumps(answer))


if __name__ == "__main__":
    random.seed(int(sys.argv[2]))
    main(int(sys.argv[1]))
