"""The answer that most answers are: the one that a task asks for, on a live lease, taken as the label. In two statements.

The first locks the task and looks at all that decides what follows. Where it is the common case, the second writes it all;
everything else goes the long way (`services.annotate`), in the same transaction and under the same lock. The second begins
with the slot: where that has been taken away meanwhile it writes nothing, and the long way finds out why.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from feedback import audit, outbox
from feedback.services import SETTLE_INQUIRY
from labeling import hot
from labeling.models import TaskState
from labeling.policy import Review, review_of

# Reads below the lock are as old as the statement: the write looks again at what may have changed since.
_LOOK = f"""
WITH t AS MATERIALIZED (
    SELECT id, project_id, inquiry_id, kind, state, overlap FROM labeling_labeltask
    WHERE id = %(task)s AND project_id = ANY (%(projects)s) FOR UPDATE
), b AS MATERIALIZED (
    SELECT b.id, b.entered_as FROM labeling_batch b JOIN t ON t.project_id = b.project_id WHERE b.closed_at IS NULL
    FOR KEY SHARE OF b
)
SELECT t.project_id, t.inquiry_id, t.kind, t.state, t.overlap, c.id, s.id, b.id,
    (SELECT g.id FROM labeling_guideline g WHERE g.project_id = t.project_id ORDER BY g.number DESC LIMIT 1),
    COALESCE(b.entered_as, (SELECT l.band FROM labeling_batch l WHERE l.project_id = t.project_id AND l.closed_at IS NOT NULL
                            ORDER BY l.number DESC LIMIT 1), 'disagreements'),
    EXISTS (SELECT 1 FROM labeling_annotation a WHERE a.task_id = t.id AND a.annotator_id = %(annotator)s),
    EXISTS (SELECT 1 FROM labeling_slot o WHERE o.task_id = t.id AND o.id <> s.id AND o.state <> 'done'),
    EXISTS (SELECT 1 FROM labeling_slot w WHERE w.annotator_id = %(annotator)s AND w.project_id = t.project_id
            AND w.state = 'leased' AND w.reserved),
    {audit.ACTING}
FROM t LEFT JOIN b ON true
LEFT JOIN feedback_category c ON c.project_id = t.project_id AND c.key = %(key)s AND c.archived_at IS NULL
LEFT JOIN labeling_slot s ON s.task_id = t.id AND s.annotator_id = %(annotator)s AND s.token = %(token)s
    AND s.state = 'leased' AND s.role = 'annotator' AND NOT s.gold
"""  # noqa: S608 - composed of constants

_EVENTS = """
SELECT 'label.resolved', %(project)s::bigint, jsonb_build_object('inquiry', %(inquiry)s::uuid, 'revision', revision) FROM label
UNION ALL SELECT 'inquiry.resolved', %(project)s, jsonb_build_object('inquiry', %(inquiry)s::uuid) FROM inquiry WHERE waited
"""
_WRITE = f"""
WITH slot AS (
    UPDATE labeling_slot SET state = 'done', lease_expires_at = NULL, reserved = false
    WHERE id = %(slot)s AND annotator_id = %(annotator)s AND token = %(token)s
      AND state || '' = 'leased'  -- by its key, not through the small index of leases, whose entries die all the time
    RETURNING id
), answer AS (
    INSERT INTO labeling_annotation (task_id, slot_id, annotator_id, category_id, role, token, saw_suggestion, seconds, extra,
                                     gold, superseded, guideline_id, created_at)
    SELECT %(task)s, id, %(annotator)s, %(category)s, 'annotator', %(token)s, %(saw)s, %(seconds)s, false, false, false,
           %(guideline)s, statement_timestamp() FROM slot
    RETURNING id
), day AS (
    INSERT INTO labeling_annotatorday (project_id, annotator_id, day, answers, skips, seconds, timed)
    SELECT %(project)s, %(annotator)s, (statement_timestamp() AT TIME ZONE 'UTC')::date, 1, 0,
           COALESCE(%(seconds)s::float8, 0), (%(seconds)s::float8 IS NOT NULL)::int FROM slot
    ON CONFLICT (annotator_id, project_id, day) DO UPDATE SET answers = labeling_annotatorday.answers + 1,
        seconds = labeling_annotatorday.seconds + excluded.seconds, timed = labeling_annotatorday.timed + excluded.timed
), task AS (
    UPDATE labeling_labeltask SET state = 'resolved', category_id = %(category)s, resolution = 'single',
        resolved_at = statement_timestamp(), batch_id = COALESCE(%(batch)s, batch_id)
    FROM slot WHERE labeling_labeltask.id = %(task)s
), label AS (
    INSERT INTO labeling_label (inquiry_id, project_id, category_id, source, saw_suggestion, revision, settled_at)
    SELECT %(inquiry)s, %(project)s, %(category)s, 'single', %(saw)s, 1, statement_timestamp() FROM slot
    ON CONFLICT (inquiry_id) DO UPDATE SET category_id = excluded.category_id, source = excluded.source,
        saw_suggestion = excluded.saw_suggestion, revision = labeling_label.revision + 1, settled_at = excluded.settled_at
    RETURNING revision
), {SETTLE_INQUIRY.replace("<from>", "slot")}, told AS ({outbox.publish_from(_EVENTS)})
SELECT id FROM answer
"""  # noqa: S608 - composed of constants


@dataclass(frozen=True)
class Answer:
    """One submitted annotation."""

    task_id: int
    annotator_id: int
    token: uuid.UUID
    category: str | None  # None: an expert finds that none fits
    saw_suggestion: bool = False
    seconds: float | None = None


@dataclass(frozen=True)
class Seen:
    """What an answer meets: its task, the category that it names, the live lease that it is on, the band in force."""

    project_id: int
    inquiry_id: uuid.UUID
    kind: str
    state: str
    overlap: int
    category_id: int | None
    slot_id: int | None
    batch_id: int | None
    guideline_id: int | None
    band: str
    answered: bool
    others: bool  # more slots than this one
    more_waits: bool  # the person has prefetched an item

    @property
    def is_common(self) -> bool:
        wanted = self.state == TaskState.OPEN and self.overlap == 1 and not self.others
        given = self.slot_id is not None and self.category_id is not None and not self.answered
        return wanted and given and self._review == Review.TAKE

    @property
    def _review(self) -> Review:
        return review_of(self.band, agreed=True, single=True, audit=self.kind == "audit", sampled=False)


def look(*, project_ids: list[int], answer: Answer) -> Seen | None:
    """Lock the task and see what the answer meets; None for a task of another project. The person acts from here on."""
    found = hot.row(_LOOK, {"projects": project_ids, "key": answer.category or ""} | _lease(answer))
    return Seen(*found[:-1]) if found else None


def write(*, answer: Answer, seen: Seen) -> int | None:
    """Take the answer as the label; the annotation's id, or None where the lease was lost since. The caller's transaction."""
    given = {
        "slot": seen.slot_id, "category": seen.category_id, "saw": answer.saw_suggestion, "seconds": answer.seconds,
        "guideline": seen.guideline_id, "project": seen.project_id, "inquiry": seen.inquiry_id, "batch": seen.batch_id,
    }  # fmt: skip
    written = hot.row(_WRITE, given | _lease(answer))
    return None if written is None else int(written[0])


def _lease(answer: Answer) -> dict[str, Any]:
    return {"task": answer.task_id, "annotator": answer.annotator_id, "token": answer.token}
