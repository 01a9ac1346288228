"""`python -m orchestra.supervisor FD`: a guardian that gets its plan through the inherited socket FD."""

import sys

from orchestra.supervisor import guardian

if __name__ == "__main__":
    guardian.main(int(sys.argv[1]))
