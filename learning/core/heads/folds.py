"""Folds for cross-validation: every category spread evenly, near-duplicates kept together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def stratified_folds(
    y: npt.NDArray[np.integer], k: int, rng: np.random.Generator, *, groups: npt.NDArray[np.integer] | None = None
) -> Ints:
    """Fold 0 … k − 1 of each row [n]; rows of one group share a fold. k is lowered to the number of groups.

    Groups are dealt out category by category (a group counts for the category of its first row), so a category with
    at least k groups is in every fold, and fold sizes differ by one group per category at most.
    """
    if not len(y):
        return np.zeros(0, dtype=np.int64)
    members = np.arange(len(y)) if groups is None else np.unique(groups, return_inverse=True)[1]
    _, first = np.unique(members, return_index=True)
    shuffled = rng.permutation(len(first))
    dealt = shuffled[np.argsort(y[first][shuffled], kind="stable")]
    fold_of = np.empty(len(first), dtype=np.int64)
    fold_of[dealt] = np.arange(len(first)) % max(1, min(k, len(first)))
    return np.asarray(fold_of[members], dtype=np.int64)


def with_at_most(folds: Ints, held_out: int) -> Ints:
    """The same folds with only as many of them held out as cover ``held_out`` rows; the rest is −1 (always seen)."""
    sizes = np.bincount(folds[folds >= 0])
    kept = max(1, int(np.searchsorted(np.cumsum(sizes), held_out)) + 1) if len(sizes) else 0
    return np.where(folds < kept, folds, -1)
