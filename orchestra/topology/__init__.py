"""Topology files: YAML or JSON in, a validated model and a run plan out. Pure."""

from __future__ import annotations

from orchestra.topology.plugins import keep_out

keep_out()
