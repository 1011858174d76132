"""The guard set: what a live head must still get right before its weights are published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from learning.core.calibration import paired_difference
from learning.core.heads.features import FeatureMap

Matrix = npt.NDArray[np.float64]


class Guard:
    """Texts with known answers that no head trains on; the base's answers are the reference."""

    def __init__(self, features: FeatureMap, x: npt.ArrayLike, answers: Sequence[str], margin: float) -> None:
        self._phi = features(x).astype(np.float32)
        self.answers = list(answers)
        self.margin = margin
        self._reference: npt.NDArray[np.bool_] | None = None

    def right(self, weights: Matrix, bias: Matrix, categories: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Which of the texts get their answer."""
        chosen = (self._phi @ weights.astype(np.float32) + bias.astype(np.float32)).argmax(axis=1)
        names = np.array(categories)
        return np.asarray(names[chosen] == np.array(self.answers))

    def accept(self, right: npt.NDArray[np.bool_]) -> None:
        """Judge what follows against these answers."""
        self._reference = right

    def objection(self, right: npt.NDArray[np.bool_]) -> str:
        """Why these answers must not be served: accuracy fell by more than the margin, and not by chance (95 %)."""
        if self._reference is None or not len(right):
            return ""
        change = paired_difference(right, self._reference)
        if -change.estimate <= self.margin or change.high >= 0:
            return ""
        before, after = self._reference.mean(), right.mean()
        return f"accuracy on {len(right)} guard texts fell from {before:.3f} to {after:.3f}, margin {self.margin:.3f}"

    def rename(self, renamed: Mapping[str, str]) -> None:
        self.answers = [renamed.get(answer, answer) for answer in self.answers]

    def drop(self, category: str) -> None:
        """Leave out the texts of a category that is no more."""
        kept = np.array([answer != category for answer in self.answers], dtype=bool)
        self._phi = self._phi[kept]
        self._reference = None if self._reference is None else self._reference[kept]
        self.answers = [answer for answer in self.answers if answer != category]
