"""One case per kind, on the real kernel and on the fake one; what a test makes is removed after it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from orchestra.errors import KernelError
from orchestra.kernel.api import Adapter
from orchestra.kernel.fake import FakeHost, fake_adapters
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import OBJECT_KINDS, Family, Handle, Kind, Spec
from tests.conformance import witness

NAMELESS = (Family.MEMFD, Family.ANONYMOUS)
REAL = [(family, kind, False) for family, kind in OBJECT_KINDS]
ALL = REAL + [(family, kind, True) for family, kind in OBJECT_KINDS if family not in NAMELESS]


@dataclass
class Case:
    """One adapter under test, with fresh specs for it and the witness that judges it."""

    adapter: Adapter
    new_name: Callable[[], str]
    folder: Path
    fake: FakeHost | None = None
    made: list[Handle] = field(default_factory=list)

    @property
    def family(self) -> Family:
        return self.adapter.family

    @property
    def kind(self) -> Kind:
        return self.adapter.kind

    @property
    def is_nameless(self) -> bool:
        """Whether it dies with its last descriptor instead of by removal."""
        return self.family in NAMELESS

    def spec(self, **changes: Any) -> Spec:
        """Return a small object of this kind under a name or key that nobody else uses."""
        base = Spec(self.family, self.kind)
        if self.family is Family.SYSV:
            base = base._replace(key=0x8000_0000 | secrets.randbits(31))
        elif self.family in (Family.FILE, Family.FIFO):
            base = base._replace(name=str(self.folder / secrets.token_hex(6)))
        elif self.family is not Family.ANONYMOUS:
            base = base._replace(name=self.new_name())
        if self.kind is Kind.SEGMENT:
            base = base._replace(size=5000)
        if self.kind is Kind.SEMAPHORE:
            base = base._replace(values=(1, 0, 8) if self.family is Family.SYSV else (3,))
        if self.kind is Kind.QUEUE:
            sysv = self.family is Family.SYSV
            base = base._replace(capacity=8000) if sysv else base._replace(max_messages=3, message_size=64)
        return base._replace(**changes)

    def create(self, spec: Spec | None = None) -> Handle:
        """Create, and remember for the end of the test."""
        handle = self.adapter.create(spec or self.spec())
        self.made.append(handle)
        return handle

    def seen(self, handle: Handle) -> witness.Seen | None:
        """What the witness says of it."""
        return witness.look(handle.ref, handle.fds, self.fake)

    def forget(self, handle: Handle) -> None:
        """Remove it now, or close it where it has no name."""
        self.made.remove(handle)
        for fd in handle.fds:
            os.close(fd)
        self.adapter.remove(handle.ref)

    def hides_itself(self, mode: int) -> bool:
        """Whether it cannot even be looked at: an ordinary user's queue that its mode closes, where none is mounted."""
        closed = self.fake is None and (self.family, self.kind) == (Family.POSIX, Kind.QUEUE) and not mode & 0o600
        return closed and os.getuid() != 0 and not self.adapter.list().complete

    def clean(self) -> None:
        """Remove whatever is left."""
        for handle in list(self.made):
            with suppress(KernelError):
                self.forget(handle)


def over(
    *families: Family,
    kind: Kind | None = None,
    unless: tuple[Family, ...] = (),
    pairs: Sequence[tuple[Family, Kind]] = OBJECT_KINDS,
    real_only: bool = False,
) -> pytest.MarkDecorator:
    """Run a test as `case` over all kinds, or those of some families or one kind; fakes too where not `real_only`."""
    chosen = [
        row
        for row in (REAL if real_only else ALL)
        if (not families or row[0] in families)
        and kind in (None, row[1])
        and row[0] not in unless
        and (row[0], row[1]) in pairs
    ]
    return pytest.mark.parametrize("case", chosen, indirect=True, ids=_label)


def _label(parameters: tuple[Family, Kind, bool]) -> str:
    family, kind, fake = parameters
    return f"{'fake-' if fake else ''}{family}-{kind}"


@pytest.fixture
def make_case(ipc_name: Callable[[], str], tmp_path: Path) -> Iterator[Callable[[Family, Kind, bool], Case]]:
    """Return a maker of cases, which are cleaned up after the test."""
    cases: list[Case] = []

    def make(family: Family, kind: Kind, on_fake: bool = False) -> Case:
        host = FakeHost(uid=os.getuid(), gid=os.getgid()) if on_fake else None
        adapter = fake_adapters(host)[family, kind] if host else adapter_for(family, kind)
        cases.append(Case(adapter, ipc_name, tmp_path, host))
        return cases[-1]

    yield make
    for case in cases:
        case.clean()
        if case.fake:
            case.fake.__exit__()


@pytest.fixture
def case(request: pytest.FixtureRequest, make_case: Callable[[Family, Kind, bool], Case]) -> Case:
    """The kind that `over` chose."""
    return make_case(*request.param)


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    """Return os.umask; the old one comes back after the test."""
    before = os.umask(0o022)
    os.umask(before)
    yield os.umask
    os.umask(before)
