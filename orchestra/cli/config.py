"""`orchestra config`: the file as orchestra understands it: merged, filled in, defaults shown, with origins."""

from __future__ import annotations

from orchestra.cli.options import FileArgument, Format, FormatOption, SetOption, TopologyOption, emit
from orchestra.views.answer import render_json

EXAMPLES = """
orchestra config                      ./orchestra.yaml
orchestra config pipeline.yaml --set rate=50
orchestra config --format json | jq .origins
"""


def config(
    topology: FileArgument = None,
    file: TopologyOption = None,
    set_: SetOption = None,
    format_: FormatOption = Format.TABLE,
) -> int:
    """Show the resolved file and where its values come from.

    Included files are merged, variables filled in, short forms written out,
    paths absolute, defaults shown. Each line ends with its origin: the file
    and line, the variable or the environment a part of it came from, or
    `default`. What is printed is a valid topology file.
    """
    from orchestra.cli.prepare import read_file, tell_warnings
    from orchestra.topology.resolved import resolve

    loaded = read_file(topology, file, set_ or ())
    tell_warnings(loaded.warnings)
    resolved = resolve(loaded, defaults=True)
    if format_ is Format.JSON:
        emit(render_json("config", {"file": loaded.file, **resolved.to_json()}))
    else:
        emit(resolved.to_yaml())
    return 0
