"""What can go wrong, as exceptions that carry the fields of the server's problem (RFC 9457)."""

from __future__ import annotations

from typing import Any

import httpx


class EnsoError(Exception):
    """Anything that this client raises about a request."""


class Unreachable(EnsoError):
    """No answer, after all retries. The request may have been carried out: repeat it with the same ids."""


class Problem(EnsoError):
    """The server refused. `detail` says what is wrong and what to do, `field` where, `request_id` what to ask us about."""

    def __init__(self, status: int, body: dict[str, Any], *, retry_after: float | None = None) -> None:
        self.status = status
        self.type = str(body.get("type", "about:blank"))
        self.title = str(body.get("title", ""))
        self.detail = str(body.get("detail", ""))
        self.field: str | None = body.get("field")
        self.request_id: str | None = body.get("request_id")
        self.retry_after = retry_after
        at = f" [{self.field}]" if self.field else ""
        super().__init__(f"{status} {self.title}{at}: {self.detail}")


class NotAuthenticated(Problem):
    """401: no key or token, or one that is unknown, expired or revoked."""


class NotAllowed(Problem):
    """403: the key lacks a scope."""


class NotFound(Problem):
    """404: not there, or of another project."""


class Conflict(Problem):
    """409: an id was used with another body."""


class Invalid(Problem):
    """400, 413, 415 or 422: the request itself; `field` names the place."""


class RateLimited(Problem):
    """429, after all retries."""


class ServerError(Problem):
    """5xx, after all retries."""


_BY_STATUS: dict[int, type[Problem]] = {
    400: Invalid, 401: NotAuthenticated, 403: NotAllowed, 404: NotFound, 409: Conflict, 413: Invalid, 415: Invalid, 422: Invalid,
    429: RateLimited,
}  # fmt: skip


def problem_of(response: httpx.Response) -> Problem:
    """The exception for an answer that is an error, whoever on the way has written it."""
    try:
        body = response.json()
    except ValueError:
        body = {}
    if not isinstance(body, dict):
        body = {}
    body.setdefault("title", response.reason_phrase)
    kind = ServerError if response.status_code >= 500 else _BY_STATUS.get(response.status_code, Problem)
    return kind(response.status_code, body, retry_after=retry_after(response))


def retry_after(response: httpx.Response) -> float | None:
    """Seconds of a Retry-After header; its form as a date is not used by Enso and is ignored."""
    try:
        return max(float(response.headers["Retry-After"]), 0.0)
    except (KeyError, ValueError):
        return None
