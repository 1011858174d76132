"""MSAL as its paper has it: uncertainty against equiangular prototypes, and hyperspherical uniformity.

After Kasarla et al. 2024 (arXiv:2411.17444): the categories are fixed points on a sphere that are as far apart as points
can be. Their network is trained towards them; here a ridge regression, fitted on the labels, maps embeddings there, its
strength chosen by leave-one-out error. An item is uncertain when its direction lies between two prototypes. The batch is
spread by the Gaussian potential of uniformity (Wang & Isola 2020, arXiv:2005.10242): each covered or picked direction
repels others. Potentials only add up, so scores only fall and the lazy greedy is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from learning.selection.greedy import lazy_greedy
from learning.selection.picks import Picks, reasons_for
from learning.selection.state import Floats, Ints, SelectionState, blocks, products, rows_of

SHARPNESS = 2.0  # t of the potential exp(−t‖z − z'‖²), the usual choice of Wang & Isola
GRID = 10.0 ** np.arange(-4.0, 2.5, 0.5)
STEPS = 200  # of repulsion, where no equiangular arrangement exists


def separated_prototypes(classes: int, dimension: int) -> Floats:
    """Unit rows [classes, dimension], as far apart as possible.

    Up to dimension + 1 of them are equiangular with cosine −1/(classes − 1): a regular simplex. Beyond that the largest
    cosine is pushed down by repulsion from a fixed start, which is close to the best but not proven to be it.
    """
    if classes > dimension + 1:
        return _repelled(classes, dimension)
    result = np.zeros((classes, dimension), dtype=np.float32)
    if classes == 1:
        result[0, 0] = 1.0
        return result
    centred = np.eye(classes) - 1.0 / classes
    basis = np.linalg.svd(centred)[0][:, : classes - 1]
    result[:, : classes - 1] = basis / np.linalg.norm(basis, axis=1, keepdims=True)
    return result


@dataclass(frozen=True)
class Equiangular:
    """``beta`` weighs uniformity against uncertainty, both in [0, 1]. Raises ValueError for a negative one."""

    beta: float = 0.5

    def __post_init__(self) -> None:
        if not self.beta >= 0:
            raise ValueError("beta must not be negative")

    def select(self, state: SelectionState, n: int, rng: np.random.Generator) -> Picks:
        turn, points = _map_of(state)
        z = _directions(state, turn)
        base = np.full(len(z), -np.inf, dtype=np.float32)
        base[state.open] = between(z[state.open], points) if points is not None else 1.0
        covered = _unit(np.asarray(state.labeled, dtype=np.float32) @ turn)
        problem = Repulsion(z, state.ids, base, self.beta / max(len(covered) + n, 1), covered)
        chosen, scores, _ = lazy_greedy(problem, n)
        return Picks(chosen, scores, reasons_for(state, chosen, "uncertain", scores))


def between(z: Floats, points: Floats) -> Floats:
    """1 where a direction is as near to its second prototype as to its first, 0 where it is at a prototype."""
    if len(points) < 2:
        return np.zeros(len(z), dtype=np.float32)
    result = np.empty(len(z), dtype=np.float32)
    widest = 1.0 - float((points[0] @ points[1:].T).max())
    for part in blocks(len(z)):
        top = np.partition(z[part] @ points.T, len(points) - 2, axis=1)[:, -2:]
        result[part] = 1.0 - (top[:, 1] - top[:, 0]) / max(widest, 1e-6)
    return np.clip(result, 0.0, 1.0, out=result)


class Repulsion:
    """score(i) = base_i − weight · Σ over covered and picked j of exp(−t‖z_i − z_j‖²): a Falling problem."""

    def __init__(self, z: Floats, ids: Ints, base: Floats, weight: float, covered: Floats) -> None:
        self.ids, self._z, self._base, self._weight, self._covered = ids, z, base, weight, covered
        self._active: Ints = np.empty(0, dtype=np.int64)
        self._value: Floats = np.empty(0, dtype=np.float32)
        self._picked: list[Floats] = []

    def bounds(self) -> Floats:
        return self._base

    def activate(self, at: Ints) -> None:
        z = self._z[at]
        value = self._base[at] - np.float32(self._weight) * _potential(products(z, self._covered)).sum(axis=1)
        for row in self._picked:
            value = value - np.float32(self._weight) * _potential(np.einsum("ij,j->i", z, row))
        self._active = np.concatenate([self._active, at])
        self._value = np.concatenate([self._value, value.astype(np.float32)])

    def scores(self) -> Floats:
        return self._value

    def pick(self, active: int) -> None:
        row = self._z[self._active[active]]
        self._picked.append(row)
        self._value -= np.float32(self._weight) * _potential(np.einsum("ij,j->i", self._z[self._active], row))
        self._value[active] = -np.inf


def _potential(cosine: Floats) -> Floats:
    return np.asarray(np.exp(np.float32(-2.0 * SHARPNESS) * (1.0 - cosine)), dtype=np.float32)


def _map_of(state: SelectionState) -> tuple[Floats, Floats | None]:
    """(linear map [d, m] to the sphere of the prototypes, prototypes [C, m]); the identity while nothing is labeled."""
    known = state.labels >= 0
    dimension = state.pool.shape[1]
    classes = _classes(state)
    if not known.any() or classes < 2:
        return np.eye(dimension, dtype=np.float32), None
    points = separated_prototypes(classes, min(classes - 1, dimension))
    x = np.asarray(state.labeled[known], dtype=np.float64)
    return ridge_map(x, points[state.labels[known]].astype(np.float64)), points


def ridge_map(x: npt.NDArray[np.float64], targets: npt.NDArray[np.float64]) -> Floats:
    """Ridge regression [d, m] with the strength of least leave-one-out error, in closed form from one SVD."""
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    projected = u.T @ targets
    errors = []
    for lam in GRID:
        shrink = s**2 / (s**2 + lam)
        leverage = np.einsum("ij,j,ij->i", u, shrink, u)
        residual = targets - u @ (shrink[:, None] * projected)
        errors.append(float(np.square(residual / np.maximum(1.0 - leverage, 1e-9)[:, None]).sum()))
    lam = GRID[int(np.argmin(errors))]
    return np.asarray(vt.T @ ((s / (s**2 + lam))[:, None] * projected), dtype=np.float32)


def _classes(state: SelectionState) -> int:
    for table in (state.probabilities, state.prototypes):
        if table is not None:
            return int(table.shape[-1] if table is state.probabilities else len(table))
    return int(state.labels.max(initial=-1)) + 1


def _directions(state: SelectionState, turn: Floats) -> Floats:
    z = np.empty((len(state.pool), turn.shape[1]), dtype=np.float32)
    for part in blocks(len(z)):
        z[part] = _unit(rows_of(state.pool, part) @ turn)
    return z


def _unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), dtype=np.float32)


def _repelled(classes: int, dimension: int) -> Floats:
    points = np.random.default_rng(0).standard_normal(
        (classes, dimension)
    )  # a fixed start: the arrangement is a constant
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    for step in range(STEPS):
        cosine = points @ points.T
        np.fill_diagonal(cosine, -np.inf)
        force = np.exp(10.0 * (cosine - cosine.max(axis=1, keepdims=True)))
        points -= 0.5 * (1.0 - step / STEPS) * (force / force.sum(axis=1, keepdims=True)) @ points
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    return np.asarray(points, dtype=np.float32)
