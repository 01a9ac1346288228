"""`orchestra config`: the file as orchestra understands it: merged, substituted, defaults filled in, with origins."""

from __future__ import annotations

import sys

from orchestra.cli.options import FileArgument, Format, FormatOption, SetOption, TopologyOption, emit
from orchestra.cli.values import parse_settings
from orchestra.views.ansi import paint_for
from orchestra.views.answer import render_json
from orchestra.views.tree import origins, plain, render_tree

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
    from orchestra.cli.origins import Tree
    from orchestra.cli.prepare import read_file

    loaded = read_file(topology, file, set_ or ())
    tree = Tree(loaded, parse_settings(set_ or ())).build()
    if format_ is Format.JSON:
        emit(render_json("config", {"file": loaded.file, "topology": plain(tree), "origins": origins(tree)}))
    else:
        emit(render_tree(tree, paint_for(sys.stdout)))
    return 0
