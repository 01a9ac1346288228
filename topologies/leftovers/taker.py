"""Prints what the giver tells through the anonymous pipe; then waits for a word through the FIFO."""

from orchestra_client import attach

with attach() as run:
    with open(run.pipe("control").fd) as control:
        word = control.readline().strip()
    with open(run.pipe("feed").fd) as feed:
        for line in feed:
            print(line, end="")
    print(f"control: said {word!r}, its path is left")
    print(f"scratch: holds {bytes(run.segment('scratch')[:4]).decode()!r}, and is gone with its last holder")
