"""The evidence of a rollout, counted from rows: per metric and arm, each customer once per look.

A customer's values within a look are averaged, so that one who writes ten times weighs as much as one who writes once; rows
are taken by the moment at which they became known (a decision when it was made, an audited answer when its label was settled,
an NPS answer when it came), so that each row falls into exactly one look. What the candidate would have answered in the shadow
stands beside what was answered: such pairs agree more often than strangers do, which makes the test slower and never falser.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from serving.models import Rollout, RolloutEvidence, ShadowAnswer
from serving.rollout import ENOUGH_FOR_A_MEAN, GUARDS, WATCHED
from serving.sequential import Evidence, Metric, Tally, blank, observe

# Rows may commit this much later than the time that they carry.
SETTLED = timedelta(seconds=30)
# People contradict an answer within about this long; the disagreement of a look is that of decisions so much older.
RIPENS = timedelta(hours=24)

_TREATED = "d.arm <> 'production'"
_UNIT = "coalesce(nullif(i.customer, ''), i.id::text)"
_DECIDED = """FROM serving_decisionrecord d JOIN feedback_inquiry i ON i.id = d.inquiry_id
    WHERE d.rollout_id = %(rollout)s AND d.arm <> '' AND d.decided_at > %(since)s AND d.decided_at <= %(until)s"""
_SHADOWED = """FROM serving_shadowanswer s JOIN serving_decisionrecord d ON d.inquiry_id = s.inquiry_id
    JOIN feedback_inquiry i ON i.id = s.inquiry_id
    WHERE s.rollout_id = %(rollout)s AND s.answered_at > %(since)s AND s.answered_at <= %(until)s"""
_ESCALATED = """(d.answer->>'escalation' IS NOT NULL
    OR EXISTS (SELECT 1 FROM labeling_escalation e WHERE e.inquiry_id = i.id))"""
_CONTRADICTED = """(EXISTS (SELECT 1 FROM labeling_label l LEFT JOIN labeling_labeltask t ON t.inquiry_id = l.inquiry_id
        WHERE l.inquiry_id = i.id AND l.category_id <> d.category_id AND coalesce(t.kind, '') <> 'audit')
    OR EXISTS (SELECT 1 FROM feedback_inquiryscore f WHERE f.inquiry_id = i.id AND f.thumbs < 0))"""
_AUDITED = """FROM serving_decisionrecord d JOIN labeling_labeltask t ON t.inquiry_id = d.inquiry_id
    JOIN feedback_inquiry i ON i.id = d.inquiry_id {} WHERE d.rollout_id = %(rollout)s AND d.audit AND t.kind = 'audit'
    AND t.state = 'resolved' AND t.resolved_at > %(since)s AND t.resolved_at <= %(until)s"""
_NPS = """CASE WHEN e.value >= 9 THEN 100 WHEN e.value >= 7 THEN 0 ELSE -100 END"""


def _select(treated: str, value: str, source: str) -> str:
    return f"SELECT {treated} AS treated, {_UNIT} AS unit, ({value})::float8 AS v {source}"


def _both(value_shadow: str, value: str, source: str = _SHADOWED) -> str:
    """The candidate's and the given answer to the same inquiries."""
    return f"{_select('true', value_shadow, source)} UNION ALL {_select('false', value, source)}"


_ROWS = {
    "errors": _select(_TREATED, "(d.arm = 'fallback')::int", _DECIDED),
    "slow": _select(_TREATED, "(d.took_ms > %(slow_ms)s)::int", _DECIDED),
    "escalations": _select(_TREATED, f"{_ESCALATED}::int", _DECIDED),
    "disagreement": _select(_TREATED, f"{_CONTRADICTED}::int", _DECIDED),
    "accuracy": " UNION ALL ".join(
        (
            _select(_TREATED, "(d.category_id IS NOT DISTINCT FROM t.category_id)::int", _AUDITED.format("")),
            _select(
                "true", "(s.category_id IS NOT DISTINCT FROM t.category_id)::int",
                _AUDITED.format("JOIN serving_shadowanswer s ON s.inquiry_id = d.inquiry_id AND s.rollout_id = d.rollout_id"),
            ),
        )
    ),
    "nps": _select(
        _TREATED, _NPS,
        """FROM serving_decisionrecord d JOIN feedback_inquiry i ON i.id = d.inquiry_id
        JOIN feedback_event e ON e.inquiry_id = d.inquiry_id AND e.kind = 'nps' AND e.weight = 1
        WHERE d.rollout_id = %(rollout)s AND d.arm <> '' AND e.received_at > %(since)s AND e.received_at <= %(until)s""",
    ),
}  # fmt: skip
# In the shadow nobody is answered by the candidate: what it would have done is compared instead.
_SHADOW_ROWS = {
    "errors": _both("s.failed::int", "0"),
    "escalations": _both("s.escalates::int", f"{_ESCALATED}::int"),
    "accuracy": _ROWS["accuracy"],
}
_TALLIES = """WITH rows AS ({}), units AS (SELECT treated, unit, avg(v) AS v FROM rows WHERE v IS NOT NULL GROUP BY 1, 2)
SELECT treated, count(*), sum(v), sum(v * v) FROM units GROUP BY 1"""


@dataclass(frozen=True)
class Gathered:
    """One metric's evidence after a look, and up to when its rows were counted."""

    metric: Metric
    evidence: Evidence
    until: datetime
    treated: int = 0  # customers that this look added, by arm
    control: int = 0

    @property
    def customers(self) -> int:
        return min(self.treated, self.control)


def gather(rollout: Rollout, *, now: datetime, guards_only: bool) -> list[Gathered]:
    """Every watched metric with what has come since its last look; where `guards_only`, the others as they were."""
    known = {e.metric: e for e in RolloutEvidence.objects.filter(rollout=rollout)}
    # Days on which nobody was shown the candidate are not held against days on which somebody was.
    began = rollout.steps.filter(percent__gt=0).order_by("number").values_list("entered_at", flat=True).first()
    shown, found = began or rollout.created_at, []
    for metric in WATCHED:
        stored = known.get(metric.name)
        past = Evidence.from_json(stored.stored) if stored else blank()
        since = max(stored.until if stored else rollout.created_at, shown)
        if guards_only and metric.name not in GUARDS:
            found.append(Gathered(metric, past, since))
        else:
            found.append(_looked(rollout, metric, past, since, now - SETTLED))
    return found


def _looked(rollout: Rollout, metric: Metric, past: Evidence, since: datetime, until: datetime) -> Gathered:
    """The next look at one metric. Too little in an arm waits for the next one: nothing that was counted is dropped."""
    ripens = RIPENS if metric.name == "disagreement" else timedelta(0)
    sql = (_SHADOW_ROWS if rollout.course.shadow else _ROWS).get(metric.name)
    if sql is None or until - ripens <= since - ripens:
        return Gathered(metric, past, since)
    treated, control = _tallies(rollout, sql, since - ripens, until - ripens)
    least = ENOUGH_FOR_A_MEAN if metric.kind == "mean" else 1
    if min(treated.n, control.n) < least:
        return Gathered(metric, past, since)
    return Gathered(metric, observe(metric, past, treated, control), until, treated.n, control.n)


def _tallies(rollout: Rollout, sql: str, since: datetime, until: datetime) -> tuple[Tally, Tally]:
    slow_ms = rollout.limits_in_force.slow_ms
    given: dict[str, Any] = {"rollout": rollout.pk, "since": since, "until": until, "slow_ms": slow_ms}
    with connection.cursor() as cursor:
        cursor.execute(_TALLIES.format(sql), given)
        found = {treated: Tally(int(n), float(s), float(q)) for treated, n, s, q in cursor.fetchall()}
    return found.get(True, Tally(0, 0.0)), found.get(False, Tally(0, 0.0))


def keep(rollout: Rollout, gathered: Sequence[Gathered]) -> None:
    """Store the evidence after a look, in the caller's transaction."""
    for g in gathered:
        RolloutEvidence.objects.update_or_create(
            rollout=rollout, metric=g.metric.name, defaults={"stored": g.evidence.as_json(), "until": g.until}
        )


def shadow_disagreement(rollout_id: int) -> tuple[int, int]:
    """How many of the mirrored inquiries the candidate would have answered with another category: (differing, all)."""
    rows = ShadowAnswer.objects.filter(rollout_id=rollout_id, failed=False)
    return rows.filter(differs=True).count(), rows.count()


def arms_of(evidence: Evidence) -> dict[str, Any]:
    """Customers and sums of both arms as plain numbers: {"candidate": (n, sum), "production": (n, sum)}."""
    return {
        "candidate": (float(evidence.n[0]), float(evidence.total[0])),
        "production": (float(evidence.n[1]), float(evidence.total[1])),
    }
