"""Counts the words of the pieces it gets, then reports to the collector."""

from collections import Counter

from orchestra_client import attach
from words import COUNTED, REPORT, WORDS, packed

with attach() as run:
    pieces, counts = run.queue("pieces"), run.queue("counts")
    tally, counted = Counter(), 0
    while piece := pieces.receive().body:
        tally.update(piece.split(b" "))
        counted += 1
    pieces.send(b"")
    lines = (b"%d %b" % (count, word) for word, count in tally.items())
    for report in packed(lines, b"\n", REPORT):
        counts.send(report, type=WORDS)
    counts.send(str(counted), type=COUNTED)
