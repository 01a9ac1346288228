"""Looks at what an earlier run left in each object, tells the taker, and leaves something itself."""

import os

from orchestra_client import attach

with attach() as run, open(run.pipe("feed").fd, "w") as feed:
    for key in ("letters", "parcels"):
        queue = run.queue(key)
        found = 0
        while queue.receive(timeout=0):
            found += 1
        queue.send("something to find")
        print(f"{key}: {found} message{'s' * (found != 1)} from before, one left", file=feed)

    for key in ("board", "table", "journal"):
        segment = run.segment(key)
        before = bytes(segment).rstrip(b"\0").decode() or "nothing"
        segment[:17] = b"something to read"
        print(f"{key}: {before} from before, something left", file=feed)

    for key, index in (("slots", 0), ("locks", 2)):
        semaphore = run.semaphore(key, index)
        before = semaphore.value
        semaphore.acquire(timeout=0)
        print(f"{key}: was {before}, is {semaphore.value}", file=feed)

    scratch = run.segment("scratch")
    scratch[:4] = b"gone"
    print("feed: carried these lines, and is gone with its last holder", file=feed, flush=True)

    control = run.pipe("control").fd  # opening a FIFO waits for its other side
    os.write(control, b"look\n")
