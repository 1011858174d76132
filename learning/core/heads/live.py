"""The live head: every resolved label is in the next answer, and in the statistics exactly once.

One owner holds a `LiveHead` per base version and encoder variant and feeds it the journal of label changes
(learning/core/heads/journal.py). Served is the base plus what the labels since have moved: θ + g·(W − W₀), with W the
ridge solution of the labels as they stand, kept exact (learning/core/heads/online.py), W₀ that of the base's labels, and
g what a ridge score counts. Of a blend this is its ridge part, current; any other head over the same features gets the
same correction, and stays as it was trained otherwise until the next base.

Before weights are published, a fixed guard set is scored with them: a drop beyond the margin freezes the head at its last
good delta until a person decides. The weight that one annotator can add between two bases is capped; what exceeds it
waits for the next base version and its gates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from learning.core.calibration import fit_temperature
from learning.core.heads.base import LiveBase, counted
from learning.core.heads.guard import Guard
from learning.core.heads.journal import Change, Held, Journal, Limits, held_from
from learning.core.heads.online import OnlineRidge
from learning.core.heads.prior import normalised
from learning.core.heads.ridge import RidgeStatistics
from learning.core.heads.still import StillPart
from learning.core.heads.training import LIVE_SHARE, TrainedHead
from serving.head import HeadDelta

Matrix = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Known = tuple[npt.ArrayLike, Sequence[str]]  # embeddings [n, d] and category keys [n]
Neighbours = Callable[[npt.ArrayLike], Singles]
DEFAULT_LIMITS = Limits()


class LiveHead:
    """A base version that follows single labels; not safe for several threads: it has one owner."""

    def __init__(
        self,
        base: LiveBase,
        labels: Iterable[Change],
        *,
        name: str,
        guard: Known | None = None,
        calibration: Known | None = None,
        limits: Limits = DEFAULT_LIMITS,
        number: int = 0,
        neighbours: Neighbours | None = None,
    ) -> None:
        """``labels`` are those that the base was trained on, ``name`` its manifest hash, ``number`` its last delta.

        ``guard`` and ``calibration`` hold labels that train nothing. ``neighbours`` gives the features [n, e] before φ of
        a base that has any, which labels do not move.
        """
        if base.before and neighbours is None:
            raise ValueError("the base looks up neighbours: say how")
        self._neighbours = neighbours
        self.base, self.limits, self.features = name, limits, base.features
        self.number, self.temperature, self.frozen = number, base.temperature, ""
        self._gain, self._pseudo = base.gain, list(base.pseudo)
        self.journal = Journal(labels, limits)
        self._online = OnlineRidge(self._counted(base.categories), base.lam)
        self._part = StillPart(base.fixed, base.prior, base.before)
        known_x, known_y = guard or (np.zeros((0, self.features.dimension)), [])
        self._guard = Guard(
            self.features, known_x, known_y, margin=limits.margin, before=self._before(known_x) if base.before else None
        )
        self._calibration = calibration
        self._recompose()
        self._guard.accept(self._right())
        self._changed = self._uncalibrated = 0
        self.delta = self._delta()

    @classmethod
    def of(
        cls,
        head: TrainedHead,
        labels: Iterable[Change],
        *,
        name: str,
        prototypes: npt.ArrayLike | None = None,
        live_share: float = LIVE_SHARE,
        **options: Any,
    ) -> LiveHead:
        """From a head that has just been trained on ``labels`` (see `LiveBase.of`)."""
        known = list(labels)
        held = (held_from(change, live=False) for change in known)
        base = LiveBase.of(head, held, prototypes=prototypes, live_share=live_share)
        return cls(base, known, name=name, neighbours=head.neighbours, **options)

    @property
    def categories(self) -> tuple[str, ...]:
        return tuple(self.statistics.categories)

    @property
    def statistics(self) -> RidgeStatistics:
        return self._online.statistics

    @property
    def weights(self) -> tuple[Matrix, Matrix]:
        """(weights [e + m, K], bias [K]) as they would be served now."""
        weights = self._part.weights
        weights[-self.features.width :] += self._gain * self._online.weights
        return weights, self._part.bias

    @property
    def ridge_weights(self) -> Matrix:
        """The closed-form solution [m, K] alone, as it follows the labels."""
        return self._online.weights

    @property
    def guard_accuracy(self) -> float:
        """Share of the guard texts that would be answered rightly now; NaN without any."""
        right = self._right()
        return float(right.mean()) if len(right) else float("nan")

    @property
    def largest_drift(self) -> float:
        """The largest distance from the exact solution that was measured (and repaired) so far."""
        return self._online.largest_drift

    def apply(self, change: Change) -> bool:
        """Take one change over; False where it was known already. Raises ValueError for what cannot be a label."""
        if change.category is not None:
            self.statistics.index(change.category)
            if np.asarray(change.embedding).shape != (self.features.dimension,):
                raise ValueError(f"label {change.label} needs an embedding [{self.features.dimension}]")
        taken = self.journal.take(change)
        if taken is None:
            return False
        self._follow(*taken)
        return True

    def apply_all(self, changes: Sequence[Change]) -> int:
        """Take many changes over; where a refit costs less than following each, by one. Returns how many were new."""
        if len(changes) <= self.features.width // 8:
            return sum(self.apply(change) for change in changes)
        taken = sum(self.journal.take(change) is not None for change in changes)
        if taken:
            self._online = OnlineRidge(self._counted(self.categories), self._online.lam)
            self._changed += taken
            self._recompose()
        return taken

    def expect_delta(self) -> None:
        """Publish next time even where no label changes: what is served is not what this head started from."""
        self._changed += 1

    def publish(self) -> HeadDelta:
        """The delta to be served: a new one if something changed and the guard set agrees, else the last good one."""
        if self.frozen or not self._changed:
            return self.delta
        self.frozen = self._guard.objection(self._right())
        if self.frozen:
            return self.delta
        self._uncalibrated += self._changed
        if self._uncalibrated >= self.limits.recalibrate_every:
            self.recalibrate()
        self.number, self._changed = self.number + 1, 0
        self.delta = self._delta()
        return self.delta

    def thaw(self, *, accept: bool = False) -> bool:
        """Publish again if the guard set agrees by now, or, with ``accept``, because a person says so."""
        right = self._right()
        if accept:
            self._guard.accept(right)
        self.frozen = self._guard.objection(right)
        return not self.frozen

    def recalibrate(self) -> float:
        """Fit the temperature to the calibration labels, where there are any."""
        self._uncalibrated = 0
        x, keys = self._calibration or (None, ())
        at = [i for i, key in enumerate(keys) if key in self.categories]
        if at:
            y = np.array([self.categories.index(keys[i]) for i in at], dtype=np.int64)
            weights, bias = self.weights
            known = np.asarray(x)[at]
            rows = np.concatenate([self._before(known), self.features(known)], axis=1)
            self.temperature = fit_temperature(rows @ weights + bias, y)
        return self.temperature

    def forget(self, labels: Iterable[str]) -> int:
        """Withdraw labels and drop every trace of them; returns how many were known."""
        known = [label for label in labels if label in self.journal]
        for label in known:
            self._follow(self.journal.forget(label), None)
        return len(known)

    def add_category(self, key: str, prototype: npt.ArrayLike | None = None) -> None:
        """A new category, known by its texts (unit ``prototype`` [d]) until it has labels.

        As in training, its pseudo-example weighs as much as the labels of an average category.
        """
        usual = float(self.statistics.weight.sum()) / max(1, len(self.categories))
        self._online.add_category(key)
        row = np.zeros(self.features.dimension)
        if prototype is not None:
            row = normalised(np.atleast_2d(np.asarray(prototype)))[0]
            self._pseudo.append((row, key, usual))
            self._online.add(self.features(row), self.statistics.index(key), usual)
        self._part = self._part.with_category(row)
        self._reanchor()

    def rename_category(self, old: str, new: str) -> None:
        self._online.rename_category(old, new)
        self._rekey({old: new})

    def merge_categories(self, sources: Sequence[str], into: str) -> None:
        """Exact in the ridge; the part that stays still finds its middle (`StillPart.merged`)."""
        gone = [key for key in dict.fromkeys(sources) if key != into]
        columns, target = [self.statistics.index(key) for key in gone], self.statistics.index(into)
        self._part = self._part.merged(columns, target)
        self._online.merge_categories(gone, into)
        self._rekey(dict.fromkeys(gone, into))

    def split_category(self, key: str, new: str, labels: Iterable[str], prototype: npt.ArrayLike | None = None) -> None:
        """``labels`` of ``key`` become labels of the category ``new``; guard texts of ``key`` are no longer certain."""
        moving = set(labels) & set(self.journal.labels_of(key))
        self.add_category(new, prototype)
        for label in sorted(moving):
            self._follow(*self.journal.set_category(label, new))
        self._guard.drop(key)
        self._reanchor()

    def delete_category(self, key: str) -> None:
        """Withdraw the labels and texts of a category, and remove it."""
        at = self.statistics.index(key)
        for label in self.journal.labels_of(key):
            self._follow(self.journal.withdraw(label), None)
        for row, _, weight in [p for p in self._pseudo if p[1] == key]:
            self._online.withdraw(self.features(row), at, weight)
        self._pseudo = [p for p in self._pseudo if p[1] != key]
        self._part = self._part.without([at])
        self._online.delete_category(key)
        self._guard.drop(key)
        self._reanchor()

    def refitted(self) -> Matrix:
        """The ridge weights [m, K] from the labels as they stand: what `ridge_weights` must equal."""
        return self._counted(self.categories).solve(self._online.lam)

    def _counted(self, categories: Sequence[str]) -> RidgeStatistics:
        return counted(self.features, categories, self._pseudo, self.journal)

    def _follow(self, before: Held | None, after: Held | None) -> None:
        """Bring the solution from one state of a label to the other."""
        self._changed += 1
        old, new = (held if held and held.counts else None for held in (before, after))
        if old and new and old.weight == new.weight and np.array_equal(old.embedding, new.embedding):
            if old.category != new.category:
                pair = (self.statistics.index(old.category), self.statistics.index(new.category))
                self._online.change(self.features(new.embedding), *pair, new.weight)
            return
        if old:
            self._online.withdraw(self.features(old.embedding), self.statistics.index(old.category), old.weight)
        if new:
            self._online.add(self.features(new.embedding), self.statistics.index(new.category), new.weight)

    def _rekey(self, renamed: Mapping[str, str]) -> None:
        self.journal.rename(renamed)
        self._pseudo = [(row, renamed.get(key, key), weight) for row, key, weight in self._pseudo]
        self._guard.rename(renamed)
        if self._calibration is not None:
            self._calibration = (self._calibration[0], [renamed.get(key, key) for key in self._calibration[1]])
        self._reanchor()

    def _reanchor(self) -> None:
        """After a change of the categories, which a person decided: the guard judges from here on.

        While the head is frozen it is left as it is; its last good delta then still has the old categories.
        """
        self._changed += 1
        self._recompose()
        if not self.frozen:
            self._guard.accept(self._right())

    def _before(self, x: npt.ArrayLike) -> Singles:
        """The features [n, e] of texts that stand before φ."""
        if self._neighbours is None:
            return np.zeros((len(np.asarray(x)), 0), dtype=np.float32)
        return self._neighbours(x)

    def _recompose(self) -> None:
        """What follows from the categories and the part that does not follow labels."""
        self._still: Singles = self._part.weights.astype(np.float32)
        self._bias: Singles = self._part.bias.astype(np.float32)
        rows = np.concatenate([self._guard.before, self._guard.phi], axis=1)
        self._guard_offset = (rows @ self._still + self._bias).astype(np.float64)
        self._online.watch(self._guard.phi)

    def _right(self) -> npt.NDArray[np.bool_]:
        return self._guard.right(self._gain * self._online.watched_scores + self._guard_offset, self.categories)

    def _delta(self) -> HeadDelta:
        weights = self._still.copy()
        weights[-self.features.width :] += np.multiply(
            self._online.weights, self._gain, dtype=np.float32, casting="same_kind"
        )
        return HeadDelta(self.base, self.number, self.categories, weights, self._bias, self.temperature)
