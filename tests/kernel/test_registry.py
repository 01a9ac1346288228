"""Adapters are found, kept, and loaded only when asked for."""

from __future__ import annotations

import subprocess
import sys

from orchestra.kernel.registry import adapter_for, all_adapters
from orchestra.kinds import Family, Kind


def test_an_adapter_is_made_once() -> None:
    assert adapter_for(Family.POSIX, Kind.QUEUE) is adapter_for(Family.POSIX, Kind.QUEUE)
    assert len(set(map(id, all_adapters()))) == 10


def test_only_what_is_asked_for_is_loaded() -> None:
    script = (
        "import sys\n"
        "from orchestra.kernel.registry import adapter_for\n"
        "from orchestra.kinds import Family, Kind\n"
        "adapter_for(Family.SYSV, Kind.QUEUE).list()\n"
        "print(*sorted(m for m in sys.modules if m.endswith('_ipc') or m.startswith('orchestra.kernel.')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "orchestra.kernel.sysv_mq" in loaded
    assert not {"posix_ipc", "sysv_ipc", "orchestra.kernel.posix_mq", "orchestra.kernel.fake"} & set(loaded)
