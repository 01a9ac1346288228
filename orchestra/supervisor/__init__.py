"""The guardian and the supervisor: watch one run. Never loads pydantic, yaml or structlog."""
