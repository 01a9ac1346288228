"""Nobody's plug-ins look into our models, and nothing is imported to look for them."""

from __future__ import annotations

import subprocess
import sys

LOADED = "import sys, orchestra.topology.model as m; m.Topology.model_validate({'version': 1}); print(*sys.modules)"


def test_what_reading_a_file_does_not_import() -> None:
    found = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, timeout=60, check=True)
    assert not {"importlib.metadata", "email", "zipfile"} & set(found.stdout.split())


def test_a_loader_that_is_there_already_stays() -> None:
    script = (
        "import sys, types\n"
        "sys.modules['pydantic.plugin._loader'] = mine = types.ModuleType('mine')\n"
        "from orchestra.topology.plugins import keep_out\n"
        "keep_out()\n"
        "print(sys.modules['pydantic.plugin._loader'] is mine)\n"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert found.stdout == "True\n"
