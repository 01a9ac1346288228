"""Reads the text and sends its words, as many in one message as fit."""

import os
import sys

from orchestra_client import attach
from words import SENT, packed, words_of


def opened(folder, name):
    try:
        return open(os.path.join(folder, name), "rb")
    except OSError as err:
        sys.exit(f"cannot read {err.filename}: {err.strerror}")


limit, folder, name = int(sys.argv[1]), sys.argv[2], sys.argv[3]
with opened(folder, name) as file, attach() as run:
    pieces = run.queue("pieces")
    sent = 0
    for piece in packed(words_of(file, limit), b" ", limit):
        pieces.send(piece)
        sent += 1
    pieces.send(b"")  # the end; the worker that takes it puts it back for the next one
    run.queue("counts").send(str(sent), type=SENT)
