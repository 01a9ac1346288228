"""What reader, workers and collector agree on: what a word is, how messages are packed, and the types of reports."""

import hashlib
import re

# White space as `wc -w` sees it in a UTF-8 locale. The text stays bytes: it may be in any encoding, or in none.
SPACE = re.compile(
    rb"[ \t\n\v\f\r]"
    rb"|\xc2\xa0|\xe1\x9a\x80|\xe2\x80[\x80-\x8a\xaf]|\xe2\x81[\x9f\xa0]|\xe3\x80\x80"  # U+00A0, U+1680, U+2000 …
)

WORDS, COUNTED, SENT = 1, 2, 3  # types in the System V queue `counts`
REPORT = 8000  # bytes; a System V message has at most 8192 unless the host says otherwise


def words_of(file, limit):
    """Yield every word of a file. What follows the last white space of a block waits for the next block."""
    rest = b""
    while True:
        block = file.read(1 << 16)
        *words, rest = SPACE.split(rest + block)
        if not block:
            words.append(rest)
        for word in filter(None, words):
            yield word if len(word) <= limit else shortened(word)
        if not block:
            return


def shortened(word):
    """Return what stands for a word that fits in no message: how it begins, and what tells it from others."""
    return b"%b...%d-bytes-%b" % (word[:40], len(word), hashlib.sha256(word).hexdigest()[:16].encode())


def packed(items, separator, limit):
    """Join items into bodies of at most `limit` bytes; none of the items is longer."""
    body, size = [], 0
    for item in items:
        if size + len(item) > limit:
            yield separator.join(body)
            body, size = [], 0
        body.append(item)
        size += len(item) + len(separator)
    if body:
        yield separator.join(body)
