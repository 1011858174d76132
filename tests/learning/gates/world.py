"""A small world in which a sound candidate passes every gate, to plant faults in."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from learning.core.export import head_graph
from learning.core.heads.training import TrainedHead, train_heads
from learning.gates.checks import Checks
from learning.gates.evidence import Evidence, Judged, Labeled
from learning.gates.judge import judge
from serving.head import OnnxHead
from tests.learning.core.heads.synthetic import clusters

K, D = 5, 24
KEYS = tuple(f"c{i}" for i in range(K))


def labeled(x: np.ndarray, y: np.ndarray, prefix: str) -> Labeled:
    n = len(y)
    return Labeled(
        x.astype(np.float32),
        [KEYS[k] for k in y],
        [f"{prefix}{i}" for i in range(n)],
        [f"{prefix} {i}" for i in range(n)],
    )


@cache
def data() -> tuple[Labeled, Labeled]:
    """(train, test) of two draws from one world."""
    train, test = (clusters(n, K, d=D, spread=0.9, seed=seed)[:2] for n, seed in ((400, 1), (300, 2)))
    return labeled(*train, "train"), labeled(*test, "test")


def trained_on(x: np.ndarray, keys: list[str]) -> TrainedHead:
    return train_heads(x, np.array([KEYS.index(k) for k in keys]), categories=KEYS, random_features=32)


@cache
def good() -> TrainedHead:
    train, _ = data()
    return trained_on(train.x, list(train.keys))


def served(head: TrainedHead, **changed: Any) -> OnnxHead:
    """The head as its bundle would open, with what is ``changed`` in it."""
    parts = {
        "weights": head.served_weights,
        "bias": head.bias,
        "temperature": head.temperature,
        "categories": KEYS,
    } | changed
    return OnnxHead.from_graph(head_graph(head.features, head.neighbours), **parts)


def evidence(given_head: TrainedHead | None = None, **changed: Any) -> Evidence:
    head = given_head or good()
    train, test = data()
    given = Evidence(
        head=changed.pop("head", None) or served(head), bundle_bytes=1000,
        trained=Judged("as trained", KEYS, lambda x: np.asarray(head.probabilities(x))),
        train=train, test=test, checks=Checks(invariance=()), serving=Judged.of("v1", served(good())),
    )  # fmt: skip
    return replace(given, **changed)


def failed(given: Evidence) -> set[str]:
    """Names of the gates that stop this candidate."""
    return {result.name for result in judge(given) if not result.passed}
