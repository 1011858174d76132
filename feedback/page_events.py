"""What web pages send: `POST /feedback?key=pk_…` from the snippet, and the snippet itself at `/enso.js`.

A page is anybody: its key lies open in its source. So it may only write, only from the exact origins that its key is bound
to, and what it says counts as anonymous unless the app's server has signed for the customer (feedback/customers.py).
"""

from __future__ import annotations

import gzip
import hashlib
import time
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.views.decorators.csrf import csrf_exempt

from feedback import customers, limits, services
from feedback.event_shape import EventIn, Reference, checked
from feedback.http import decode, guard, read_body
from feedback.incoming import NewEvent
from feedback.keys import page_of_key
from feedback.principals import PublicPrincipal, digest
from feedback.problems import Problem, invalid
from feedback.rules import Rules
from feedback.rules import cache as rules_cache

SCRIPT = Path(__file__).parent / "static" / "feedback" / "enso.js"
MAX_PAGE_BODY = 64 * 1024  # as much as browsers let a page send while it closes
MAX_PAGE_EVENTS = 50
MAX_AGE_SECONDS = 7 * 86_400.0
METHODS = ("POST", "OPTIONS")


class PageEvent(msgspec.Struct, forbid_unknown_fields=True):
    """One event of a page. `age` is how many seconds ago it happened: pages have clocks of their own."""

    inquiry: Reference
    type: Literal["impression", "click", "dwell", "scroll", "thumbs", "rating", "nps", "comment"]
    event_id: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9_-]{8,64}$")]
    value: float | str | None = None
    text: str | None = None
    age: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    token: Annotated[str, msgspec.Meta(max_length=customers.MAX_TOKEN)] | None = None


class PageBatch(msgspec.Struct, forbid_unknown_fields=True):
    events: Annotated[list[PageEvent], msgspec.Meta(min_length=1, max_length=MAX_PAGE_EVENTS)]


def _admit(request: HttpRequest) -> PublicPrincipal:
    if request.method not in METHODS:
        raise Problem(405, "method-not-allowed", f"Use {' or '.join(METHODS)} here.")
    page = page_of_key(request.GET.get("key", ""))
    origin = request.headers.get("Origin", "")
    if origin not in page.origins:
        raise Problem(403, "origin-not-bound", f"This key is not bound to the origin {origin[:200] or '(none)'}.")
    request.enso_origin = origin  # type: ignore[attr-defined]
    if request.method == "POST":
        limits.spend_page(request, page)
    return page


def _feedback(request: HttpRequest, page: PublicPrincipal) -> HttpResponse:
    """Store the events; 204 whatever was known already: a page learns nothing about what is stored."""
    if request.method == "OPTIONS":
        return HttpResponse(status=204)
    body = read_body(request)
    if len(body) > MAX_PAGE_BODY:
        raise Problem(413, "too-large", f"A page may send up to {MAX_PAGE_BODY // 1024} kB at once.")
    given = decode(body, PageBatch).events
    rules = rules_cache.get(page.project_id)
    secrets = signing_secrets(digest(request.GET["key"]))
    events = [_new_event(e, page, rules, secrets, f"events[{i}].") for i, e in enumerate(given)]
    services.record_feedback(project_id=page.project_id, app_id=page.app_id, events=events)
    return HttpResponse(status=204)


def _new_event(e: PageEvent, page: PublicPrincipal, rules: Rules, secrets: list[str], at: str) -> NewEvent:
    occurred = datetime.now(UTC) - timedelta(seconds=min(e.age, MAX_AGE_SECONDS))
    new = checked(EventIn(e.inquiry, e.type, e.value, e.text, e.event_id, None, occurred), rules, at=at)
    customer = _customer(e, secrets, at)
    # The same event may be sent again later, under another token or none: neither age nor token make it another event.
    content = msgspec.json.encode([e.inquiry, e.type, e.value, e.text])
    return msgspec.structs.replace(
        new, event_id=f"page:{page.app_id}:{e.event_id}", request_sha=hashlib.sha256(content).digest(),
        customer=customer or "", weight=rules.anonymous_weight if customer is None else 1.0,
    )  # fmt: skip


def _customer(e: PageEvent, secrets: list[str], at: str) -> str | None:
    """The customer that the app's server signed for; None without a token, or once it has expired."""
    if e.token is None:
        return None
    try:
        return customers.customer_of(e.token, secrets=secrets, now=time.time())
    except customers.Forged as error:
        raise invalid(f"{at}token", "The token is not signed with this key's signing secret.") from error


def signing_secrets(key_digest: str) -> list[str]:
    """The signing secret of a public key; after a change of SECRET_KEY also those that still count."""
    known = [str(settings.SECRET_KEY), *map(str, settings.SECRET_KEY_FALLBACKS)]
    return [customers.signing_secret(server_secret=s, key_digest=key_digest) for s in known]


_guarded = guard(_admit, (METHODS, "feedback:write"))(_feedback)


@csrf_exempt  # a public key stands in the URL, no cookie is looked at
def feedback(request: HttpRequest) -> HttpResponseBase:
    """The page's endpoint, readable by scripts of the bound origins only."""
    response = _guarded(request)
    patch_vary_headers(response, ["Origin"])
    response["Cache-Control"] = "no-store"
    origin: str | None = getattr(request, "enso_origin", None)
    if origin is not None:
        response["Access-Control-Allow-Origin"] = origin
        response["Access-Control-Expose-Headers"] = "Retry-After"
        if request.method == "OPTIONS":
            response["Access-Control-Allow-Methods"] = "POST"
            response["Access-Control-Allow-Headers"] = "Content-Type"
            response["Access-Control-Max-Age"] = "86400"
    return response


feedback.enso_endpoint = (METHODS, "feedback:write")  # type: ignore[attr-defined]


@cache
def _script() -> tuple[bytes, bytes, str]:
    plain = SCRIPT.read_bytes()
    return plain, gzip.compress(plain, 9, mtime=0), f'"{hashlib.sha256(plain).hexdigest()[:20]}"'


def script(request: HttpRequest) -> HttpResponse:
    """`/enso.js`: one stable address, kept by browsers for a day and then asked for again by its ETag."""
    plain, packed, etag = _script()
    known = request.headers.get("If-None-Match", "")
    response = HttpResponse(content_type="text/javascript; charset=utf-8", status=304 if etag in known else 200)
    if response.status_code == 200:
        takes_gzip = "gzip" in request.headers.get("Accept-Encoding", "")
        response.content = packed if takes_gzip else plain
        if takes_gzip:
            response["Content-Encoding"] = "gzip"
    response["ETag"] = etag
    response["Vary"] = "Accept-Encoding"
    response["Cache-Control"] = "public, max-age=86400, stale-while-revalidate=604800"
    response["Access-Control-Allow-Origin"] = "*"  # so that pages may pin it by `integrity`
    response["Cross-Origin-Resource-Policy"] = "cross-origin"
    response["X-Content-Type-Options"] = "nosniff"
    return response


script.enso_endpoint = (("GET",), "")  # type: ignore[attr-defined]
