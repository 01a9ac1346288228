"""Sphinx settings. Built with warnings as errors; nothing is fetched while building or reading."""

from __future__ import annotations

import orchestra

project = "orchestra"
author = "The orchestra authors"
version = release = orchestra.__version__

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "changelog.d"]
html_extra_path = ["reference/orchestra.schema.json"]
nitpicky = True

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]

smartquotes = False  # -- and quotes belong to commands here

html_theme = "furo"
html_title = f"orchestra {release}"
html_copy_source = False
html_show_sphinx = False
