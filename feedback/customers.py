"""Who the customer in front of a web page is, in a token that the app's server signs. Pure.

A token is `v1.<payload>.<signature>`: the payload is base64url of the JSON object {"customer": "…", "exp": seconds since
1970}, the signature base64url of HMAC-SHA256 over `v1.<payload>` with the signing secret of the page's public key. Neither
part is padded. The page only carries the token; it cannot make one, nor change whom it names.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

import msgspec

VERSION = "v1"
MAX_TOKEN = 1_000
# A token that never ends could be used for good by whoever once saw it.
MAX_LIFETIME_SECONDS = 31 * 86_400


class Claims(msgspec.Struct, forbid_unknown_fields=True):
    customer: str
    exp: int


class Forged(Exception):
    """Not a token, not signed with one of the secrets, or good for longer than is allowed."""


def signing_secret(*, server_secret: str, key_digest: str) -> str:
    """The secret with which an app's server signs for one public key: derived, so that it is stored nowhere.

    It changes with the public key and with the server's secret key.
    """
    derived = hmac.new(server_secret.encode(), f"enso customer token\0{key_digest}".encode(), hashlib.sha256).digest()
    return f"cs_{_encode(derived)}"


def sign(customer: str, *, secret: str, expires_at: int) -> str:
    """A token for a customer, good until `expires_at` (seconds since 1970)."""
    signed = f"{VERSION}.{_encode(msgspec.json.encode(Claims(customer, expires_at)))}"
    return f"{signed}.{_encode(_signature(signed, secret))}"


def customer_of(token: str, *, secrets: Sequence[str], now: float) -> str | None:
    """The customer that a token names, None when it has expired. Raises Forged."""
    signed, _, signature = token.rpartition(".")
    version, _, payload = signed.partition(".")
    if len(token) > MAX_TOKEN or version != VERSION or not token.isascii():
        raise Forged
    try:
        given = _decode(signature)
        claims = msgspec.json.decode(_decode(payload), type=Claims)
    except (binascii.Error, ValueError) as error:
        raise Forged from error
    if not any(hmac.compare_digest(given, _signature(signed, secret)) for secret in secrets):
        raise Forged
    if not 0 < len(claims.customer) <= 200 or claims.exp - now > MAX_LIFETIME_SECONDS:
        raise Forged
    return claims.customer if claims.exp > now else None


def _signature(signed: str, secret: str) -> bytes:
    return hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
