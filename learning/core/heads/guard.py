"""The guard set: what a live head must still get right before its weights are published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from learning.core.calibration import paired_difference
from learning.core.heads.features import FeatureMap

Matrix = npt.NDArray[np.float64]


class Guard:
    """Texts with known answers that no head trains on; the base's answers are the reference.

    ``phi`` [n, m] are their features, by which whoever owns the weights scores them, and ``before`` [n, e] those that
    stand before φ in the served graph.
    """

    def __init__(
        self,
        features: FeatureMap,
        x: npt.ArrayLike,
        answers: Sequence[str],
        margin: float,
        before: npt.NDArray[np.float32] | None = None,
    ) -> None:
        self.phi = features(x).astype(np.float32)
        self.before = np.zeros((len(self.phi), 0), np.float32) if before is None else before
        self.answers = list(answers)
        self.margin = margin
        self._reference: npt.NDArray[np.bool_] | None = None
        self._found: tuple[tuple[str, ...], npt.NDArray[np.int64]] | None = None

    def right(self, scores: Matrix, categories: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Which of the texts get their answer, by scores [n, K]; none where a score is not a number."""
        expected = self._positions(tuple(categories))
        return np.asarray((scores.argmax(axis=1) == expected) & np.isfinite(scores).all(axis=1))

    def _positions(self, categories: tuple[str, ...]) -> npt.NDArray[np.int64]:
        """Where the answers stand in ``categories``, −1 for what is no category; looked up once for all labels between two changes."""
        if self._found is None or self._found[0] != categories:
            at = {category: position for position, category in enumerate(categories)}
            self._found = categories, np.array([at.get(answer, -1) for answer in self.answers], dtype=np.int64)
        return self._found[1]

    def accept(self, right: npt.NDArray[np.bool_]) -> None:
        """Judge what follows against these answers."""
        self._reference = right

    def objection(self, right: npt.NDArray[np.bool_]) -> str:
        """Why these answers must not be served: accuracy fell by more than the margin, and not by chance (95 %)."""
        if self._reference is None or not len(right):
            return ""
        if (int(self._reference.sum()) - int(right.sum())) / len(right) <= self.margin:
            return ""  # as after almost every label: what chance allows need not be worked out
        if paired_difference(right, self._reference).high >= 0:
            return ""
        before, after = self._reference.mean(), right.mean()
        return f"accuracy on {len(right)} guard texts fell from {before:.3f} to {after:.3f}, margin {self.margin:.3f}"

    def rename(self, renamed: Mapping[str, str]) -> None:
        self.answers, self._found = [renamed.get(answer, answer) for answer in self.answers], None

    def drop(self, category: str) -> None:
        """Leave out the texts of a category that is no more."""
        kept = np.array([answer != category for answer in self.answers], dtype=bool)
        self.phi, self.before = self.phi[kept], self.before[kept]
        self._reference = None if self._reference is None else self._reference[kept]
        self.answers, self._found = [answer for answer in self.answers if answer != category], None
