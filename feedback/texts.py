"""What counts as a text, and which fold it belongs to. Pure: neither Django nor the database."""

from __future__ import annotations

import hashlib
import re
import unicodedata

MAX_CHARACTERS = 8_000
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_WORD = re.compile(r"[^\W\d_]+|\d+", re.UNICODE)
TRAIN, CALIBRATE, TEST = 0, 1, 2


def fault_in(text: str, *, limit: int = MAX_CHARACTERS) -> str | None:
    """What is wrong with a customer's text, as a sentence that says what to do, or None.

    >>> fault_in("Where is my parcel?")
    >>> fault_in("   ")
    'must not be empty'
    """
    if not text.strip():
        return "must not be empty"
    if len(text) > limit:
        return f"has {len(text):,} characters, up to {limit:,} are allowed: shorten it"
    if _CONTROL.search(text):
        return "holds control characters (binary data?): send plain text"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "holds half a surrogate pair: send valid Unicode"
    return None


def group_digest(text: str) -> bytes:
    """16 bytes that near-duplicates share: the same words in the same order, whatever their case, width, digits, punctuation.

    >>> group_digest("Where is order 1234?") == group_digest("where is order 98 ??")
    True
    """
    words = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    key = " ".join("0" if w.isdigit() else w for w in words) or text.strip()
    return hashlib.blake2b(key.encode(), digest_size=16).digest()


def fold_of(group: bytes) -> int:
    """80 train, 10 calibrate, 10 test, by the group's hash: fixed for ever and the same for near-duplicates (DESIGN §5.3)."""
    share = int.from_bytes(group[:8], "big") % 10
    return TRAIN if share < 8 else CALIBRATE if share == 8 else TEST
