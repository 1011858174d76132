"""Strategies of other active-learning tools, on the same embeddings, probabilities and labels as ours."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import numpy as np

from learning.selection import SelectionState

Pick = Callable[[SelectionState, int, np.random.Generator], np.ndarray]


def names() -> list[str]:
    """The peers that are installed."""
    return [name for name, (module, _, _) in PEERS.items() if find_spec(module)]


def versions() -> dict[str, str]:
    """The version of every peer, or "absent"."""
    found = {}
    for module, package in {(module, package) for module, package, _ in PEERS.values()}:
        try:
            found[package] = version(package) if find_spec(module) else "absent"
        except PackageNotFoundError:
            found[package] = "absent"
    return found


def picker(name: str, classes: int) -> Pick:
    """The peer's strategy; a random batch while there is no head, as none of them starts from nothing."""
    strategy = PEERS[name][2]

    def pick(state: SelectionState, n: int, rng: np.random.Generator) -> np.ndarray:
        open_ = state.open
        if state.probabilities is None:
            return rng.permutation(open_)[:n]
        chosen: np.ndarray = open_[strategy(state, open_, n, rng, classes)]
        return chosen

    return pick


class _Fixed:
    """A classifier in scikit-learn's manner that answers with probabilities that are known already."""

    def __init__(self, p: np.ndarray) -> None:
        self.p, self.classes_ = p, np.arange(p.shape[1])

    def predict_proba(self, x: Any) -> np.ndarray:
        return self.p[: len(x)]


def _modal(state: SelectionState, at: np.ndarray, n: int, rng: np.random.Generator, classes: int) -> np.ndarray:
    from modAL.uncertainty import margin_sampling

    assert state.probabilities is not None
    chosen, _ = margin_sampling(_Fixed(state.probabilities[at]), state.pool[at], n_instances=n)
    return np.asarray(chosen)


def _small_text_kcenter(
    state: SelectionState, at: np.ndarray, n: int, rng: np.random.Generator, classes: int
) -> np.ndarray:
    from small_text.query_strategies.coresets import greedy_coreset

    x = np.asarray(state.pool, dtype=np.float32)
    labeled = np.setdiff1d(np.arange(len(x)), at)
    picked = greedy_coreset(x, at, labeled, n, distance_metric="cosine")
    return np.asarray(picked)[:n]


def _small_text_breaking_ties(
    state: SelectionState, at: np.ndarray, n: int, rng: np.random.Generator, classes: int
) -> np.ndarray:
    from small_text.query_strategies import BreakingTies

    assert state.probabilities is not None
    beliefs: np.ndarray = state.probabilities

    class Model:
        def predict_proba(self, dataset: Any) -> np.ndarray:
            return beliefs[: len(dataset)]

    labeled = np.setdiff1d(np.arange(len(state.pool)), at)
    picked = BreakingTies().query(Model(), state.pool, at, labeled, np.zeros(len(labeled), dtype=int), n=n)
    return np.searchsorted(at, np.asarray(picked))


def _skactiveml(kind: str) -> Callable[..., np.ndarray]:
    def pick(state: SelectionState, at: np.ndarray, n: int, rng: np.random.Generator, classes: int) -> np.ndarray:
        from skactiveml import pool as strategies
        from skactiveml.classifier import SklearnClassifier
        from sklearn.linear_model import LogisticRegression

        model = SklearnClassifier(LogisticRegression(C=100, max_iter=300), classes=np.arange(classes))
        x = np.asarray(state.labeled, dtype=np.float64)
        chosen = getattr(strategies, kind)(random_state=int(rng.integers(2**31)))
        return np.asarray(
            chosen.query(
                X=np.concatenate([x, state.pool[at].astype(np.float64)]),
                y=np.concatenate([state.labels.astype(float), np.full(len(at), np.nan)]),
                clf=model,
                fit_clf=True,
                batch_size=n,
            )
        ) - len(x)

    return pick


PEERS: dict[str, tuple[str, str, Callable[..., np.ndarray]]] = {
    "modal_margin": ("modAL", "modAL-python", _modal),
    "small_text_breaking_ties": ("small_text", "small-text", _small_text_breaking_ties),
    "small_text_kcenter": ("small_text", "small-text", _small_text_kcenter),
    "skactiveml_badge": ("skactiveml", "scikit-activeml", _skactiveml("Badge")),
    "skactiveml_falcun": ("skactiveml", "scikit-activeml", _skactiveml("Falcun")),
}
