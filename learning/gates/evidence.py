"""What the gates judge by: a candidate as it would be served, and labels, texts and versions to hold it against."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from learning.gates.checks import Checks
from learning.gates.result import DEFAULTS, Thresholds
from serving.head import OnnxHead

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Encode = Callable[[list[str]], Floats]


@dataclass(frozen=True)
class Labeled:
    """Texts with their right answers: unit embeddings ``x`` [n, d], category keys, near-duplicate groups and texts."""

    x: Floats
    keys: Sequence[str]
    groups: Sequence[str]
    texts: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.keys)

    def only(self, mask: Bools) -> Labeled:
        at = np.flatnonzero(mask).tolist()
        texts = [self.texts[i] for i in at] if len(self.texts) == len(self) else []
        return Labeled(self.x[at], [self.keys[i] for i in at], [self.groups[i] for i in at], texts)


@dataclass(frozen=True)
class Judged:
    """Something that answers, by name: the version in service, a past one, or (not ``learned``) the category texts alone.

    ``undecided`` tells of which texts [n, d] another way of adding up the same sums may rightly say something else.
    """

    name: str
    categories: Sequence[str]
    probabilities: Callable[[Floats], Floats]
    learned: bool = True
    undecided: Callable[[Floats], Bools] | None = None

    @classmethod
    def of(cls, name: str, head: OnnxHead) -> Judged:
        return cls(name, head.categories, head.predict)

    def right(self, on: Labeled) -> Bools:
        answers = self.answers(on.x)
        return np.array([a == k for a, k in zip(answers, on.keys, strict=True)], dtype=bool)

    def answers(self, x: Floats) -> list[str]:
        return [self.categories[i] for i in self.probabilities(x).argmax(axis=1)] if len(x) else []


@dataclass(frozen=True)
class Evidence:
    """A candidate (``head`` from its bundle, ``trained`` from memory), and what it is held against.

    ``test`` has trained nothing, ``train`` is what the candidate was trained on. ``past`` maps a past version to the
    test labels that it knew of. ``slices`` maps "field=value" to the rows of ``test``. ``audited`` are blind random draws
    that trained nothing. ``encode`` is the installed encoder, ``pool`` unlabeled embeddings.
    """

    head: OnnxHead
    trained: Judged
    bundle_bytes: int
    train: Labeled
    test: Labeled
    serving: Judged
    thresholds: Thresholds = DEFAULTS
    checks: Checks = field(default_factory=Checks)
    encode: Encode | None = None
    audited: Labeled | None = None
    past: Mapping[str, tuple[Judged, Labeled]] = field(default_factory=dict)
    slices: Mapping[str, Bools] = field(default_factory=dict)
    pool: Floats | None = None

    @property
    def candidate(self) -> Judged:
        return Judged.of("this version", self.head)
