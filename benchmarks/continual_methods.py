"""Learners of `benchmarks.continual`, by name: each is given tasks one after another and answers over all categories."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from learning.core.continual.closed_form import ClassMeans, KernelLda, StreamingLda
from learning.core.continual.gdumb import GDumb
from learning.core.continual.learner import ContinualLearner, Experience, Options
from learning.core.heads.features import FeatureMap
from learning.core.heads.ridge import RidgeStatistics

DEFAULT = "ridge 2048 (default)"
NAIVE = "naive, trained as replay is"
RIDGE_LAMBDAS = (0.003, 0.01, 0.03, 0.1, 0.3)


@dataclass(frozen=True)
class Data:
    """Embeddings and labels; items are rows of ``x``."""

    x: np.ndarray
    y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    classes: int

    def experience(self, at: np.ndarray) -> Experience:
        return Experience(at, self.x[at], self.y[at])


class Learner(Protocol):
    def learn(self, experience: Experience) -> None: ...

    def scores(self, x: Any) -> Any: ...


@dataclass
class Ridge:
    """Random-feature ridge as sufficient statistics: the closed-form half of Enso's default head."""

    features: FeatureMap
    classes: int
    lam: float
    statistics: RidgeStatistics = field(init=False)

    def __post_init__(self) -> None:
        self.statistics = RidgeStatistics(self.features.width, [str(k) for k in range(self.classes)])

    def learn(self, experience: Experience) -> None:
        for at in range(0, len(experience.y), 2048):
            part = slice(at, at + 2048)
            self.statistics.add(self.features(np.asarray(experience.x)[part]), experience.y[part])

    def scores(self, x: Any) -> np.ndarray:
        return np.asarray(self.features(x) @ self.statistics.solve(self.lam))


@dataclass
class Sums:
    """Nearest mean and the discriminants, through the same door."""

    inner: ClassMeans

    def learn(self, experience: Experience) -> None:
        self.inner.add(experience.x, experience.y)

    def scores(self, x: Any) -> np.ndarray:
        return self.inner.scores(x)


@dataclass(frozen=True)
class Method:
    """How a learner is made from ``(data, options, seed)``, and which of its options are searched on validation."""

    make: Callable[[Data, dict[str, Any], int], Learner]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    searched: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # name: bounds, on a log scale

    def option(self, name: str, value: float) -> float | int:
        """A searched value as the learner takes it: epochs are whole."""
        return max(1, round(value)) if name == "epochs" else value

    @property
    def middle(self) -> dict[str, float | int]:
        """The geometric middle of what is searched: the first trial, and what a quick run takes."""
        return {name: self.option(name, (low * high) ** 0.5) for name, (low, high) in self.searched.items()}


def network(data: Data, given: dict[str, Any], seed: int) -> ContinualLearner:
    options = replace(Options(**given), seed=seed)
    return ContinualLearner(data.x.shape[1], data.classes, options, lambda items: data.x[items])


def _ridge(count: int) -> Callable[[Data, dict[str, Any], int], Learner]:
    return lambda data, given, seed: Ridge(FeatureMap(data.x.shape[1], count, seed), data.classes, given["lam"])


def _net(searched: Mapping[str, tuple[float, float]] | None = None, **fixed: Any) -> Method:
    return Method(network, fixed, searched or {})


STRENGTH = {"ewc": (0.03, 300.0)}
# Without replay, how far the network is moved on each task decides how much it forgets: such methods search their own.
PACE = {"rate": (0.0003, 0.03), "epochs": (2.0, 50.0)}

METHODS: Mapping[str, Method] = {
    DEFAULT: Method(_ridge(2048), searched={"lam": (RIDGE_LAMBDAS[0], RIDGE_LAMBDAS[-1])}),
    "ridge 1000": Method(_ridge(1000), searched={"lam": (RIDGE_LAMBDAS[0], RIDGE_LAMBDAS[-1])}),
    "ridge 4000": Method(_ridge(4000), {"lam": None}),  # λ of the default: its kernel does not depend on the width
    "kernel LDA 2000": Method(lambda d, o, s: Sums(KernelLda(FeatureMap(d.x.shape[1], 2000, s), d.classes))),
    "streaming LDA": Method(lambda d, o, s: Sums(StreamingLda(d.x.shape[1], d.classes))),
    "nearest mean": Method(lambda d, o, s: Sums(ClassMeans(d.x.shape[1], d.classes))),
    "replay 1000 herding": _net(capacity=1000, buffer="herding"),
    "replay 1000 balanced": _net(capacity=1000, buffer="balanced"),
    "replay 1000 reservoir": _net(capacity=1000, buffer="reservoir"),
    "replay 500 herding": _net(capacity=500, buffer="herding"),
    "EWC + replay 1000": _net(STRENGTH, capacity=1000, buffer="herding"),
    "EWC + replay 500": _net(STRENGTH, capacity=500, buffer="herding"),
    "DER++ 500": _net({"der": (0.003, 1.0)}, capacity=500, buffer="herding"),
    "GDumb 500": Method(lambda d, o, s: GDumb(d.classes, 500, lambda items: d.x[items], seed=s)),
    "LwF": _net({"lwf": (0.1, 30.0), **PACE}),
    "EWC (linear)": _net({**STRENGTH, **PACE}),
    "EWC online (linear)": _net({**STRENGTH, **PACE}, ewc_gamma=0.95),
    "EWC (MLP)": _net({**STRENGTH, **PACE}, network="mlp", ewc_empirical=True),
    "prototypes + replay 1000": _net(network="prototype", capacity=1000, buffer="herding"),
    "naive": _net(PACE),
    NAIVE: _net(),
}
QUICK = (DEFAULT, "nearest mean", "EWC + replay 1000", "EWC (linear)", NAIVE)
