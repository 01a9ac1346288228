"""Small programs for scenarios, each with one bad habit. All say in a line what a test has to know."""

from __future__ import annotations

import sys


def python(script: str) -> tuple[str, ...]:
    """A command that runs a Python script without the cost of site-packages."""
    return (sys.executable, "-I", "-S", "-c", script)


# Waits for a signal, says so once it can be signalled.
WAITS = "echo ready; exec sleep 1000"

_PAUSE = "\nwhile True: signal.pause()\n"

# A leader that ends at once and leaves a child in its session, with its output open, deaf to SIGTERM.
LEAVES_A_DEAF_CHILD = python(
    "import os, signal\n"
    "ready, told = os.pipe()\n"
    "if os.fork() == 0:\n"
    "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "    print('deaf', os.getpid(), flush=True)\n"
    "    os.write(told, b'.')" + _PAUSE.replace("\n", "\n    ") + "\n"
    "os.read(ready, 1)\n"
)

# Forks twice: a grandchild in the same session whose parent is gone while the leader lives on.
FORKS_TWICE = python(
    "import os, signal\n"
    "if os.fork() == 0:\n"
    "    if os.fork() == 0:\n"
    "        signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "        print('grandchild', os.getpid(), flush=True)" + _PAUSE.replace("\n", "\n        ") + "\n"
    "    os._exit(0)\n"
    "os.wait()" + _PAUSE
)

# A daemon of the old school: a descendant in a session of its own that keeps the output open and is deaf to SIGTERM.
BECOMES_A_DAEMON = python(
    "import os, signal\n"
    "ready, told = os.pipe()\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    if os.fork() == 0:\n"
    "        signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "        print('daemon', os.getpid(), flush=True)\n"
    "        os.write(told, b'.')" + _PAUSE.replace("\n", "\n        ") + "\n"
    "    os._exit(0)\n"
    "os.read(ready, 1)\n"
)

# Everything at once, and the leader stays: for the death of the supervisor.
TREE = python(
    "import os, signal\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "def tell(word):\n"
    "    print(word, os.getpid(), flush=True)\n"
    "    while True: signal.pause()\n"
    "if os.fork() == 0: tell('child')\n"
    "if os.fork() == 0:\n"
    "    if os.fork() == 0: tell('grandchild')\n"
    "    os._exit(0)\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    if os.fork() == 0: tell('daemon')\n"
    "    os._exit(0)\n"
    "tell('leader')\n"
)


def pid_in(line: str) -> int:
    """The pid that a program told: the last word of its line."""
    return int(line.rsplit(maxsplit=1)[-1])
