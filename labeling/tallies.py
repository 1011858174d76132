"""Agreement as it stands now: counts of who said what beside whom, changed with each answer and never recounted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from itertools import combinations

from django.db import connection

from labeling.agreement import Pairs
from labeling.models import AgreementTally, LabelTask

Answer = tuple[int, int]
_Key = tuple[int, int, int, int, int]

_ADD = """
INSERT INTO labeling_agreementtally (project_id, week, size, first_id, second_id, says_first_id, says_second_id, items)
SELECT %s, %s::date, * FROM unnest(%s::int[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::int[])
ON CONFLICT (project_id, week, size, first_id, second_id, says_first_id, says_second_id)
    DO UPDATE SET items = labeling_agreementtally.items + excluded.items
"""


def move(task: LabelTask, *, before: Sequence[Answer], after: Sequence[Answer]) -> None:
    """The counted answers of a task were `before` and are `after`. The caller holds the task's row."""
    change = pairs_of(after)
    change.subtract(pairs_of(before))
    rows = sorted((key, n) for key, n in change.items() if n)
    if not rows:
        return
    # In order, so that two tasks of the same pair never wait for each other.
    columns = [list(column) for column in zip(*(key for key, _ in rows), strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(_ADD, [task.project_id, week_of(task), *columns, [n for _, n in rows]])


def pairs_of(answers: Sequence[Answer]) -> Counter[_Key]:
    return Counter((len(answers), a, b, x, y) for (a, x), (b, y) in combinations(sorted(answers), 2))


def week_of(task: LabelTask) -> date:
    day = task.created_at.date()
    return day - timedelta(days=day.weekday())


def read(*, project_id: int, since: date | None = None) -> list[Pairs]:
    """All that is known of who agrees with whom."""
    rows = AgreementTally.objects.filter(project_id=project_id, items__gt=0)
    if since is not None:
        rows = rows.filter(week__gte=since)
    fields = ("week", "size", "first_id", "second_id", "says_first_id", "says_second_id", "items")
    return [Pairs(*row) for row in rows.order_by(*fields).values_list(*fields)]
