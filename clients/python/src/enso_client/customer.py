"""The token with which your server vouches for a customer to the page snippet."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from datetime import timedelta

MAX_LIFETIME = timedelta(days=31)


def sign_customer(
    customer: str, *, secret: str, lifetime: timedelta = timedelta(hours=12), now: float | None = None
) -> str:
    """A token for `data-token` of the snippet: `v1.<payload>.<HMAC-SHA256>`, good for `lifetime`.

    `secret` is the signing secret (`cs_…`) of your public key; it stays on your server. ValueError where the customer's id
    is empty or longer than 200 characters, or the lifetime above 31 days.
    """
    if not 0 < len(customer) <= 200:
        raise ValueError("a customer's id has 1–200 characters")
    if not timedelta(0) < lifetime <= MAX_LIFETIME:
        raise ValueError("a token may be good for up to 31 days")
    expires = int((time.time() if now is None else now) + lifetime.total_seconds())
    payload = json.dumps({"customer": customer, "exp": expires}, ensure_ascii=False, separators=(",", ":"))
    signed = f"v1.{_encode(payload.encode())}"
    return f"{signed}.{_encode(hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest())}"


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
