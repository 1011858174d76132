"""Known items between the others: an annotator's answers to them show how often they are right, category by category.

A gold item is a settled task. Handing it out makes a slot of its own, beyond the overlap; the answer is judged when it comes
and never counts towards the task, its agreement or its consensus. Nothing that an annotator is sent tells it apart.
"""

from __future__ import annotations

from typing import LiteralString

# A known item that this person has not answered yet; the order differs from person to person. The task's row is locked, so
# that two people who get the same one at once get slots of different numbers.
CLAIM: LiteralString = """
WITH item AS (
    SELECT t.id, t.project_id, t.overlap FROM labeling_golditem g JOIN labeling_labeltask t ON t.id = g.task_id
    WHERE g.project_id = %(project)s AND g.active
      AND NOT EXISTS (SELECT 1 FROM labeling_slot o WHERE o.task_id = t.id AND o.annotator_id = %(annotator)s)
      AND NOT EXISTS (SELECT 1 FROM labeling_annotation a WHERE a.task_id = t.id AND a.annotator_id = %(annotator)s)
      AND NOT EXISTS (SELECT 1 FROM labeling_skip k WHERE k.task_id = t.id AND k.annotator_id = %(annotator)s)
      AND NOT EXISTS (SELECT 1 FROM labeling_qualification q JOIN feedback_inquiry i ON i.id = t.inquiry_id
                      WHERE q.project_id = t.project_id AND q.annotator_id = %(annotator)s AND q.languages <> '{}'
                        AND i.locale <> '' AND lower(split_part(replace(i.locale, '_', '-'), '-', 1)) <> ALL (q.languages))
    ORDER BY md5(%(annotator)s::text || ':' || t.id::text)
    FOR UPDATE OF t SKIP LOCKED
    LIMIT 1
)
INSERT INTO labeling_slot (task_id, project_id, number, role, state, priority, annotator_id, token, lease_expires_at, reserved,
                           gold, overlap, language, skill, barred)
SELECT id, project_id, (SELECT COALESCE(max(number), 0) + 1 FROM labeling_slot x WHERE x.task_id = item.id), 'annotator', 'leased', 0,
       %(annotator)s, %(token)s, clock_timestamp() + make_interval(secs => %(seconds)s), %(reserve)s, true, overlap, '', 0, '{}'
FROM item
RETURNING id, task_id, role, token, lease_expires_at
"""
