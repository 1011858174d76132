"""POST /api/v1/feedback: one event, an array, or a stream of lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from operator import attrgetter

import msgspec
from django.http import HttpRequest, HttpResponse

from feedback import limits, services
from feedback.contract import LineErrorOut, LineOut, LinesOut, ReceiptOut, ReceiptsOut
from feedback.event_shape import EventIn, checked
from feedback.http import decode, endpoint, explain, json_response, read_body
from feedback.incoming import NewEvent, Receipt
from feedback.keys import Principal
from feedback.problems import Problem
from feedback.rules import Rules, cache

MAX_EVENTS = 10_000
_one = msgspec.json.Decoder(EventIn)


@endpoint("POST", scope="feedback:write")
def feedback(request: HttpRequest, principal: Principal) -> HttpResponse:
    """Store one event (an object), many that belong together (an array), or a stream of lines that are each on their own."""
    body = read_body(request)
    rules = cache.get(principal.project_id)
    if (request.content_type or "").lower() == "application/x-ndjson":
        return _lines(request, principal, rules, body)
    if body.lstrip()[:1] == b"[":
        return _array(request, principal, rules, body)
    receipt = _record(principal, [checked(decode(body, EventIn), rules)])[0]
    if receipt.result == "conflict":
        raise Problem(409, "idempotency-conflict", "This event_id was used with another body.", field="event_id")
    return json_response(ReceiptOut(receipt.id, receipt.result), status=201 if receipt.result == "stored" else 200)


def _record(principal: Principal, events: Sequence[NewEvent]) -> list[Receipt]:
    return services.record_feedback(project_id=principal.project_id, app_id=principal.app_id, events=events)


def _array(request: HttpRequest, principal: Principal, rules: Rules, body: bytes) -> HttpResponse:
    """All or nothing: one event that is not well-formed refuses the request, and nothing of it is stored."""
    given = decode(body, list[EventIn])
    _admit(request, principal, len(given))
    receipts = _record(principal, [checked(e, rules, at=f"[{i}].") for i, e in enumerate(given)])
    results = [ReceiptOut(r.id, r.result) for r in receipts]
    return json_response(ReceiptsOut(results), status=201 if any(r.result == "stored" for r in receipts) else 200)


def _lines(request: HttpRequest, principal: Principal, rules: Rules, body: bytes) -> HttpResponse:
    """Each line on its own: the good ones are stored, and each bad one is answered with its error and field."""
    count = _one_on_each(body)
    lines = [] if count else _cut(body)
    _admit(request, principal, count or len(lines))
    numbers, events, bad = _all_good(body, count, rules) or _sorted_out(lines or _cut(body), rules)
    receipts = _record(principal, events)
    results = [LineOut(number, r.id, r.result) for number, r in zip(numbers, receipts, strict=True)]
    if bad:
        results = sorted(results + bad, key=attrgetter("line"))
    counts: Counter[str] = Counter([r.result for r in results])
    return json_response(LinesOut(results, counts), status=201 if counts["stored"] else 200)


def _cut(body: bytes) -> list[tuple[int, bytes]]:
    """Lines that are not blank, with their numbers."""
    return [(number, line) for number, line in enumerate(body.splitlines(), 1) if line.strip()]


def _one_on_each(body: bytes) -> int:
    """How many lines there are, where each looks like one object; 0 where they must be looked at one by one.

    In valid JSON a newline between "}" and "{" stands between two values and nowhere else.
    """
    if b"\r" in body or not body.startswith(b"{"):
        return 0
    between, newlines = body.count(b"}\n{"), body.count(b"\n")
    return between + 1 if newlines == between + body.endswith(b"}\n") and body.endswith((b"}", b"}\n")) else 0


def _all_good(body: bytes, count: int, rules: Rules) -> tuple[Sequence[int], list[NewEvent], list[LineOut]] | None:
    """Every line at once; None where one is bad, or holds more than one event."""
    if not count:
        return None
    try:
        given = _one.decode_lines(body)
        return (range(1, count + 1), [checked(e, rules) for e in given], []) if len(given) == count else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Problem):
        return None


def _sorted_out(
    lines: Sequence[tuple[int, bytes]], rules: Rules
) -> tuple[Sequence[int], list[NewEvent], list[LineOut]]:
    """The numbers of the good lines with their events, and what is wrong with the others."""
    good: list[int] = []
    events: list[NewEvent] = []
    bad: list[LineOut] = []
    for number, line in lines:
        try:
            events.append(checked(_read(line), rules))
            good.append(number)
        except Problem as problem:
            bad.append(LineOut(number, None, "invalid", _error(problem)))
    return good, events, bad


def _read(line: bytes) -> EventIn:
    try:
        return _one.decode(line)
    except msgspec.ValidationError as error:
        raise explain(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "malformed", f"The line is no valid JSON: {error}.") from error


def _error(problem: Problem) -> LineErrorOut:
    return LineErrorOut(f"urn:enso:problem:{problem.kind}", problem.detail, problem.field)


def _admit(request: HttpRequest, principal: Principal, events: int) -> None:
    if events > MAX_EVENTS:
        raise Problem(413, "too-large", f"Up to {MAX_EVENTS:,} events at once: send the rest in another request.")
    limits.spend(request, principal, limits.EVENT_SHARE * max(events - 1, 0))
