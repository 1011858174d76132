"""App keys: 256 random bits, of which only the SHA-256 is stored; key → principal is cached in process."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from feedback import tokens
from feedback.audit import note
from feedback.models import ApiKey, ClientApp
from feedback.principals import Cache, PublicPrincipal, allowance_of, digest, note_use
from feedback.principals import Principal as Principal
from feedback.problems import Problem

SCOPES = (
    "inquiries:read", "inquiries:write", "feedback:write", "labels:read", "labels:write", "escalations:write", "models:admin",
)  # fmt: skip
PUBLIC_SCOPES = ["feedback:write"]
MAX_ORIGINS = 50


def create_key(*, app: ClientApp, scopes: list[str], expires_at: datetime | None = None) -> tuple[ApiKey, str]:
    """Store a new key and return it with its secret, which is not kept and cannot be shown again."""
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown:
        raise ValueError(f"unknown scope {unknown[0]!r}: choose from {', '.join(SCOPES)}")
    if not scopes:
        raise ValueError(f"a key without a scope can do nothing: choose from {', '.join(SCOPES)}")
    return _store(app=app, scopes=sorted(set(scopes)), origins=[], expires_at=expires_at)


def create_public_key(*, app: ClientApp, origins: list[str], expires_at: datetime | None = None) -> tuple[ApiKey, str]:
    """A key for web pages of `origins`; ValueError naming an origin that is none."""
    exact = sorted({checked_origin(o) for o in origins})
    if not 0 < len(exact) <= MAX_ORIGINS:
        raise ValueError(f"a public key needs 1–{MAX_ORIGINS} origins, such as https://shop.example")
    return _store(app=app, scopes=PUBLIC_SCOPES, origins=exact, expires_at=expires_at)


def _store(
    *,
    app: ClientApp,
    scopes: list[str],
    origins: list[str],
    expires_at: datetime | None,
    replaces: ApiKey | None = None,
) -> tuple[ApiKey, str]:
    secret = f"{'pk' if origins else 'enso'}_{secrets.token_urlsafe(32)}"
    key = ApiKey.objects.create(
        app=app, prefix=secret[:12], digest=digest(secret), public_key=secret if origins else None, origins=origins,
        scopes=scopes, expires_at=expires_at, replaces=replaces,
    )  # fmt: skip
    return key, secret


def checked_origin(given: str) -> str:
    """An origin as browsers send it (RFC 6454: scheme, host, and a port that is not the scheme's own)."""
    try:
        parts = urlsplit(given.strip())
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode()
    except (ValueError, UnicodeError) as error:
        raise ValueError(f"{given!r} is no origin: write it as https://shop.example") from error
    extra = parts.path not in ("", "/") or parts.query or parts.fragment or parts.username or "*" in host
    if parts.scheme not in ("http", "https") or not host or extra:
        raise ValueError(f"{given!r} is no origin: write it as https://shop.example, without path or wildcard")
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}" + (
        f":{port}" if port not in (None, {"http": 80, "https": 443}[parts.scheme]) else ""
    )


def rotate_key(*, key_id: int, overlap: timedelta) -> tuple[ApiKey, str]:
    """A successor with the same rights; the old key stays valid for `overlap`, then expires. ValueError if it has ended."""
    with transaction.atomic():
        old = ApiKey.objects.select_for_update(of=("self",)).select_related("app").get(pk=key_id)
        now = timezone.now()
        if old.revoked_at or (old.expires_at and old.expires_at <= now):
            raise ValueError(f"the key {old.prefix}… has ended already: create a new one")
        if old.successors.filter(revoked_at=None).exists():
            raise ValueError(f"the key {old.prefix}… was rotated already: rotate its successor")
        fresh = _store(app=old.app, scopes=old.scopes, origins=old.origins, expires_at=None, replaces=old)
        ends = now + overlap
        old.expires_at = min(old.expires_at, ends) if old.expires_at else ends
        old.save(update_fields=["expires_at"])
    return fresh


def find_key(prefix: str) -> ApiKey:
    """The key whose shown prefix this is (or begins so); LookupError where there is none or more than one."""
    wanted = prefix.removesuffix("…")
    found = list(ApiKey.objects.filter(prefix__startswith=wanted[:12]).select_related("app__project")[:2])
    if len(found) != 1 or not wanted:
        raise LookupError(f"{'More than one key begins' if found else 'No key begins'} with {wanted!r}: see list_keys.")
    return found[0]


def revoke_key(*, key_id: int) -> bool:
    """End a key now (within CACHE_SECONDS everywhere); False when it was revoked before."""
    return bool(ApiKey.objects.filter(pk=key_id, revoked_at=None).update(revoked_at=timezone.now()))


def _valid_key(key_digest: str, *, public: bool) -> ApiKey | None:
    now = timezone.now()
    valid = Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=now)) & Q(public_key__isnull=not public)
    usable = ApiKey.objects.filter(valid, digest=key_digest, app__project__archived_at=None)
    key = usable.select_related("app__project").first()
    if key is not None:
        note_use(ApiKey.objects.filter(pk=key.pk), key.last_used_at)
    return key


def _principal(key_digest: str) -> Principal | None:
    key = _valid_key(key_digest, public=False)
    if key is None:
        return None
    project = key.app.project
    return Principal(
        key.pk,
        key.app_id,
        project.pk,
        project.slug,
        frozenset(key.scopes),
        allowance_of(f"key:{key_digest[:24]}", project),
    )


def _public_principal(key_digest: str) -> PublicPrincipal | None:
    key = _valid_key(key_digest, public=True)
    if key is None:
        return None
    project = key.app.project
    return PublicPrincipal(
        key.pk, key.app_id, project.pk, frozenset(key.origins),
        allowance_of(f"key:{key_digest[:24]}", project), project.page_limit_per_minute / 60,
    )  # fmt: skip


cache = Cache(_principal)
public_cache = Cache(_public_principal)


def principal_of_key(secret: str) -> Principal:
    """The caller behind a secret key; 401 where it is unknown, expired or revoked, or made for pages."""
    if secret.startswith("pk_"):
        raise Problem(401, "public-key", "A public key only serves the page snippet. Use a secret key of the app here.")
    principal = cache.get(secret)
    if principal is None:
        raise Problem(401, "invalid-key", "This key is unknown, expired or revoked.")
    note(key=principal.key_id, app=principal.app_id)
    return principal


def page_of_key(public_key: str) -> PublicPrincipal:
    """The page behind a public key; 401 where it is unknown, expired or revoked, or a secret (which URLs must not hold)."""
    if public_key.startswith("enso_"):
        raise Problem(401, "secret-in-url", "This is a secret key, now seen in a URL: revoke it, and use a public key.")
    principal = public_cache.get(public_key) if 0 < len(public_key) <= 64 else None
    if principal is None:
        raise Problem(401, "invalid-key", "This key is unknown, expired or revoked.")
    return principal


def principal_of(request: HttpRequest) -> Principal:
    """The caller of a plain view; 401 where the header is absent, or its key or token does not count."""
    # Out of META: `request.headers` makes a mapping of all headers first.
    scheme, _, credential = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    credential = credential.strip()
    if scheme.lower() == "api-key" and credential:
        return principal_of_key(credential)
    if scheme.lower() == "bearer" and credential:
        return tokens.principal_of_token(credential)
    raise Problem(
        401, "not-authenticated", "Send your key in the header «Authorization: Api-Key …», or a token as «Bearer …»."
    )


class ApiKeyAuthentication(BaseAuthentication):
    """The same keys and tokens for DRF views: `request.user` is the Principal."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        if not request.headers.get("Authorization", "").lower().startswith(("api-key ", "bearer ")):
            return None
        try:
            principal = principal_of(request._request)
        except Problem as problem:
            if problem.status != 401:
                raise
            raise AuthenticationFailed(problem.detail, code=problem.kind) from problem
        return principal, None

    def authenticate_header(self, request: Request) -> str:
        return "Api-Key"
