"""Prints what arrived, the last message first: a System V queue lets its reader choose."""

from orchestra_client import attach

with attach() as run:
    loud = run.queue("loud")
    for number in (5, 4, 3, 2, 1):
        print(number, loud.receive(type=number).text)
