"""How unsure a head is of an item, from its probabilities [n, C]; larger is less sure, 1 the most.

The three classical measures, scaled to [0, 1] so that they can be weighed against a distance: least confidence
(1 − max p)·C/(C − 1), margin 1 − (p₁ − p₂), entropy −Σ p log p / log C.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from learning.selection.state import Floats, SelectionState, blocks

Measure = Callable[[Floats], Floats]


def least_confidence(p: Floats) -> Floats:
    classes = p.shape[1]
    return np.asarray((1.0 - p.max(axis=1)) * (classes / max(classes - 1, 1)), dtype=np.float32)


def margin(p: Floats) -> Floats:
    if p.shape[1] < 2:
        return np.zeros(len(p), dtype=np.float32)
    top = np.partition(p, p.shape[1] - 2, axis=1)[:, -2:]
    return np.asarray(1.0 - (top[:, 1] - top[:, 0]), dtype=np.float32)


def entropy(p: Floats) -> Floats:
    safe = np.maximum(p, np.finfo(np.float32).tiny)
    return np.asarray(-(p * np.log(safe)).sum(axis=1) / np.log(max(p.shape[1], 2)), dtype=np.float32)


MEASURES: dict[str, Measure] = {"least_confidence": least_confidence, "margin": margin, "entropy": entropy}


def measure(name: str) -> Measure:
    """Raises ValueError for an unknown measure."""
    if name not in MEASURES:
        raise ValueError(f"no uncertainty is called {name}: there are {', '.join(MEASURES)}")
    return MEASURES[name]


def uncertainties(state: SelectionState, name: str) -> Floats:
    """The measure for the whole pool [N]; 1 for every item while there is no head."""
    how = measure(name)
    if state.uncertainty is not None and name in state.uncertainty:
        return np.asarray(state.uncertainty[name], dtype=np.float32)
    if state.probabilities is None:
        return np.ones(len(state.pool), dtype=np.float32)
    return over_rows(state.probabilities, how)


def over_rows(probabilities: npt.NDArray[Any], how: Measure) -> Floats:
    values = np.empty(len(probabilities), dtype=np.float32)
    for part in blocks(len(probabilities)):
        values[part] = how(np.asarray(probabilities[part], dtype=np.float32))
    return np.clip(values, 0.0, 1.0, out=values)
