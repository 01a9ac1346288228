"""Objects made for a test, and programs wired to them as a run would, without a supervisor."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from orchestra.bindings import Binding, object_variables
from orchestra.cli.clientfiles import library_folder
from orchestra.kernel.process import reopen
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import Access, Family, Handle, Kind, Spec

_WITH_DESCRIPTOR = {Family.MEMFD, Family.ANONYMOUS, Family.POSIX}


class Wired:
    """Makes objects, removes them at the end, and hands them to programs by the rules of the wiring page."""

    def __init__(self, folder: Path, names: Callable[[], str]) -> None:
        self.folder, self.names = folder, names
        self.handles: dict[str, tuple[Handle, Spec, dict[str, Any]]] = {}
        self.stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        self.stack.close()

    def make(
        self, key: str, family: str, kind: str, /, *, extra: Mapping[str, Any] | None = None, **shape: Any
    ) -> Handle:
        """Create one object; `shape` holds fields of Spec."""
        which = Family(family), Kind(kind)
        if which[0] is Family.SYSV:
            shape.setdefault("key", secrets.randbelow(2**31 - 2) + 1)
        elif which[0] in (Family.FILE, Family.FIFO):
            shape.setdefault("name", str(self.folder / key))
        else:
            shape.setdefault("name", self.names())
        spec = Spec(*which, **shape)
        handle = adapter_for(*which).create(spec)
        self.stack.callback(self._remove, handle)
        self.handles[key] = handle, spec, dict(extra or {})
        return handle

    def bindings(self, uses: Mapping[str, str], fds: Callable[[int], object]) -> list[Binding]:
        """Return what a user of these objects is told; each descriptor opened for it is given to `fds`."""
        found = []
        for key, access in uses.items():
            handle, spec, extra = self.handles[key]
            fd = self._open(handle, Access(access))
            if fd is not None:
                fds(fd)
            by_name = spec.family in (Family.POSIX, Family.FILE, Family.FIFO)
            found.append(
                Binding(
                    key,
                    spec.family,
                    spec.kind,
                    Access(access),
                    name=handle.ref.name if by_name else None,
                    id=handle.ref.id if spec.family is Family.SYSV else None,
                    ipc_key=spec.key if spec.family is Family.SYSV else None,
                    fd=fd,
                    size=spec.size,
                    extra=extra,
                )
            )
        return found

    def environment(self, uses: Mapping[str, str], fds: Callable[[int], object]) -> dict[str, str]:
        """Return the variables of a process that `uses` these objects."""
        return {
            "ORCHESTRA_VERSION": "1",
            "ORCHESTRA_TOPOLOGY": "test",
            "ORCHESTRA_INSTANCE": "test",
            "ORCHESTRA_RUN": "r0000000",
            "ORCHESTRA_PROCESS": "program",
            "ORCHESTRA_REPLICA": "1",
            "ORCHESTRA_PATH": str(library_folder()),
            **object_variables(self.bindings(uses, fds)),
        }

    def start(
        self, command: Sequence[str], uses: Mapping[str, str], *, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start a program in `folder`, wired; it is ended with the test if it still runs then."""
        with ExitStack() as opened:
            fds: list[int] = []
            wiring = self.environment(uses, fds.append)
            for fd in fds:
                opened.callback(os.close, fd)
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(library_folder()), **wiring, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=fds,
                text=True,
            )
        self.stack.callback(_end, process)
        return process

    def python(self, code: str, uses: Mapping[str, str], *, python: str = sys.executable, **more: Any) -> str:
        """Run Python code to its end, wired; return what it printed. Fails the test when it fails."""
        process = self.start([python, "-c", code], uses, **more)
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
        return out

    def _open(self, handle: Handle, access: Access) -> int | None:
        ref = handle.ref
        if ref.kind is Kind.SEMAPHORE or ref.family not in _WITH_DESCRIPTOR:
            return None
        if ref.family is Family.ANONYMOUS:
            return os.dup(handle.fds[0 if access is Access.READ else 1])
        if ref.family is Family.MEMFD:
            return reopen(handle.fds[0], access)
        return adapter_for(ref.family, ref.kind).open(ref, access)

    def _remove(self, handle: Handle) -> None:
        for fd in handle.fds:
            with suppress(OSError):
                os.close(fd)
        if handle.ref.family not in (Family.MEMFD, Family.ANONYMOUS):
            adapter_for(handle.ref.family, handle.ref.kind).remove(handle.ref)


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.kill()
    process.communicate()
