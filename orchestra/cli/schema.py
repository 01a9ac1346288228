"""`orchestra schema`: the JSON Schema of topology files, for editors and other checkers."""

from __future__ import annotations

import json

from orchestra.cli.options import emit

EXAMPLES = """
orchestra schema > orchestra.schema.json
"""


def schema() -> int:
    """Print the JSON Schema of topology files.

    An editor with a YAML language server completes and checks a topology that
    begins with the line
    # yaml-language-server: $schema=orchestra.schema.json
    """
    from orchestra.topology.schema import json_schema

    emit(json.dumps(json_schema(), indent=2) + "\n")
    return 0
