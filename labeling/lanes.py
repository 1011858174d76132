"""The claim in SQL: the open slots of a project lie in lanes, and each claim looks at the head of each lane alone.

A lane is what its slots have in common for the question "may this person have them": the language, the category that needs
qualified people (0: none does), and the people who have answered or skipped the task. Lanes that are closed to a person are
left out as a whole, so that it costs them nothing to have answered the first 20,000 tasks whose second slots are open: these
all lie in one lane. The lanes are found by jumping through the index from one to the next, never by reading the slots in
between; their number is that of the sets of people who share unfinished tasks (docs/decisions/0030).

People who hold a slot of a task at this moment are not part of its lane: they have at most two, which the claim looks up.
"""

from __future__ import annotations

from typing import LiteralString

_SAME_LANE: LiteralString = "s.language = l.language AND s.skill = l.skill AND s.barred = l.barred"

# `OFFSET 0` keeps the planner from turning the conditions into joins, which would read all that a person has ever answered.
_CLAIM: LiteralString = """
WITH RECURSIVE lane AS (
    (SELECT language, skill, barred FROM <slots> WHERE <open> ORDER BY language, skill, barred LIMIT 1)
    UNION ALL
    SELECT n.language, n.skill, n.barred FROM lane l CROSS JOIN LATERAL (
        SELECT s.language, s.skill, s.barred FROM <slots> s
        WHERE <open> AND (s.language, s.skill, s.barred) > (l.language, l.skill, l.barred)
        ORDER BY s.language, s.skill, s.barred LIMIT 1) n
), may AS (
    SELECT COALESCE(max(languages), '{}') AS languages, COALESCE(max(categories), '{}') AS categories
    FROM labeling_qualification WHERE project_id = %(project)s AND annotator_id = %(annotator)s
), l AS MATERIALIZED (
    SELECT l.language, l.skill, l.barred FROM may, lane l CROSS JOIN LATERAL (
        SELECT s.priority, s.id FROM <slots> s WHERE <open> AND <same lane>
          AND NOT EXISTS (SELECT 1 FROM <slots> o WHERE o.<task> = s.<task> AND o.annotator_id = %(annotator)s OFFSET 0)
        ORDER BY s.priority DESC, s.id LIMIT 1) head
    WHERE %(annotator)s <> ALL (l.barred)
      AND (l.language = '' OR may.languages = '{}' OR l.language = ANY (may.languages))
      AND (l.skill = 0 OR l.skill = ANY (may.categories))
    ORDER BY head.priority DESC, head.id
)
UPDATE <slots> SET state = 'leased', annotator_id = %(annotator)s, token = %(token)s,
    lease_expires_at = clock_timestamp() + make_interval(secs => %(seconds)s)<also>
WHERE id = (
    SELECT found.id FROM l CROSS JOIN LATERAL (
        SELECT s.id FROM <slots> s
        WHERE <open> AND <same lane>
          AND NOT EXISTS (SELECT 1 FROM <slots> o WHERE o.<task> = s.<task> AND o.annotator_id = %(annotator)s OFFSET 0)
          <not theirs>
        ORDER BY s.priority DESC, s.id
        FOR UPDATE OF s SKIP LOCKED
        LIMIT 1) found
    LIMIT 1)
RETURNING id, <task>, <role>, token, lease_expires_at
""".replace("<same lane>", _SAME_LANE)

CLAIM: LiteralString = (
    _CLAIM.replace("<slots>", "labeling_slot")
    .replace("<task>", "task_id")
    .replace("<open>", "project_id = %(project)s AND role = %(role)s AND state = 'open'")
    .replace("<also>", ", reserved = %(reserve)s")
    .replace("<role>", "role")
    .replace(
        "<not theirs>",
        """AND NOT EXISTS (SELECT 1 FROM labeling_annotation a WHERE a.task_id = s.task_id AND a.annotator_id = %(annotator)s
                          AND NOT a.superseded OFFSET 0)
          AND NOT EXISTS (SELECT 1 FROM labeling_skip k WHERE k.task_id = s.task_id AND k.annotator_id = %(annotator)s OFFSET 0)""",
    )
)

# The same for comparisons of two replies, whose slots have one role and are never reserved (labeling/comparing.py).
CLAIM_COMPARISON: LiteralString = (
    _CLAIM.replace("<slots>", "labeling_comparisonslot")
    .replace("<task>", "comparison_id")
    .replace("<open>", "project_id = %(project)s AND state = 'open'")
    .replace("<also>", "")
    .replace("<role>", "'annotator'::text")
    .replace(
        "<not theirs>",
        """AND NOT EXISTS (SELECT 1 FROM labeling_comparisonanswer a
                          WHERE a.comparison_id = s.comparison_id AND a.annotator_id = %(annotator)s OFFSET 0)""",
    )
)

# Who may not have a task's slots any more. The caller holds the task's row.
BAR: LiteralString = """
UPDATE labeling_slot s SET barred = x.people FROM (
    SELECT COALESCE(array_agg(DISTINCT y.annotator_id ORDER BY y.annotator_id), '{}') AS people FROM (
        SELECT annotator_id FROM labeling_annotation WHERE task_id = %(task)s AND NOT superseded
        UNION ALL SELECT annotator_id FROM labeling_skip WHERE task_id = %(task)s) y) x
WHERE s.task_id = %(task)s AND s.state <> 'done' AND s.barred IS DISTINCT FROM x.people
"""
