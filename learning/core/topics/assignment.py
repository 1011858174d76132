"""Topics of texts that arrive, from topics that are known: plain numpy, for processes without umap and hdbscan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learning.core.drift.detectors import conformal_p
from learning.core.drift.geometry import Floats, Ints, distance_blocks, k_means, nearest_centre, nearest_others


@dataclass(frozen=True)
class Assignment:
    """Topic ids (m,) of new texts and how likely a known text is to lie as far from its neighbours (m,): small = novel."""

    ids: Ints
    p_values: NDArray[np.float64]


def nearest_topics(known: Floats, ids: Ints, x: Floats, *, votes: int = 15, own: Floats | None = None) -> Assignment:
    """Topics of new texts ``x`` (m, d) by the vote of their nearest among ``known`` (n, d), whose topics are ``ids`` (n,);
    nearer ones count more. Needs at least two known texts; ``own`` are their `own_distances`, where these are kept.
    """
    votes = min(votes, len(known))
    found, nearest = np.empty(len(x), np.int64), np.empty(len(x))
    for rows, distance in distance_blocks(x, known):
        close = np.argpartition(distance, votes - 1, axis=1)[:, :votes]
        gap = np.take_along_axis(distance, close, 1)
        found[rows], nearest[rows] = _vote(ids[close], gap), gap.min(1)
    return Assignment(found, conformal_p(nearest, own_distances(known) if own is None else own))


def placed(known: Floats, points: Floats, x: Floats, *, votes: int = 5) -> Floats:
    """Where new texts ``x`` (m, d) lie on a map whose known texts lie at ``points`` (n, 2): between their nearest ones,
    nearer ones counting more (inverse distance: Shepard 1968).
    """
    votes = min(votes, len(known))
    found = np.empty((len(x), 2), np.float32)
    for rows, distance in distance_blocks(x, known):
        close = np.argpartition(distance, votes - 1, axis=1)[:, :votes]
        weight = 1 / np.maximum(np.take_along_axis(distance, close, 1), 1e-4)
        found[rows] = (points[close] * weight[:, :, None]).sum(1) / weight.sum(1, keepdims=True)
    return found


def centres(x: Floats, ids: Ints, wanted: Ints) -> Floats:
    """Unit centroid (k, d) of each of the ``wanted`` ids (k,); zero where it has no text."""
    means = np.array([x[ids == i].mean(0) if (ids == i).any() else np.zeros(x.shape[1]) for i in wanted])
    means = means.reshape(-1, x.shape[1]).astype(np.float32)
    return np.asarray(means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12))


def halves(x: Floats, seed: int) -> NDArray[np.bool_]:
    """Which texts (n,) of one topic belong to the smaller of its two halves (spherical 2-means); at least one text stays in
    each half. ValueError for fewer than two."""
    if len(x) < 2:
        raise ValueError("a topic of one text cannot be split")
    side = nearest_centre(x, k_means(x, 2, np.random.default_rng(seed)))
    smaller = int(np.bincount(side, minlength=2).argmin())
    part = np.asarray(side == smaller)
    if not part.any():
        part[int((x @ x.mean(0)).argmin())] = True
    return part


def own_distances(x: Floats, most: int = 4000) -> Floats:
    """Nearest-neighbour distances within ``x`` (n, d); of at most about ``most`` evenly spaced rows."""
    some = x[:: max(1, len(x) // most)]
    if len(some) == len(x):
        return nearest_others(x, 1)[1][:, 0]
    return np.concatenate([np.partition(block, 1, axis=1)[:, 1] for _, block in distance_blocks(some, x)])


def _vote(ids: Ints, distance: Floats) -> Ints:
    """Row-wise weighted majority, weights falling from 1 at the nearest to a half at the farthest neighbour."""
    span = np.maximum(distance.max(1, keepdims=True) - distance.min(1, keepdims=True), 1e-12)
    weight = 1 - (distance - distance.min(1, keepdims=True)) / span / 2
    score = ((ids[:, :, None] == ids[:, None, :]) * weight[:, None, :]).sum(2)
    return np.asarray(ids[np.arange(len(ids)), score.argmax(1)])
