"""What a window of texts is compared with: a snapshot of embeddings and answers, and everything about it that is worth
keeping.

A window of n texts can be set beside the reference, and n reference texts can be held out and set beside the rest in
the very same way. The second gives the distribution of every statistic when nothing has drifted, from the reference
alone; it is slightly conservative, because the rest is smaller than the whole. Distances are 1 - cosine of unit
embeddings of one encoder.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from learning.core.drift.geometry import (
    Floats,
    Ints,
    close_pairs,
    distance_blocks,
    k_means,
    kernel,
    nearest_centre,
    nearest_others,
)

NEIGHBOURS = 24  # kept per text, so that one outside a held-out half is all but surely among them
CLOSE = 4.0  # the kernel's radius in median nearest-neighbour distances ...
MOST_CLOSE = 150.0  # ... or less, where texts would have more close ones than this on average
COMPONENTS = 10
BINS = 120  # quantile bins of a component: fine enough for Kolmogorov-Smirnov, and twelve make a decile
FEATURES = 256


@dataclass(frozen=True)
class Window:
    """Texts to judge: unit embeddings ``x`` (n, d); if known, predicted classes and how strange the head finds each
    text.
    """

    x: Floats
    predictions: Ints | None = None
    strangeness: Floats | None = None  # any score that grows with doubt, such as 1 - margin


@dataclass(frozen=True)
class Comparison:
    """A window (n texts) beside a reference (r texts), reduced to what the statistics need."""

    nearest: Floats  # (n,) distance to the nearest reference text
    nearest_reference: Floats  # (r,) the same among reference texts, leave-one-out
    strange: Floats | None  # (n,)
    strange_reference: Floats | None  # (r,)
    density: Floats  # (n,) kernel mass of reference texts around each window text, scaled to the full reference
    pairs: tuple[Ints, Ints, Floats]  # window texts close to each other: i, j, kernel
    cells: Ints  # (n,) predicted class, or cell of the embedding space
    cell_counts: Ints  # (C,) the same, counted in the reference
    bins: Ints  # (m, BINS) histogram of each principal component over the reference's quantiles
    bins_reference: Ints  # (m, BINS)
    feature_gap: Floats  # (f,) difference of the mean random Fourier features
    centroid_gap: Floats  # (d,) difference of the means

    @property
    def n(self) -> int:
        """Texts in the window."""
        return len(self.nearest)


class Reference:
    """A fitted snapshot of 100 or more texts; ``classes`` is the number of classes that ``predictions`` come from.

    ``predictions`` and ``strangeness`` must come from a head that did not train on the text in question (out-of-fold),
    or every new text looks strange beside them. Without predictions, shares are taken over cells of the space.
    """

    def __init__(
        self,
        x: Floats,
        *,
        predictions: Ints | None = None,
        strangeness: Floats | None = None,
        classes: int = 0,
        seed: int = 0,
    ) -> None:
        if len(x) < 100:
            raise ValueError("a reference needs at least 100 texts")
        self.x = np.ascontiguousarray(x, dtype=np.float32)
        self.seed, self.strangeness = seed, strangeness
        rng = np.random.default_rng(seed)
        self.centres = k_means(self.x, min(max(len(x) // 100, 4), 60), rng) if predictions is None else None
        self.cells = self._cells_of(self.x, predictions)
        self.n_cells = max(classes, int(self.cells.max()) + 1)
        self.neighbours, self.distances = nearest_others(self.x, NEIGHBOURS)
        self._link(rng)
        self._project(rng)

    def __len__(self) -> int:
        return len(self.x)

    def _cells_of(self, x: Floats, predictions: Ints | None) -> Ints:
        if self.centres is not None:
            return nearest_centre(x, self.centres)
        return np.asarray(predictions, dtype=np.int64)

    def _link(self, rng: np.random.Generator) -> None:
        """Choose the radius from the reference's own spacing, and keep its close pairs."""
        some = self.x[rng.choice(len(self), min(len(self), 400), replace=False)]
        distance = np.concatenate([block for _, block in distance_blocks(some, self.x)])
        crowded = float(np.quantile(distance, min(MOST_CLOSE / len(self), 1.0)))
        self.radius = max(min(CLOSE * float(np.median(self.distances[:, 0])), crowded), 1e-6)
        self.left, self.right, self.kernel = close_pairs(self.x, self.radius)
        self.mass = self._mass(self.left, self.right, self.kernel, len(self))

    @staticmethod
    def _mass(i: Ints, j: Ints, k: Floats, n: int) -> Floats:
        return np.asarray(np.bincount(i, k, n) + np.bincount(j, k, n), dtype=np.float32)

    def _project(self, rng: np.random.Generator) -> None:
        """Principal axes and random Fourier features (Rahimi and Recht 2007; bandwidth = median distance)."""
        self.mean = self.x.mean(0)
        centred = self.x - self.mean
        _, vectors = np.linalg.eigh(centred.T @ centred)
        self.axes = vectors[:, ::-1][:, :COMPONENTS].astype(np.float32)
        components = centred @ self.axes
        self.edges = np.quantile(components, np.arange(1, BINS) / BINS, axis=0).astype(np.float32)
        self.bins = self._binned(components)
        pairs = rng.integers(len(self), size=(2, 2000))
        width = np.median(np.linalg.norm(self.x[pairs[0]] - self.x[pairs[1]], axis=1))
        self.frequencies = (rng.normal(size=(self.x.shape[1], FEATURES)) / max(width, 1e-6)).astype(np.float32)
        self.phases = rng.uniform(0, 2 * np.pi, FEATURES).astype(np.float32)
        self.features = self._features(self.x)
        self.features_mean = self.features.mean(0)

    def _binned(self, components: Floats) -> Ints:
        """Bin numbers (n, m), offset by BINS per component so that one count serves all."""
        bins = [np.searchsorted(e, c) for e, c in zip(self.edges.T, components.T, strict=True)]
        return np.asarray(np.stack(bins, axis=1) + BINS * np.arange(len(bins)), dtype=np.int64)

    def _histogram(self, bins: Ints) -> Ints:
        return np.bincount(bins.ravel(), minlength=BINS * self.bins.shape[1]).reshape(-1, BINS)

    def _features(self, x: Floats) -> Floats:
        return np.asarray(np.sqrt(2 / FEATURES) * np.cos(x @ self.frequencies + self.phases), dtype=np.float32)

    @property
    def sha256(self) -> str:
        """Identity of the evidence: its arrays and seed, nothing derived."""
        digest = hashlib.sha256(f"{self.x.shape}{self.seed}".encode())
        for array in (self.x, None if self.centres is not None else self.cells, self.strangeness):
            digest.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Keep the evidence, so that a report can be rebuilt later; everything derived is derived again."""
        optional = {"predictions": None if self.centres is not None else self.cells, "strangeness": self.strangeness}
        kept = {k: v for k, v in optional.items() if v is not None}
        with path.open("wb") as handle:
            np.savez_compressed(handle, x=self.x, classes=self.n_cells, seed=self.seed, allow_pickle=False, **kept)

    @classmethod
    def load(cls, path: Path) -> Reference:
        """The inverse of ``save``: the same sha256 and the same figures."""
        with np.load(path) as kept:
            found = {k: kept[k] for k in ("predictions", "strangeness") if k in kept}
            classes = int(kept["classes"]) if "predictions" in kept else 0
            return cls(kept["x"], classes=classes, seed=int(kept["seed"]), **found)

    def compare(self, window: Window) -> Comparison:
        """Set a new window beside the whole reference. Raises ValueError where one knows answers and the other does
        not.
        """
        if (window.predictions is None) != (self.centres is not None):
            raise ValueError("window and reference must both have predictions, or neither")
        if (window.strangeness is None) != (self.strangeness is None):
            raise ValueError("window and reference must both have strangeness, or neither")
        x = np.ascontiguousarray(window.x, dtype=np.float32)
        nearest, density = np.empty(len(x), np.float32), np.empty(len(x), np.float32)
        for rows, distance in distance_blocks(x, self.x):
            nearest[rows], density[rows] = distance.min(1), kernel(distance, self.radius).sum(1)
        cells = self._cells_of(x, window.predictions)
        bins = self._binned((x - self.mean) @ self.axes)
        return Comparison(
            nearest, self.distances[:, 0], window.strangeness, self.strangeness, density, close_pairs(x, self.radius),
            cells, np.bincount(self.cells, minlength=self.n_cells), self._histogram(bins), self._histogram(self.bins),
            self._features(x).mean(0) - self.features_mean, x.mean(0) - self.mean,
        )  # fmt: skip

    def hold_out(self, held: Ints) -> Comparison:
        """Set the reference texts ``held`` (n,) beside all others, as if they were a new window."""
        out = np.zeros(len(self), bool)
        out[held] = True
        rest, n, r = ~out, int(out.sum()), int((~out).sum())
        free = rest[self.neighbours]
        first = np.where(free.any(1), free.argmax(1), NEIGHBOURS - 1)
        nearest = self.distances[np.arange(len(self)), first]
        inside = np.flatnonzero(out[self.left] & out[self.right])
        place = np.cumsum(out) - 1
        i, j, k = place[self.left[inside]], place[self.right[inside]], self.kernel[inside]
        density = (self.mass[out] - self._mass(i, j, k, n)) * np.float32(len(self) / r)
        strange, strange_rest = (None if self.strangeness is None else self.strangeness[side] for side in (out, rest))
        whole = (
            len(self) / r
        )  # mean of the rest = (whole mean - share of the held) scaled up: gap = (held - mean) * whole
        return Comparison(
            nearest[out], nearest[rest], strange, strange_rest, density, (i, j, k), self.cells[out],
            np.bincount(self.cells[rest], minlength=self.n_cells),
            self._histogram(self.bins[out]), self._histogram(self.bins[rest]),
            (self.features[out].mean(0) - self.features_mean) * whole, (self.x[out].mean(0) - self.mean) * whole,
        )  # fmt: skip
