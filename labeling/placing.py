"""The place of open tasks in the queue, and why they have it: written in small transactions, and only where something changes.

Audit tasks are never moved nor explained. Tasks are locked in the order of their ids, as by everybody who locks several.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from psycopg.types.json import Jsonb

from labeling import hot
from labeling.ranking import EPOCH

AT_ONCE = 500  # tasks in one transaction: a claim or an answer never waits long for one
T = TypeVar("T")

_PLACE = """
WITH v AS (SELECT * FROM unnest(%(ids)s::bigint[], %(values)s::float8[]) AS v(id, priority)),
found AS (
    SELECT t.id, v.priority FROM labeling_labeltask t JOIN v ON v.id = t.id
    WHERE t.state = 'open' AND t.kind <> 'audit' AND t.priority IS DISTINCT FROM v.priority
    ORDER BY t.id FOR UPDATE OF t
), changed AS (
    UPDATE labeling_labeltask t SET priority = f.priority FROM found f WHERE t.id = f.id
    RETURNING t.id, t.priority, t.risk, t.created_at, t.project_id
), moved AS (
    UPDATE labeling_slot s SET priority = c.priority + c.risk
        - extract(epoch FROM c.created_at - %(epoch)s) / 86400 / p.patience_days
    FROM changed c JOIN feedback_project p ON p.id = c.project_id
    WHERE s.task_id = c.id AND s.state <> 'done' AND s.role = 'annotator' AND NOT s.gold
)
SELECT count(*) FROM changed
"""
_EXPLAIN = """
WITH v AS (SELECT * FROM unnest(%(ids)s::bigint[], %(values)s::jsonb[]) AS v(id, reason)),
found AS (
    SELECT t.id, v.reason FROM labeling_labeltask t JOIN v ON v.id = t.id
    WHERE t.state = 'open' AND t.kind <> 'audit' AND t.reason IS DISTINCT FROM v.reason
    ORDER BY t.id FOR UPDATE OF t
), changed AS (
    UPDATE labeling_labeltask t SET reason = f.reason FROM found f WHERE t.id = f.id RETURNING t.id
)
SELECT count(*) FROM changed
"""


def reprioritise(*, priorities: Mapping[int, float]) -> int:
    """Set the priority of open, unaudited tasks and of their slots; returns how many tasks changed."""
    parts = _in_order(priorities)
    return sum(_count(_PLACE, {"ids": ids, "values": values, "epoch": EPOCH}) for ids, values in parts)


def explain(*, reasons: Mapping[int, dict[str, Any]]) -> int:
    """Write why open tasks were chosen (plain data; the desk says it in words); returns how many reasons changed."""
    parts = _in_order(reasons)
    return sum(_count(_EXPLAIN, {"ids": ids, "values": [Jsonb(v) for v in values]}) for ids, values in parts)


def _in_order(values: Mapping[int, T]) -> Iterator[tuple[list[int], list[T]]]:
    ids = sorted(values)
    for start in range(0, len(ids), AT_ONCE):
        part = ids[start : start + AT_ONCE]
        yield part, [values[pk] for pk in part]


def _count(statement: Any, given: dict[str, Any]) -> int:
    found = hot.row(statement, given)
    return int(found[0]) if found else 0
