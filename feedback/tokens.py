"""Bearer tokens (JWT, RFC 7519) of issuers that a project trusts, as RFC 8725 advises.

A token names its issuer row by `iss` and `aud`; the row says which keys (JWKS, RFC 7517) and which asymmetric algorithms
count, so neither `none` nor a public key used as an HMAC secret can pass. Keys are cached in process and fetched anew when
a token names one that is not known, at most once in REFETCH_SECONDS. Not handled: encrypted tokens, opaque tokens.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import msgspec

from feedback import outbound
from feedback.models import TokenIssuer
from feedback.principals import CACHE_SECONDS, CACHE_SIZE, Principal, allowance_of, digest, note_use
from feedback.problems import Problem

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
MAX_TOKEN = 8_192
LEEWAY_SECONDS = 30
MAX_JWKS = 256 * 1024
FETCH_SECONDS = 3.0
# Keys are looked at again after this long, and stay in use when the issuer cannot be reached for up to a day.
FRESH_SECONDS = 600.0
STALE_SECONDS = 86_400.0
REFETCH_SECONDS = 30.0
KEY_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}


class KeySet:
    """The keys of one issuer, by key id. `read` gives the JWKS document or raises Unreachable; one thread reads at a time."""

    def __init__(self, read: Callable[[], bytes], clock: Callable[[], float] = time.monotonic) -> None:
        self._read, self._clock, self._lock = read, clock, threading.Lock()
        self._keys: dict[str | None, dict[str, Any]] = {}
        self._read_at = self._tried_at = float("-inf")

    def key(self, key_id: str | None) -> dict[str, Any] | None:
        """The JWK that a token names (the only one where it names none); None where it is not among the issuer's."""
        with self._lock:
            found = self._find(key_id)
            age, rested = self._clock() - self._read_at, self._clock() - self._tried_at >= REFETCH_SECONDS
            if rested and (found is None or age > FRESH_SECONDS):
                self._refresh()
                found = self._find(key_id)
            if self._clock() - self._read_at > STALE_SECONDS:
                raise Problem(
                    503, "issuer-unreachable", "The keys of the token's issuer cannot be read.", retry_after=30
                )
            return found

    def _find(self, key_id: str | None) -> dict[str, Any] | None:
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    def _refresh(self) -> None:
        self._tried_at = self._clock()
        try:
            self._keys = parse_jwks(self._read())
        except (outbound.Unreachable, OSError, ValueError):
            return  # what is known stays good until STALE_SECONDS
        self._read_at = self._clock()


def parse_jwks(document: bytes) -> dict[str | None, dict[str, Any]]:
    """Key id → JWK, of public signature keys only; ValueError where the document is no JWKS."""
    try:
        keys = msgspec.json.decode(document, type=dict[str, Any])["keys"]
    except (msgspec.DecodeError, KeyError) as error:
        raise ValueError("this is no JWKS: it needs a list under «keys»") from error
    usable = [
        k
        for k in (keys if isinstance(keys, list) else [])
        if isinstance(k, dict) and k.get("kty") in KEY_TYPES.values() and k.get("use", "sig") == "sig" and "d" not in k
    ]
    if not usable:
        raise ValueError("the JWKS holds no public signature key")
    return {k.get("kid") if isinstance(k.get("kid"), str) else None: k for k in usable}


@dataclass
class Issuer:
    """One issuer row as this process knows it, with its keys."""

    row: TokenIssuer
    keys: KeySet
    known_at: float


@dataclass
class _Known:
    """What this process remembers: issuers by (iss, aud), and tokens by their hash until they must be checked again."""

    issuers: dict[tuple[str, str], Issuer] = field(default_factory=dict)
    tokens: dict[str, tuple[Principal, float, float]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def clear(self) -> None:
        with self.lock:
            self.issuers.clear()
            self.tokens.clear()


known = _Known()


def principal_of_token(token: str) -> Principal:
    """The app that a token speaks for; 401 saying what is wrong with it."""
    remembered = known.tokens.get(name := digest(token))
    if remembered is not None and remembered[1] > time.monotonic() and remembered[2] > time.time():
        return remembered[0]
    header, claims = _unverified(token)
    issuer = _issuer(claims)
    payload = _verified(token, header, issuer)
    principal = _principal(issuer.row, payload)
    with known.lock:
        if len(known.tokens) >= CACHE_SIZE:
            known.tokens.clear()
        known.tokens[name] = principal, time.monotonic() + CACHE_SECONDS, float(payload["exp"])
    return principal


def refused(detail: str) -> Problem:
    return Problem(401, "invalid-token", detail)


def _unverified(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims before the signature is looked at: only to find out whose keys must have signed."""
    if len(token) > MAX_TOKEN:
        raise refused(f"The token is longer than {MAX_TOKEN:,} characters.")
    try:
        return jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise refused("This is no JSON Web Token.") from error


def _issuer(claims: dict[str, Any]) -> Issuer:
    audiences = claims.get("aud")
    named = audiences if isinstance(audiences, list) else [audiences]
    for audience in named[:10]:
        if isinstance(claims.get("iss"), str) and isinstance(audience, str):
            found = _look_up((claims["iss"], audience))
            if found is not None:
                return found
    raise refused("No project trusts this token's issuer (iss) for its audience (aud).")


def _look_up(pair: tuple[str, str]) -> Issuer | None:
    found = known.issuers.get(pair)
    if found is not None and time.monotonic() - found.known_at < CACHE_SECONDS:
        return found
    if "\0" in "".join(pair):  # PostgreSQL takes no NUL
        return None
    rows = TokenIssuer.objects.filter(issuer=pair[0], audience=pair[1], revoked_at=None)
    row = rows.select_related("app__project").first()
    if row is None:
        known.issuers.pop(pair, None)
        return None
    note_use(TokenIssuer.objects.filter(pk=row.pk), row.last_used_at)
    same = found is not None and (found.row.jwks_url, found.row.jwks_file) == (row.jwks_url, row.jwks_file)
    keys = found.keys if same and found else KeySet(reader(row))
    issuer = known.issuers[pair] = Issuer(row, keys, time.monotonic())
    return issuer


def reader(row: TokenIssuer) -> Callable[[], bytes]:
    """How the issuer's JWKS is read: from a file, or from a URL under the rules for outbound requests."""
    if row.jwks_file:
        return Path(row.jwks_file).read_bytes
    return lambda: outbound.fetch(row.jwks_url, most=MAX_JWKS, seconds=FETCH_SECONDS)


def _verified(token: str, header: dict[str, Any], issuer: Issuer) -> dict[str, Any]:
    algorithm = header.get("alg")
    if algorithm not in issuer.row.algorithms or algorithm not in ALGORITHMS:
        raise refused(f"The token must be signed by one of: {', '.join(issuer.row.algorithms)}.")
    jwk = issuer.keys.key(header.get("kid") if isinstance(header.get("kid"), str) else None)
    if jwk is None or jwk["kty"] != KEY_TYPES[algorithm[:2]] or jwk.get("alg", algorithm) != algorithm:
        raise refused("The token is signed by a key that its issuer does not publish for this algorithm.")
    try:
        payload: dict[str, Any] = jwt.decode(
            token, jwt.PyJWK(jwk, algorithm).key, algorithms=[algorithm], audience=issuer.row.audience,
            issuer=issuer.row.issuer, leeway=LEEWAY_SECONDS, options={"require": ["exp", "iss", "aud"]},
        )  # fmt: skip
    except jwt.ExpiredSignatureError as error:
        raise refused("The token has expired: get a new one from its issuer.") from error
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise refused(f"The token is not valid: {error}.") from error
    return payload


def _principal(row: TokenIssuer, payload: dict[str, Any]) -> Principal:
    project = row.app.project
    return Principal(
        None, row.app_id, project.pk, project.slug, frozenset(granted(row, payload.get(row.scope_claim))),
        allowance_of(f"issuer:{digest(row.issuer + row.audience)[:24]}", project),
    )  # fmt: skip


def granted(row: TokenIssuer, claim: Any) -> set[str]:
    """Scopes of a claim («a b» or a list): translated where the issuer has a map, and never more than the row allows."""
    listed = claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else []
    words = [w for w in listed if isinstance(w, str)]
    meant = {scope for w in words for scope in row.scope_map.get(w, ())} if row.scope_map else set(words)
    return meant & set(row.scopes)
