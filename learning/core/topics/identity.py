"""Who is who after a re-fit: topics keep their ids, and births, deaths, splits and merges are told.

New topics are matched to old ones one to one (Hungarian method: Kuhn 1955) by what they share: half the Jaccard index
of their members, half the cosine of their centroids. A match needs either a majority of members or nearly the same
centroid. A new topic without a match whose members came mostly from one old topic inherits from it (``split``), so that
its name and notes can be carried over; one old topic without a match whose members went mostly into one new topic was
absorbed by it (``merge``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from learning.core.drift.geometry import Floats, Ints

Array = NDArray[np.float64]

COSINE = 0.9  # the same centroid, ...
JACCARD = 0.5  # ... and half the members: a topic that was kept


@dataclass(frozen=True)
class Event:
    """``topic`` is the id concerned; ``others`` the ids it came from (split, merge: from which, or which it absorbed)."""

    kind: Literal["birth", "death", "split", "merge"]
    topic: int
    others: tuple[int, ...] = ()


@dataclass(frozen=True)
class Matching:
    """``ids`` gives each new label (0 to k - 1) its topic id: an old one, or a fresh one from ``next_id`` on."""

    ids: Ints
    events: tuple[Event, ...]
    next_id: int


def match(old: Ints, new: Ints, x: Floats, *, next_id: int) -> Matching:
    """Carry the ids of ``old`` over to the labels of ``new``, both (n,) for the same texts ``x`` (n, d); -1 in ``old``
    = a text not there before."""
    old_ids, labels = np.unique(old[old >= 0]), np.unique(new)
    shared = overlap(old, new, old_ids, labels)
    cosine = _centroids(x, old, old_ids) @ _centroids(x, new, labels).T
    score = (jaccard(shared, np.isin(old, old_ids), old, new, old_ids, labels) + cosine) / 2
    rows, columns = linear_sum_assignment(-score)
    from_old, into_new = shared / np.maximum(shared.sum(0), 1), shared / np.maximum(shared.sum(1, keepdims=True), 1)
    kin = (np.maximum(from_old, into_new) > 0.5) | (cosine >= COSINE)
    pairs = {int(c): int(old_ids[r]) for r, c in zip(rows, columns, strict=True) if kin[r, c]}
    fresh = {int(c): next_id + k for k, c in enumerate(c for c in range(len(labels)) if c not in pairs)}
    ids = np.array([pairs.get(c, fresh.get(c, -1)) for c in range(len(labels))], dtype=np.int64)
    return Matching(ids, tuple(_events(old_ids, ids, pairs, from_old, into_new)), next_id + len(fresh))


def overlap(old: Ints, new: Ints, old_ids: Ints, labels: Ints) -> Array:
    """Texts (old topics, new topics) that were in the one and are in the other."""
    known = np.isin(old, old_ids)
    table = np.zeros((len(old_ids), len(labels)))
    np.add.at(table, (np.searchsorted(old_ids, old[known]), np.searchsorted(labels, new[known])), 1)
    return table


def jaccard(shared: Array, known: NDArray[np.bool_], old: Ints, new: Ints, old_ids: Ints, labels: Ints) -> Array:
    """Jaccard index of each old and new topic over the texts known before."""
    sizes_old = np.array([(old == i).sum() for i in old_ids])
    sizes_new = np.array([(new[known] == j).sum() for j in labels])
    return np.asarray(shared / np.maximum(sizes_old[:, None] + sizes_new - shared, 1))


def _centroids(x: Floats, labels: Ints, ids: Ints) -> Floats:
    means = np.array([x[labels == i].mean(0) for i in ids]).reshape(-1, x.shape[1])
    return np.asarray(means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12))


def _events(old_ids: Ints, ids: Ints, pairs: dict[int, int], from_old: Array, into_new: Array) -> Sequence[Event]:
    events = []
    for label, topic in enumerate(ids.tolist()):
        if label in pairs:
            continue
        parent = int(from_old[:, label].argmax()) if len(old_ids) else -1
        inherits = parent >= 0 and from_old[parent, label] > 0.5
        events.append(Event("split", topic, (int(old_ids[parent]),)) if inherits else Event("birth", topic))
    for row in np.flatnonzero(~np.isin(old_ids, list(pairs.values()))):
        heir = int(into_new[row].argmax())
        absorbed = into_new[row, heir] > 0.5
        gone = int(old_ids[row])
        events.append(Event("merge", int(ids[heir]), (gone,)) if absorbed else Event("death", gone))
    return events


def share_kept(old: Ints, new: Ints, x: Floats) -> float:
    """Share of old topics whose id still stands for them: centroid cosine >= .9 and Jaccard >= .5 over the texts known
    before.

    ``old`` and ``new`` are topic ids (n,); -1 in ``old`` for texts not there before.
    """
    known = old >= 0
    kept = 0
    old_ids = np.unique(old[known])
    for topic in old_ids:
        before, now = old == topic, new == topic
        if not now.any():
            continue
        cosine = float((_centroids(x, old, np.array([topic])) @ _centroids(x, new, np.array([topic])).T)[0, 0])
        union = (before | (now & known)).sum()
        kept += cosine >= COSINE and (before & now).sum() / union >= JACCARD
    return kept / len(old_ids)
