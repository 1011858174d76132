"""Replay buffers: which items of the past to keep. They hold references, never texts or embeddings.

So an erased item is gone with its row (`remove`), and a relabeled one is relabeled by changing one number.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.float64]


@dataclass
class Buffer(ABC):
    """At most ``capacity`` items; ``labels`` by item, ``seen`` how many items of each label were offered."""

    capacity: int
    labels: dict[int, int] = field(default_factory=dict)
    seen: dict[int, float] = field(default_factory=dict)

    def offer(self, items: Ints, y: Ints, x: Matrix, rng: np.random.Generator) -> None:
        """Consider new items with their labels and embeddings [n, d]; what is not kept is forgotten."""
        for label in y.tolist():
            self.seen[label] = self.seen.get(label, 0) + 1
        self._choose(items, y, x, rng)

    @abstractmethod
    def _choose(self, items: Ints, y: Ints, x: Matrix, rng: np.random.Generator) -> None:
        """Which of the items that are held and those offered are held from now on."""

    @property
    def items(self) -> Ints:
        return np.array(list(self.labels), dtype=np.int64)

    @property
    def y(self) -> Ints:
        return np.array(list(self.labels.values()), dtype=np.int64)

    @property
    def importance(self) -> Matrix:
        """[len] how many offered items of its label each kept one stands for."""
        y = self.y
        kept = {label: int((y == label).sum()) for label in set(y.tolist())}
        return np.array([max(1.0, self.seen.get(label, 0) / kept[label]) for label in y.tolist()])

    def remove(self, items: Iterable[int]) -> int:
        """Forget items; returns how many were held."""
        return sum(self.labels.pop(int(item), None) is not None for item in items)

    def relabel(self, renamed: Mapping[int, int] | Callable[[int, int], int | None]) -> None:
        """Give items other labels: by old label, or by (item, old label) → new label, or None to drop the item."""
        new: Callable[[int, int], int | None]
        new = renamed if callable(renamed) else lambda item, label: renamed.get(label, label)
        found = {item: new(item, label) for item, label in self.labels.items()}
        moved: dict[int, float] = {}
        for label, count in self.seen.items():
            targets = [found[i] for i, old in self.labels.items() if old == label and found[i] is not None]
            for target in targets:
                assert target is not None
                moved[target] = moved.get(target, 0.0) + count / len(targets)
        self.labels = {item: label for item, label in found.items() if label is not None}
        self.seen = moved


@dataclass
class Reservoir(Buffer):
    """A uniform sample of all that was offered (Vitter 1985, algorithm R)."""

    offered: int = 0

    def _choose(self, items: Ints, y: Ints, x: Matrix, rng: np.random.Generator) -> None:
        for item, label in zip(items.tolist(), y.tolist(), strict=True):
            self.offered += 1
            if len(self.labels) < self.capacity:
                self.labels[item] = label
            elif (slot := int(rng.integers(self.offered))) < self.capacity:
                del self.labels[list(self.labels)[slot]]
                self.labels[item] = label

    @property
    def importance(self) -> Matrix:
        return np.full(len(self.labels), max(1.0, self.offered / max(1, len(self.labels))))


@dataclass
class ClassBalanced(Buffer):
    """As many of each label as there is room for, at random (the sampler of GDumb, Prabhu et al. 2020)."""

    def _choose(self, items: Ints, y: Ints, x: Matrix, rng: np.random.Generator) -> None:
        self.labels |= dict(zip(items.tolist(), y.tolist(), strict=True))
        held, labels = self.items, self.y
        order = rng.permutation(len(held))
        self._keep(held[order], labels[order])

    def _keep(self, ranked: Ints, labels: Ints) -> None:
        """Keep the first of each label, in equal shares; a label with fewer items leaves its room to the others."""
        rank = np.zeros(len(ranked), dtype=np.int64)
        for label in np.unique(labels):
            inside = np.flatnonzero(labels == label)
            rank[inside] = np.arange(len(inside))
        chosen = np.sort(np.argsort(rank, kind="stable")[: self.capacity])
        self.labels = dict(zip(ranked[chosen].tolist(), labels[chosen].tolist(), strict=True))


@dataclass
class Herding(ClassBalanced):
    """Equal shares, each the items whose mean follows the label's mean most closely (iCaRL, Rebuffi et al. 2017,
    arXiv:1611.07725): items are ranked once, when they are offered, and the last of a rank leave first."""

    ranks: dict[int, int] = field(default_factory=dict)

    def _choose(self, items: Ints, y: Ints, x: Matrix, rng: np.random.Generator) -> None:
        most = self.capacity
        for label in np.unique(y):
            inside = np.flatnonzero(y == label)
            for place, at in enumerate(herded(x[inside], min(most, len(inside)))):
                self.ranks[int(items[inside[at]])] = place
                self.labels[int(items[inside[at]])] = int(label)
        held, labels = self.items, self.y
        order = np.argsort([self.ranks[item] for item in held.tolist()], kind="stable")
        self._keep(held[order], labels[order])
        self.ranks = {item: self.ranks[item] for item in self.labels}


def herded(x: Matrix, count: int) -> list[int]:
    """Rows of ``x`` [n, d], one after another, so that each prefix has a mean close to that of all (greedily)."""
    mean, total = x.mean(axis=0), np.zeros(x.shape[1])
    free, chosen = np.ones(len(x), dtype=bool), []
    for k in range(1, count + 1):
        distance = np.linalg.norm(mean - (total + x) / k, axis=1)
        at = int(np.where(free, distance, np.inf).argmin())
        free[at] = False
        total += x[at]
        chosen.append(at)
    return chosen


POLICIES: Mapping[str, type[Buffer]] = {"reservoir": Reservoir, "balanced": ClassBalanced, "herding": Herding}
