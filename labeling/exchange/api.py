"""GET /api/v1/labels: the settled labels of a project, streamed."""

from __future__ import annotations

from datetime import datetime

from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse

from feedback.http import endpoint
from feedback.keys import Principal
from feedback.problems import Problem, invalid
from labeling.exchange.exports import filename, stream
from labeling.exchange.formats import FORMATS, STREAMED

PARAMETERS = ("format", "since", "project", "bom")


@endpoint("GET", scope="labels:read")
def labels(request: HttpRequest, principal: Principal) -> HttpResponseBase:
    """All settled labels as CSV, JSON Lines (the default) or Label Studio JSON; `since` leaves out what was settled before."""
    unknown = sorted(set(request.GET) - set(PARAMETERS))
    if unknown:
        raise Problem(
            422,
            "unknown-field",
            f"There is no parameter {unknown[0]!r}. Use {', '.join(PARAMETERS)}.",
            field=unknown[0],
        )
    principal.require_project(request.GET.get("project"))
    name = request.GET.get("format", "jsonl")
    if name not in STREAMED:
        raise invalid(
            "format", f"Choose one of {', '.join(STREAMED)}. The other formats are made on the page Exchange."
        )
    pieces = stream(
        name, project_id=principal.project_id, since=_since(request.GET.get("since")), bom=request.GET.get("bom") == "1"
    )
    return attachment(
        StreamingHttpResponse(pieces, content_type=FORMATS[name].media_type), filename(principal.project_slug, name)
    )


def attachment(response: StreamingHttpResponse, name: str) -> StreamingHttpResponse:
    """A file for saving, never shown as a page of ours."""
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["X-Content-Type-Options"] = "nosniff"
    response["Cache-Control"] = "private, no-store"
    return response


def _since(given: str | None) -> datetime | None:
    if not given:
        return None
    try:
        moment = datetime.fromisoformat(given.replace(" ", "+"))
    except ValueError:
        raise invalid("since", "Write the time like 2026-01-31T12:00:00Z.") from None
    if moment.tzinfo is None:
        raise invalid("since", "The time needs its offset from UTC, such as 2026-01-31T12:00:00Z.")
    return moment
