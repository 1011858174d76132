"""Many open tasks at once, written by SQL: what an import of that size leaves behind."""

from __future__ import annotations

from typing import Any

_INQUIRIES = """
INSERT INTO feedback_inquiry (id, project_id, request_sha, text, locale, customer, channel, metadata, group_sha,
                              fold, status, received_at, model)
SELECT gen_random_uuid(), %(project)s, ''::bytea, 'Where is order ' || n || '? It was due on Monday.', 'en', '', '', '{}',
       decode(md5(n::text), 'hex'), 0, 'waiting', now() - interval '1 hour', ''
FROM generate_series(1, %(tasks)s) n
"""
_TASKS = """
INSERT INTO labeling_labeltask (project_id, inquiry_id, kind, state, overlap, priority, risk, reason, resolution, created_at)
SELECT project_id, id, 'selection', 'open', %(overlap)s, random(), 0, '{"rule": "random"}', '', now() - random() * interval '1 hour'
FROM feedback_inquiry WHERE project_id = %(project)s
"""
_SLOTS = """
INSERT INTO labeling_slot (task_id, project_id, number, role, state, priority, reserved, gold, overlap, language, skill, barred)
SELECT t.id, t.project_id, n, 'annotator', 'open',
       t.priority - extract(epoch FROM t.created_at - timestamptz '2020-01-01 00:00Z') / 86400 / 7, false, false, t.overlap,
       'en', 0, '{}'
FROM labeling_labeltask t, generate_series(1, %(overlap)s) n WHERE t.project_id = %(project)s
"""


def fill(cursor: Any, *, project_id: int, tasks: int, overlap: int) -> None:
    """Open `tasks` tasks of `overlap` slots each in a project that has none, and let the planner know."""
    given = {"project": project_id, "tasks": tasks, "overlap": overlap}
    for statement in (_INQUIRIES, _TASKS, _SLOTS):
        cursor.execute(statement, given)
    cursor.execute("ANALYZE labeling_slot, labeling_labeltask, feedback_inquiry")
