"""What a project's strategy may pick as vectors on disk: segments of a memory-mapped pool, brought up to date by task id.

That is open selection tasks, and those that were retired with a late answer (learning/queueing.py says why). A segment holds the
tasks of one span of ids under one encoder variant. What a segment should hold is asked of PostgreSQL each time, so that it is
right whatever happened meanwhile; only vectors that it lacks are read. A labeled or erased task leaves with the next look, and
an erasure looks at once (`forget_closed`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.db import connection
from numpy.typing import NDArray

from feedback.models import Fold
from learning.core import pool_file
from learning.core.pool_file import Segment
from learning.selection import NearestCache

SPAN_BITS = 16  # a segment spans 65,536 task ids: at most 50 MB of 384 dimensions
READ = 5_000  # vectors that are read at a time
NEAREST = "nearest.npz"

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

_HELD = """
FROM labeling_labeltask t JOIN feedback_inquiry i ON i.id = t.inquiry_id JOIN feedback_project p ON p.id = t.project_id
JOIN serving_embedding e ON e.inquiry_id = i.id
WHERE t.project_id = %(project)s AND t.kind = 'selection' AND i.fold = %(fold)s AND (t.state = 'open' OR (
    p.retire_sure AND t.state = 'retired' AND EXISTS (SELECT 1 FROM serving_lateanswer l WHERE l.inquiry_id = i.id)))
"""
_VECTORS = """
SELECT t.id, e.vector FROM labeling_labeltask t JOIN serving_embedding e ON e.inquiry_id = t.inquiry_id
WHERE e.encoder_sha = %(sha)s AND t.id = ANY (%(ids)s)
"""


def spread(*, project_id: int) -> dict[str, dict[int, int]]:
    """How many tasks a pool should hold, by encoder variant and segment."""
    found: dict[str, dict[int, int]] = {}
    rows = _rows(
        f"SELECT e.encoder_sha, t.id >> {SPAN_BITS}, count(*) {_HELD} GROUP BY 1, 2 ORDER BY 1, 2",
        project_id=project_id,
    )
    for sha, number, count in rows:
        found.setdefault(sha, {})[number] = count
    return found


def segment_ids(*, project_id: int, encoder_sha: str, number: int) -> Ints:
    """Ids of the tasks that a segment should hold, in order."""
    within = {"first": number << SPAN_BITS, "end": (number + 1) << SPAN_BITS}
    return _ids("AND t.id >= %(first)s AND t.id < %(end)s", project_id, encoder_sha, **within)


def open_ids(*, project_id: int, encoder_sha: str, raised: bool = False) -> Ints:
    """Ids of all that is open in the pool, in order; ``raised``: only those with a priority above 0."""
    return _ids("AND t.state = 'open'" + (" AND t.priority > 0" if raised else ""), project_id, encoder_sha)


def vectors(*, encoder_sha: str, ids: Ints, dimension: int) -> Floats:
    """Rows [n, d] of these tasks as the pool holds them; zeros for one that is gone meanwhile."""
    x = np.zeros((len(ids), dimension), np.float32)
    order = np.argsort(ids)
    for found, rows in _fetched(encoder_sha, ids, dimension):
        x[order[np.searchsorted(ids, found, sorter=order)]] = rows
    return x


@contextmanager
def segment(*, project_id: int, encoder_sha: str, number: int, dimension: int) -> Iterator[Segment]:
    """A segment as it is to be at this moment; nobody else on this machine has it open until it is left."""
    wanted = segment_ids(project_id=project_id, encoder_sha=encoder_sha, number=number)
    with pool_file.opened(_folder(project_id, encoder_sha) / str(number), dimension) as found:
        found.align(wanted, lambda missing: _fetched(encoder_sha, missing, dimension))
        yield found


def nearest_of(found: Segment) -> NearestCache:
    """The cosines to what is covered that the last look at this segment left."""
    try:
        with np.load(found.folder / NEAREST, allow_pickle=False) as kept:
            return NearestCache.of(dict(kept))
    except (OSError, ValueError, KeyError):
        return NearestCache()


def keep_nearest(found: Segment, cache: NearestCache) -> None:
    """For the next look."""
    being_written = found.folder / f"{NEAREST}.new"
    with being_written.open("wb") as file:
        np.savez(file, allow_pickle=False, **cache.arrays())
    being_written.replace(found.folder / NEAREST)


def forget_closed(*, project_id: int) -> None:
    """Take out of every segment on this machine what it should not hold any more."""
    for folder, numbers in _segments(project_id):
        for number in numbers:
            wanted = segment_ids(project_id=project_id, encoder_sha=folder.name, number=number)
            with pool_file.opened(folder / str(number), pool_file.width_of(folder / str(number))) as found:
                found.align(wanted)
    prune(project_id=project_id, held=spread(project_id=project_id))


def prune(*, project_id: int, held: Mapping[str, Mapping[int, int]]) -> None:
    """Delete the segments on this machine of which nothing is left, by what `spread` says."""
    for folder, numbers in _segments(project_id):
        for number in numbers:
            if number not in held.get(folder.name, {}):
                pool_file.delete(folder / str(number))


def _segments(project_id: int) -> list[tuple[Path, list[int]]]:
    """Folder of each encoder variant, and the numbers of its segments."""
    own = Path(settings.ENSO_POOLS) / str(project_id)
    folders = sorted(f for f in own.iterdir() if f.is_dir()) if own.is_dir() else []
    return [(f, sorted(int(s.name) for s in f.iterdir() if s.is_dir() and s.name.isdecimal())) for f in folders]


def _folder(project_id: int, encoder_sha: str) -> Path:
    return Path(settings.ENSO_POOLS) / str(project_id) / encoder_sha


def _fetched(encoder_sha: str, ids: Ints, dimension: int) -> Iterator[tuple[Ints, NDArray[np.float16]]]:
    """Vectors that are stored, in batches. Raises ValueError for one of another width."""
    for start in range(0, len(ids), READ):
        with connection.cursor() as cursor:
            cursor.execute(_VECTORS, {"sha": encoder_sha, "ids": ids[start : start + READ].tolist()})
            rows: Sequence[tuple[int, Any]] = cursor.fetchall()
        if not rows:
            continue
        content = b"".join(bytes(v) for _, v in rows)
        if len(content) != 2 * dimension * len(rows):
            raise ValueError(f"stored vectors under {encoder_sha[:12]} do not have {dimension} numbers each")
        yield np.array([pk for pk, _ in rows], np.int64), np.frombuffer(content, "<f2").reshape(len(rows), dimension)


def _ids(which: str, project_id: int, encoder_sha: str, **given: Any) -> Ints:
    statement = f"SELECT t.id {_HELD} AND e.encoder_sha = %(sha)s {which} ORDER BY t.id"
    return np.fromiter((pk for (pk,) in _rows(statement, project_id=project_id, sha=encoder_sha, **given)), np.int64)


def _rows(statement: str, *, project_id: int, **given: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, {"project": project_id, "fold": Fold.TRAIN.value, **given})
        return list(cursor.fetchall())
