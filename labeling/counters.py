"""The queue's counters: sums of changes that database triggers write, so that no claim waits for another one's count.

Every statement that changes how many tasks or slots are in a state inserts its difference (migration 0011). Reading sums
the differences; `fold` replaces many of them by their sum, so that the sum stays short.
"""

from __future__ import annotations

from django.db import connection
from django.db.models import Sum

from labeling.models import QueueTally

FOLD_AT_ONCE = 50_000

_FOLD = """
WITH old AS (
    DELETE FROM labeling_queuetally WHERE id IN (SELECT id FROM labeling_queuetally ORDER BY id FOR UPDATE SKIP LOCKED LIMIT %s)
    RETURNING project_id, what, n
)
INSERT INTO labeling_queuetally (project_id, what, n)
SELECT project_id, what, sum(n) FROM old GROUP BY project_id, what HAVING sum(n) <> 0
"""


def read(project_id: int) -> dict[str, int]:
    """Tasks by `task:<state>` and open slots by `slot:<role>:open`."""
    rows = QueueTally.objects.filter(project_id=project_id).values_list("what").annotate(total=Sum("n")).order_by()
    return {what: int(total) for what, total in rows}


def fold() -> None:
    """Replace the oldest differences by their sums. Two at once never take the same rows, and no reader sees a gap."""
    with connection.cursor() as cursor:
        cursor.execute(_FOLD, [FOLD_AT_ONCE])
