"""Topology files: YAML or JSON in, a validated model and a run plan out. Pure."""
