"""Fragments that pages ask for again and again: an unchanged one costs a 304."""

from __future__ import annotations

import hashlib

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseNotModified


def polled(request: HttpRequest, body: str) -> HttpResponse:
    """The body with its ETag, or 304 where the caller has it."""
    etag = f'"{hashlib.sha256(body.encode()).hexdigest()[:32]}"'
    unchanged = etag in request.headers.get("If-None-Match", "")
    response: HttpResponse = HttpResponseNotModified() if unchanged else HttpResponse(body)
    response["ETag"] = etag
    response["Cache-Control"] = "private, no-cache"
    return response
