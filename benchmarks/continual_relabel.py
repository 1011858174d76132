"""Categories that are renamed and merged half-way: who follows, and who protects what has become wrong.

Seven tenths of the training texts carry the old categories. Then a tenth of the categories are merged into another one
each, and a tenth get a new name; the other three tenths of the texts, and all test texts, carry the new ones. The oracle is
the better of ridge and logistic regression trained on everything under the new categories. "network, oracle" is what the
same network reaches when it is trained so; a network that follows is to be compared with that.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.continual_methods import Data, Ridge
from benchmarks.continual_methods import network as made_network
from learning.core.continual.learner import ContinualLearner, Experience
from learning.core.continual.relabeling import TaxonomyChange, relabel
from learning.core.heads.features import FeatureMap
from learning.core.heads.linear import fit_linear, with_bias

OLD_SHARE, CHANGED_SHARE, CAPACITY = 0.7, 0.1, 1000


def compare(data: Data, *, seed: int, lam: float, C: float, network: dict[str, Any]) -> dict[str, Any]:
    """``relabel`` (accuracies by method) and ``relabel_oracle``."""
    rng = np.random.default_rng(seed + 2)
    change = drawn_change(data.classes, rng)
    moved = np.array([change.moved.get(k, k) for k in range(change.classes)])
    old = rng.random(len(data.y)) < OLD_SHARE
    first = Experience(np.flatnonzero(old), data.x[old], data.y[old])
    second = Experience(np.flatnonzero(~old), data.x[~old], moved[data.y[~old]])
    truth = moved[data.test_y]

    def right(scores: Any) -> float:
        return float((np.asarray(scores).argmax(axis=1) == truth).mean())

    world = Data(data.x, moved[data.y], data.test_x, truth, change.classes)
    oracles = {"ridge": right(_ridge(world, [world.experience(np.arange(len(world.y)))], lam, seed).scores(data.test_x))}
    theta = fit_linear(data.x, np.eye(change.classes)[world.y], np.ones(len(world.y)), C=C)
    oracles["logistic regression"] = right(with_bias(data.test_x) @ theta)
    found = {"statistics, relabeled exactly": right(_relabeled_ridge(data, first, second, change, lam, seed))}
    for name, options, follows in _networks():
        learner = _taught(data, first, second, change, {**network, **options}, seed, follows=follows)
        found[name] = right(learner.scores(data.test_x))
    taught = made_network(world, {**network, "ewc": 0.0}, seed)
    taught.learn(world.experience(np.arange(len(world.y))))
    found["network, oracle"] = right(taught.scores(data.test_x))
    return {"relabel": found, "relabel_oracle": max(oracles.values()), "relabel_oracles": oracles,
            "relabel_changed": {str(k): int(v) for k, v in change.moved.items()}}  # fmt: skip


def drawn_change(classes: int, rng: np.random.Generator) -> TaxonomyChange:
    """A tenth of the categories is merged into another one each, and a tenth gets a position of its own."""
    count = max(1, round(CHANGED_SHARE * classes))
    drawn = rng.permutation(classes)
    gone, into, renamed = drawn[:count], drawn[count : 2 * count], drawn[2 * count : 3 * count]
    moved = dict(zip(gone.tolist(), into.tolist(), strict=True))
    moved |= {int(k): classes + n for n, k in enumerate(renamed)}
    return TaxonomyChange(classes + len(renamed), moved)


def _networks() -> list[tuple[str, dict[str, Any], bool]]:
    """(name, options, whether it is told of the change)."""
    return [
        ("EWC + replay, relabeled", {"capacity": CAPACITY}, True),
        ("replay, relabeled", {"capacity": CAPACITY, "ewc": 0.0}, True),
        ("naive", {"ewc": 0.0}, False),
        ("EWC, stale", {}, False),
        ("replay, stale", {"capacity": CAPACITY, "ewc": 0.0}, False),
    ]


def _taught(
    data: Data,
    first: Experience,
    second: Experience,
    change: TaxonomyChange,
    options: dict[str, Any],
    seed: int,
    *,
    follows: bool,
) -> ContinualLearner:
    """Learn the old labels, then (told of the change or not) the new ones. Places for new categories are there."""
    world = Data(data.x, data.y, data.test_x, data.test_y, change.classes)
    learner = made_network(world, options, seed)
    learner.learn(first)
    if follows:
        relabel(learner, change)
    learner.learn(second)
    return learner


def _ridge(world: Data, experiences: list[Experience], lam: float, seed: int) -> Ridge:
    made = Ridge(FeatureMap(world.x.shape[1], 2048, seed), world.classes, lam)
    for experience in experiences:
        made.learn(experience)
    return made


def _relabeled_ridge(
    data: Data, first: Experience, second: Experience, change: TaxonomyChange, lam: float, seed: int
) -> np.ndarray:
    """Scores in the new order of categories, after the statistics were renamed and merged, not relearned."""
    made = _ridge(data, [first], lam, seed)
    statistics = made.statistics
    for source, target in change.moved.items():
        if target < data.classes:
            statistics.merge_categories([str(source)], str(target))
        else:
            statistics.rename_category(str(source), str(target))
    order = np.array([int(key) for key in statistics.categories])
    place = {int(k): n for n, k in enumerate(order)}
    statistics.add(made.features(second.x), np.array([place[int(k)] for k in second.y]))
    scores = np.full((len(data.test_x), change.classes), -np.inf)
    scores[:, order] = made.scores(data.test_x)
    return scores
