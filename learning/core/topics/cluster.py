"""Embeddings to topics: UMAP (McInnes et al. 2018), HDBSCAN (Campello et al. 2013), and a consensus over seeds and
sizes.

One run of the pair is a matter of luck: two seeds agree at an adjusted Rand index of little more than one half, and
every smallest size gives other topics. So each of a few seeds lays the texts out once, and HDBSCAN cuts every layout at
a range of smallest sizes. The sizes whose runs agree best with those of the other seeds are kept (between-seed
stability), and texts that share a cluster in most of the kept runs share a topic (evidence accumulation: Fred and Jain
2005; average linkage on the co-association, cut at one half).

Texts that most runs call noise are marked so, and still given the topic that most runs reassign them to.

Imports umap, numba and hdbscan: for workers only.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import hdbscan
import numpy as np
import umap
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import KNeighborsClassifier

from learning.core.drift.geometry import Floats, Ints, nearest_others

Bools = NDArray[np.bool_]
UNASSIGNED = -1
Step = Callable[[float], None]  # told the share of the work that is done; may raise to stop


def unwatched(share: float) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True)
class Config:
    """Every figure has its reason; none depends on the texts."""

    neighbours: int = 15  # UMAP's own default: local enough for topics of tens of texts
    dimensions: int = 5  # enough to keep topics apart, few enough for densities to mean something
    layouts: int = 6  # seeds that vote: two such consensuses agree at .91 (of 5: .89), and each costs a fifth more
    epochs: int = (
        200  # UMAP's default for large data; 500, its default for small, changes nothing that the consensus keeps
    )
    density: int = 5  # HDBSCAN's min_samples: low, since what is noise is settled by vote
    sizes: int = 7  # smallest sizes tried, from sqrt(n) / 5 to sqrt(n); the more stable half votes
    cut: float = 0.5  # share of runs that must agree
    votes: int = 15  # neighbours that reassign noise
    memory: float = (
        0.6  # votes of the previous topics at a re-fit, as a share of all runs: half keeps .926 of the ids, this .938
    )
    most: int = 50_000  # texts clustered at once; beyond that a stratified sample is, and the rest assigned


@dataclass(frozen=True)
class Clusters:
    """``labels`` (n,) from 0 to k - 1, noise reassigned; ``noise`` (n,) where most runs found none; ``stability`` by
    smallest size.
    """

    labels: Ints
    noise: Bools
    stability: dict[int, float]


def smallest_sizes(n: int, config: Config) -> list[int]:
    """Geometric range of HDBSCAN's min_cluster_size for ``n`` texts, at least 5.

    Below 576 texts the root alone would ask for topics of a handful, into which the leaves break everything up: there it goes
    up to 24, or a sixth of the texts.
    """
    high = max(math.sqrt(n), min(24.0, n / 6), 6.0)
    return sorted({round(s) for s in np.geomspace(max(high / 5, min(8.0, high / 3), 5.0), high, config.sizes)})


def cluster(
    x: Floats,
    config: Config,
    *,
    seed: int,
    sizes: list[int] | None = None,
    previous: Ints | None = None,
    step: Step = unwatched,
) -> Clusters:
    """Topics of unit embeddings ``x`` (n, d), the same for the same seed.

    ``previous`` (n,) are topic ids that the texts had before: they vote too, so that a re-fit changes what the texts
    ask for and no more. Fewer than 30 texts, or texts without any dense place, are one topic of noise.
    """
    if len(x) < 30:
        return Clusters(np.zeros(len(x), np.int64), np.ones(len(x), bool), {})
    sizes = sizes or smallest_sizes(len(x), config)
    graph = neighbour_graph(x, config.neighbours)
    first, runs = _runs(x, graph, sizes, seed, config, step)
    stability = _stability(runs)
    kept = sorted(stability, key=lambda size: -stability[size])[: math.ceil(len(sizes) / 2)]
    labels = np.array([run.labels for run in runs if run.size in kept])
    weights = np.ones(len(labels))
    noise = np.mean([run.noise for run in runs], axis=0) > 0.5
    if previous is not None:
        weights = np.append(weights, config.memory * len(labels))
        labels = np.vstack([labels, previous])
    groups = consensus(labels, weights, cut=config.cut)
    return Clusters(*_settled(groups, noise, first, sizes[0], config), stability)


def _runs(
    x: Floats, graph: tuple[Ints, Floats], sizes: list[int], seed: int, config: Config, step: Step
) -> tuple[Floats, list[_Run]]:
    """The first layout, and every layout cut at every size."""
    runs: list[_Run] = []
    first = x
    for k in range(config.layouts):
        step(k / config.layouts)
        points = layout(x, graph, config.dimensions, seed * 1000 + k, config.epochs)
        first = first if k else points
        runs += [_cut(points, size, k, config) for size in sizes]
    return first, runs


def neighbour_graph(x: Floats, k: int) -> tuple[Ints, Floats]:
    """The ``k`` nearest texts of each, itself first, as UMAP wants them: exact, by blocks."""
    k = min(k, len(x) - 1)
    index, distance = nearest_others(x, k - 1)
    own = np.arange(len(x))[:, None]
    return np.hstack([own, index]), np.hstack([np.zeros((len(x), 1), np.float32), distance])


def layout(
    x: Floats,
    graph: tuple[Ints, Floats],
    dimensions: int,
    seed: int,
    epochs: int = 200,
    *,
    apart: float = 0.0,
    start: Floats | None = None,
) -> Floats:
    """UMAP coordinates (n, dimensions); two dimensions to draw, five to cluster.

    ``apart`` is UMAP's min_dist; from ``start`` (n, dimensions) a map keeps the look that it had.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # UMAP warns that a seed means one thread: that is wanted
        reducer = umap.UMAP(
            n_components=dimensions, n_neighbors=graph[0].shape[1], min_dist=apart, metric="cosine", n_epochs=epochs,
            random_state=seed, precomputed_knn=graph, n_jobs=1, init="spectral" if start is None else start,
        )  # fmt: skip
        return np.asarray(reducer.fit_transform(x), dtype=np.float32)


def warm_up(config: Config | None = None) -> None:
    """Compile UMAP's and HDBSCAN's inner loops, once per worker process, on a few random points."""
    config = config or Config()
    x = np.random.default_rng(0).normal(size=(120, 8)).astype(np.float32)
    cluster(x / np.linalg.norm(x, axis=1, keepdims=True), config, seed=0)


@dataclass(frozen=True)
class _Run:
    """One layout cut at one smallest size."""

    seed: int
    size: int
    labels: Ints  # noise reassigned
    noise: Bools


def _cut(points: Floats, size: int, seed: int, config: Config) -> _Run:
    """HDBSCAN with the leaves of its tree: even topics, where the usual choice keeps a few huge ones."""
    model = hdbscan.HDBSCAN(
        min_cluster_size=size, min_samples=config.density, cluster_selection_method="leaf", core_dist_n_jobs=1
    )
    labels = np.asarray(model.fit(points).labels_, dtype=np.int64)
    return _Run(seed, size, reassign(points, labels, config.votes), labels == UNASSIGNED)


def _stability(runs: list[_Run]) -> dict[int, float]:
    """Mean adjusted Rand index of each size's runs with the runs of every other seed, at any size."""
    met: dict[int, list[float]] = {run.size: [] for run in runs}
    for a, b in combinations(runs, 2):
        if a.seed != b.seed:
            index = float(adjusted_rand_score(a.labels, b.labels))
            met[a.size].append(index)
            met[b.size].append(index)
    return {size: float(np.mean(found)) if found else 1.0 for size, found in met.items()}


def reassign(points: Floats, labels: Ints, votes: int) -> Ints:
    """Labels with every unassigned point given the majority of its ``votes`` nearest assigned ones (0 where none is)."""
    lost = labels == UNASSIGNED
    if lost.all():
        return np.zeros_like(labels)
    full = labels.copy()
    if lost.any():
        voters = KNeighborsClassifier(min(votes, int((~lost).sum()))).fit(points[~lost], labels[~lost])
        full[lost] = voters.predict(points[lost])
    return full


def consensus(labels: Ints, weights: NDArray[np.float64], *, cut: float = 0.5, most: int = 3000) -> Ints:
    """Clusters (n,) of texts that share one in a weighted share ``cut`` of the runs ``labels`` (runs, n).

    Texts that agree in every run are one atom, which makes the co-association small; where runs disagree so much that
    there are more than ``most`` atoms, the rarest join the most similar of the others.
    """
    atoms, atom_of, sizes = np.unique(labels.T, axis=0, return_inverse=True, return_counts=True)
    kept = np.sort(np.argsort(-sizes, kind="stable")[:most])
    together = _co_association(atoms[kept], atoms[kept], weights)
    distance = 1 - together
    np.fill_diagonal(distance, 0)
    groups = np.zeros(len(atoms), np.int64)
    if len(kept) > 1:
        groups[kept] = fcluster(linkage(squareform(distance, checks=False), "average"), 1 - cut, "distance")
    rare = np.setdiff1d(np.arange(len(atoms)), kept)
    if len(rare):
        groups[rare] = groups[kept][_co_association(atoms[rare], atoms[kept], weights).argmax(1)]
    return np.asarray(groups[atom_of.ravel()], dtype=np.int64)


def _co_association(a: Ints, b: Ints, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted share of runs in which each row of ``a`` has the label of each row of ``b``."""
    together = np.zeros((len(a), len(b)))
    for column_a, column_b, weight in zip(a.T, b.T, weights, strict=True):
        together += weight * (column_a[:, None] == column_b)
    return np.asarray(together / weights.sum())


def _settled(groups: Ints, noise: Bools, points: Floats, smallest: int, config: Config) -> tuple[Ints, Bools]:
    """Consensus clusters too small to be topics dissolve into their neighbours; ids run from 0, the largest first."""
    _, groups, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    small = sizes[groups] < max(smallest / 2, 3)
    labels = reassign(points, np.where(small, UNASSIGNED, groups), config.votes)
    _, labels, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    rank = np.empty(len(sizes), np.int64)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    return rank[labels], noise | small
