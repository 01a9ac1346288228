"""Reads the text and sends its words, as many in one message as fit."""

import hashlib
import os
import sys

from orchestra_client import attach
from words import SENT, SPACE, packed


def words_of(file, limit):
    """Yield every word of a file, whatever its size: a block is cut at its last white space, the rest waits."""
    rest = b""
    while True:
        block = file.read(1 << 16)
        text = rest + block
        *words, rest = SPACE.split(text)
        if not block:
            words.append(rest)
        for word in filter(None, words):
            yield word if len(word) <= limit else shortened(word)
        if not block:
            return


def shortened(word):
    """Return what stands for a word that fits in no message: how it begins, and what tells it from others."""
    return b"%b...%d-bytes-%b" % (word[:40], len(word), hashlib.sha256(word).hexdigest()[:16].encode())


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
