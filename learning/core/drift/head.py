"""The head whose doubt and answers the default test reads: closed-form ridge on the reference's own labels.

It belongs to the test and never serves, so that what it says of a text does not change when a new version goes live. Texts
that it was trained on are scored by exact leave-one-out (hat matrix), all others plainly: every score, in the reference
and in the window, comes from a head that did not know the text's label.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
PENALTY = 1.0


class DriftHead:
    """Ridge scores of ``classes`` classes from labeled unit embeddings ``x`` (n, d) and their ``labels`` (n,)."""

    def __init__(self, x: Floats, labels: Ints, classes: int) -> None:
        if len(x) < 2 or len(np.unique(labels)) < 2:
            raise ValueError("a head needs labels of two classes")
        a = _with_constant(x)
        self._own = np.eye(classes)[labels]
        inverse = np.linalg.inv(a.T @ a + PENALTY * np.eye(a.shape[1]))
        self._weights = inverse @ (a.T @ self._own)
        self._leverage = ((a @ inverse) * a).sum(1, keepdims=True)

    def scores(self, x: Floats) -> NDArray[np.float64]:
        """Scores (n, classes) of texts that it was not trained on."""
        return np.asarray(_with_constant(x) @ self._weights)

    def scores_without(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores of the texts that it was trained on, each as if that text had been left out; ``scores`` are the plain ones."""
        return np.asarray((scores - self._leverage * self._own) / (1 - self._leverage))


def answers(scores: NDArray[np.float64]) -> tuple[Ints, Floats]:
    """Predicted classes (n,) and doubt (n,): minus the margin of the best score over the second."""
    top = np.sort(scores, axis=1)[:, -2:]
    return np.asarray(scores.argmax(1), dtype=np.int64), np.asarray(top[:, 0] - top[:, 1], dtype=np.float32)


def _with_constant(x: NDArray[Any]) -> NDArray[np.float64]:
    return np.hstack([x, np.ones((len(x), 1))]).astype(np.float64)
