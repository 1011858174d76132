"""Sending notices: at least once, in the order they are due, with growing pauses, and no longer than is reasonable.

A notice is claimed by one statement with SKIP LOCKED and held for `HOLD`; the request runs outside any transaction. A
worker that dies in between leaves a hold that ends, and the notice is sent again: receivers tell it by its event id.
A failed attempt waits `SCHEDULE` (plus up to a fifth, so that many do not come at once); after the last one the notice is
dead until somebody replays it. A webhook that fails `TRIP` times in a row is left alone for t₀·2ⁿ, then gets one probe.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from feedback import outbound, signatures, vault, webhooks
from feedback.models import Notice, NoticeState, Webhook

SCHEDULE = (10, 60, 300, 1800, 7200, 18_000, 36_000, 36_000)  # seconds: about 28 hours in all
JITTER = 0.2
HOLD = timedelta(seconds=60)
SECONDS, MOST = 10.0, 65_536
TRIP, FIRST_PAUSE, LONGEST_PAUSE = 5, 30.0, 3600.0
_draws = random.SystemRandom()

# The probe of a tripped webhook pushes its own `open_until` ahead, so that there is one at a time.
_CLAIM = """
WITH chosen AS (
    SELECT n.id, n.webhook_id FROM feedback_notice n JOIN feedback_webhook w ON w.id = n.webhook_id
    WHERE n.state = 'pending' AND n.due_at <= %(now)s AND (n.held_until IS NULL OR n.held_until <= %(now)s)
      AND w.active AND (w.open_until IS NULL OR w.open_until <= %(now)s)
    ORDER BY n.due_at, n.id LIMIT 1 FOR UPDATE OF n, w SKIP LOCKED
), probe AS (
    UPDATE feedback_webhook w SET open_until = %(until)s FROM chosen WHERE w.id = chosen.webhook_id AND w.failures >= %(trip)s
)
UPDATE feedback_notice n SET held_until = %(until)s, attempts = attempts + 1, tries = tries + 1
FROM chosen WHERE n.id = chosen.id RETURNING n.id
"""


@dataclass(frozen=True)
class Outcome:
    """What one attempt came to: the answer's status, or why there was none."""

    status: int | None
    error: str

    @property
    def good(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def send_due(*, most: int = 1000, seconds: float = 50.0) -> int:
    """Send what is due, up to `most` notices within about `seconds`; returns how many were tried."""
    ends, tried = time.monotonic() + seconds, 0
    while tried < most and time.monotonic() < ends and send_next():
        tried += 1
    return tried


def send_next() -> bool:
    """Claim and send the next notice; False when none is due."""
    found = _claim()
    if found is None:
        return False
    settle(found, attempt(found))
    return True


def _claim() -> Notice | None:
    now = timezone.now()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_CLAIM, {"now": now, "until": now + HOLD, "trip": TRIP})
        row = cursor.fetchone()
    return Notice.objects.select_related("webhook").get(pk=row[0]) if row else None


def attempt(notice: Notice) -> Outcome:
    """One signed request. The answer's body is not kept: it may hold anything."""
    body = notice.body.encode()
    try:
        header = signatures.sign(body, secrets=webhooks.secrets_of(notice.webhook), at=int(time.time()))
        status = outbound.post(
            notice.webhook.url, body, most=MOST, seconds=SECONDS,
            headers={
                "Content-Type": "application/json", signatures.HEADER: header, "Enso-Event": notice.kind,
                "Enso-Event-Id": notice.event, "Enso-Attempt": str(notice.attempts),
                **({"X-Request-Id": notice.request_id} if notice.request_id else {}),
            },
        )  # fmt: skip
    except outbound.Unreachable as error:
        return Outcome(None, str(error))
    except vault.Unreadable:
        return Outcome(None, "The webhook's secret cannot be read: rotate it.")
    return Outcome(status, "" if 200 <= status < 300 else f"It answered {status}.")


def settle(notice: Notice, outcome: Outcome) -> None:
    """Write what came of an attempt, unless the notice was claimed again meanwhile."""
    with transaction.atomic():
        mine = Notice.objects.filter(pk=notice.pk, attempts=notice.attempts, state=NoticeState.PENDING)
        mine.update(**_next_state(notice, outcome), status=outcome.status, error=outcome.error[:300], held_until=None)
        hook = Webhook.objects.select_for_update().filter(pk=notice.webhook_id).first()
        if hook is not None:
            _turn_circuit(hook, outcome)


def _next_state(notice: Notice, outcome: Outcome) -> dict[str, Any]:
    now = timezone.now()
    if outcome.good:
        return {"state": NoticeState.DELIVERED, "delivered_at": now}
    if notice.tries > len(SCHEDULE):
        return {"state": NoticeState.DEAD}
    return {"due_at": now + timedelta(seconds=delay(notice.tries))}


def delay(tries: int) -> float:
    """Seconds until the next attempt after `tries` failed ones."""
    return SCHEDULE[tries - 1] * (1 + _draws.uniform(0, JITTER))


def _turn_circuit(hook: Webhook, outcome: Outcome) -> None:
    hook.failures = 0 if outcome.good else hook.failures + 1
    pause = min(FIRST_PAUSE * 2 ** min(hook.failures - TRIP, 10), LONGEST_PAUSE) if hook.failures >= TRIP else None
    hook.open_until = timezone.now() + timedelta(seconds=pause) if pause else None
    if outcome.status == 410:  # Gone: the receiver says that it wants no more
        hook.active = False
    hook.save(update_fields=["failures", "open_until", "active"])
