"""Names and numbers of signals on Linux, so that this layer needs nothing from the host. Source: signal(7)."""

from __future__ import annotations

# x86, ARM and every other architecture Python runs on but alpha, mips, parisc and sparc.
_NAMES = (
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
)  # fmt: skip
NUMBERS: dict[str, int] = {
    **{f"SIG{name}": number for number, name in enumerate(_NAMES, start=1)},
    "SIGRTMIN": 34,
    "SIGRTMAX": 64,
}


def normal_name(text: str) -> str | None:
    """Return `SIGTERM` for SIGTERM, TERM or sigterm; None when there is no such signal."""
    name = text.upper()
    name = name if name.startswith("SIG") else f"SIG{name}"
    return name if name in NUMBERS else None


def name_of(number: int) -> str | None:
    """Return the name of a signal number, or None."""
    return next((name for name, value in NUMBERS.items() if value == number), None)
