"""What a child may write to instead of a pipe: a terminal that nobody sits at, of its own.

A stream gets its own pseudo terminal, so that standard output and standard error stay two streams in the log and both
are terminals to the program. That of stdout becomes the controlling terminal of the child's session.
"""

from __future__ import annotations

import fcntl
import os
import struct
import termios

ROWS, COLUMNS = 24, 80  # what programs have always been able to expect
TYPE = "xterm"  # TERM, where the caller has none: what nearly every program knows
_OUTPUT_FLAGS, _LOCAL_FLAGS = 1, 3  # places in what tcgetattr returns


def open_terminal() -> tuple[int, int]:
    """Return (our end, the child's end), both close-on-exec. Raises OSError.

    Output comes through as it is written: no carriage return is put before a newline. Nothing is echoed.
    """
    ours, theirs = os.openpty()
    try:
        settings = termios.tcgetattr(theirs)
        settings[_OUTPUT_FLAGS] &= ~termios.OPOST
        settings[_LOCAL_FLAGS] &= ~termios.ECHO
        termios.tcsetattr(theirs, termios.TCSANOW, settings)
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    except BaseException:
        os.close(ours)
        os.close(theirs)
        raise
    return ours, theirs
