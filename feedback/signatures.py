"""How a webhook proves where it comes from: HMAC-SHA256 over the time and the exact body. Pure.

The header is `Enso-Signature: t=1767225600,v1=<hex>`; while a secret is being rotated it holds one v1 per secret.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

HEADER = "Enso-Signature"
TOLERANCE_SECONDS = 300


def sign(body: bytes, *, secrets: Sequence[str], at: int) -> str:
    """The header's value. `at` is in seconds since 1970.

    >>> sign(b"{}", secrets=["s"], at=1)
    't=1,v1=b253639bcd705ed1cda3073f66104f16988bd40272584dea7d0d345ae93e61cc'
    """
    return ",".join([f"t={at}", *(f"v1={_digest(body, secret, at)}" for secret in secrets)])


def verified(body: bytes, header: str, *, secret: str, now: float, tolerance: float = TOLERANCE_SECONDS) -> bool:
    """Whether one of the signatures is right and no older (or newer) than `tolerance` seconds."""
    parts = [part.partition("=")[::2] for part in header.split(",")]
    moments = [value for name, value in parts if name == "t"]
    if len(moments) != 1 or not (moments[0].isascii() and moments[0].isdigit() and len(moments[0]) < 16):
        return False
    at = int(moments[0])
    expected = _digest(body, secret, at)
    given = [value for name, value in parts if name == "v1" and value.isascii()]
    return abs(now - at) <= tolerance and any(hmac.compare_digest(expected, value) for value in given)


def _digest(body: bytes, secret: str, at: int) -> str:
    return hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
