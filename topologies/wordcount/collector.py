"""Adds up the reports of all workers, and prints the total and the ten most frequent words.

It knows that nothing is missing when the workers have counted as many pieces as the reader sent, however many
workers there are and in whatever order they finish.
"""

import sys
from collections import Counter

from orchestra_client import attach
from words import COUNTED, SENT, WORDS


def readable(word):
    text = word.decode("utf-8", "backslashreplace")
    return text if text.isprintable() else ascii(text)


with attach() as run:
    counts = run.queue("counts")
    tally, counted, sent = Counter(), 0, None
    while counted != sent:
        body, _, kind = counts.receive()
        if kind == SENT:
            sent = int(body)
        elif kind == COUNTED:
            counted += int(body)
        elif kind == WORDS:
            for line in body.split(b"\n"):
                count, word = line.split(b" ", 1)
                tally[word] += int(count)

sys.stdout.reconfigure(errors="backslashreplace")
print(f"{sum(tally.values())} words, {len(tally)} different")
for word, count in sorted(tally.items(), key=lambda item: (-item[1], item[0]))[:10]:
    print(f"{count:8} {readable(word)}")
