"""What operators watch of the work of people: the queue, leases, cases, and how many annotators the queue needs."""

from __future__ import annotations

from collections.abc import Iterator

from feedback.gauges import rows
from feedback.metrics import Sample, declare, gauges
from labeling import staffing

TASKS = declare("gauge", "enso_queue_tasks", "Label tasks by state.", ("project", "state"))
SLOTS = declare(
    "gauge", "enso_queue_open_slots", "Annotations that are asked for and that nobody has in hand.", ("project", "role")
)
AGE = declare("gauge", "enso_queue_oldest_seconds", "How long the oldest open task has waited.", ("project",), unit="s")
LEASES = declare(
    "gauge", "enso_queue_leases", "Items in hand: held now, or held past their time.", ("project", "state")
)
CASES = declare("gauge", "enso_escalations_open", "Open escalations by level.", ("project", "level"))
BREACHED = declare("gauge", "enso_escalations_breached", "Open escalations whose next target has passed.", ("project",))
CASE_AGE = declare(
    "gauge",
    "enso_escalations_oldest_seconds",
    "How long the oldest open escalation has waited.",
    ("project",),
    unit="s",
)
ESCALATED = declare("gauge", "enso_escalations_opened_last_hour", "Escalations opened in the last hour.", ("project",))
BUSY = declare(
    "gauge",
    "enso_annotators_busy",
    "People at work on average, by Little's law: arrivals × time in hand.",
    ("project",),
)
PRESENT = declare("gauge", "enso_annotators_present", "People who have an item in hand now.", ("project",))
NEEDED = declare(
    "gauge",
    "enso_annotators_needed",
    "People who keep pace with arrivals and clear the backlog in eight hours.",
    ("project",),
)
WAIT = declare(
    "gauge",
    "enso_queue_expected_wait_seconds",
    "How long an item that comes now will wait with those present.",
    ("project",),
    unit="s",
)

_TALLIES = """
SELECT p.slug, t.what, sum(t.n) FROM labeling_queuetally t JOIN feedback_project p ON p.id = t.project_id
WHERE p.archived_at IS NULL GROUP BY 1, 2
"""
_LEASES = """
SELECT p.slug, count(*) FILTER (WHERE s.lease_expires_at > now()), count(*) FILTER (WHERE s.lease_expires_at <= now())
FROM labeling_slot s JOIN feedback_project p ON p.id = s.project_id WHERE s.state = 'leased' GROUP BY 1
"""
_CASES = """
SELECT p.slug, e.level, count(*), count(*) FILTER (WHERE e.next_due_at < now()),
    max(extract(epoch FROM now() - e.opened_at)), count(*) FILTER (WHERE e.opened_at > now() - interval '1 hour')
FROM labeling_escalation e JOIN feedback_project p ON p.id = e.project_id
WHERE e.state = 'open' GROUP BY 1, 2
"""
_AGE = """
SELECT p.slug, max(extract(epoch FROM now() - t.created_at)) FROM labeling_labeltask t
JOIN feedback_project p ON p.id = t.project_id WHERE t.state = 'open' GROUP BY 1
"""
# What came within a day, what waits, how long an answer took in the last week, and who is at work.
_STAFF = """
SELECT p.slug, coalesce(a.came, 0) / 24.0, coalesce(q.waits, 0), d.took, coalesce(l.present, 0)
FROM feedback_project p
LEFT JOIN (SELECT project_id, sum(overlap) AS came FROM labeling_labeltask WHERE created_at > now() - interval '1 day' GROUP BY 1) a
    ON a.project_id = p.id
LEFT JOIN (SELECT project_id, sum(n) AS waits FROM labeling_queuetally WHERE what = 'slot:annotator:open' GROUP BY 1) q
    ON q.project_id = p.id
LEFT JOIN (SELECT project_id, sum(seconds) / nullif(sum(timed), 0) AS took FROM labeling_annotatorday
    WHERE day > current_date - 7 GROUP BY 1) d ON d.project_id = p.id
LEFT JOIN (SELECT project_id, count(DISTINCT annotator_id) AS present FROM labeling_slot
    WHERE state = 'leased' AND lease_expires_at > now() GROUP BY 1) l ON l.project_id = p.id
WHERE p.archived_at IS NULL
"""
# Until anybody has answered: a short message read and one key pressed.
USUAL_SECONDS = 20.0


@gauges("queue")
def queue() -> Iterator[Sample]:
    for slug, what, n in rows(_TALLIES):
        kind, name = what.split(":")[:2]
        metric = TASKS if kind == "task" else SLOTS if what.endswith(":open") else None
        if metric is not None:
            yield metric, (slug, name), float(n)
    for slug, held, late in rows(_LEASES):
        yield LEASES, (slug, "held"), float(held)
        yield LEASES, (slug, "expired"), float(late)


@gauges("escalations", seconds=10.0)
def escalations() -> Iterator[Sample]:
    found: dict[str, list[float]] = {}
    for slug, level, n, breached, oldest, lately in rows(_CASES):
        yield CASES, (slug, level), float(n)
        have = found.setdefault(slug, [0.0, 0.0, 0.0])
        found[slug] = [have[0] + float(breached), max(have[1], float(oldest)), have[2] + float(lately)]
    for slug, (breached, oldest, lately) in found.items():
        yield BREACHED, (slug,), breached
        yield CASE_AGE, (slug,), oldest
        yield ESCALATED, (slug,), lately


@gauges("staffing", seconds=60.0)
def staff() -> Iterator[Sample]:
    yield from ((AGE, (slug,), float(age)) for slug, age in rows(_AGE))
    for slug, per_hour, waits, took, present in rows(_STAFF):
        advice = staffing.advise(
            arrivals_per_hour=float(per_hour), handling_seconds=float(took or USUAL_SECONDS), backlog=max(int(waits), 0),
            present=int(present),
        )  # fmt: skip
        yield BUSY, (slug,), advice.busy
        yield PRESENT, (slug,), float(present)
        yield NEEDED, (slug,), float(advice.needed)
        if advice.waits_seconds is not None:
            yield WAIT, (slug,), advice.waits_seconds
