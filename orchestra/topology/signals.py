"""Names and numbers of signals on Linux, so that this layer needs nothing from the host. Source: signal(7)."""

from __future__ import annotations

# x86, ARM and every other architecture Python runs on but alpha, mips, parisc and sparc.
NUMBERS: dict[str, int] = {
    name: number
    for number, name in enumerate(
        "SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1 SIGSEGV SIGUSR2 SIGPIPE SIGALRM "
        "SIGTERM SIGSTKFLT SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGXCPU SIGXFSZ SIGVTALRM SIGPROF "
        "SIGWINCH SIGIO SIGPWR SIGSYS".split(),
        start=1,
    )
} | {"SIGRTMIN": 34, "SIGRTMAX": 64}


def normal_name(text: str) -> str | None:
    """Return `SIGTERM` for SIGTERM, TERM or sigterm; None when there is no such signal."""
    name = text.upper()
    name = name if name.startswith("SIG") else f"SIG{name}"
    return name if name in NUMBERS else None


def name_of(number: int) -> str | None:
    """Return the name of a signal number, or None."""
    return next((name for name, value in NUMBERS.items() if value == number), None)
