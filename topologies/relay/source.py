"""Sends five lines, then an empty message for the end."""

from orchestra_client import attach

PROVERBS = (
    "many hands make light work",
    "look before you leap",
    "the early bird catches the worm",
    "still waters run deep",
    "all is well that ends well",
)

with attach() as run:
    lines = run.queue("lines")
    for proverb in (*PROVERBS, ""):
        lines.send(proverb)
