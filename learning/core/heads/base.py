"""What a live head starts from, as its base version keeps it on disk.

Served are θ = g·W + fixed: W [m, K] the ridge solution of the labels as they stand, g what a ridge score counts, and
``fixed`` everything that stays as it was trained until the next base. Of a blend ``fixed`` holds the other members; of a
head without a ridge part it is what training made, less what the ridge says of the same labels. Kept in float64: a label
that is forgotten must leave the same numbers behind as one that never came.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from learning.core.heads.features import FeatureMap
from learning.core.heads.journal import Held
from learning.core.heads.prior import normalised
from learning.core.heads.ridge import RidgeStatistics
from learning.core.heads.training import LIVE_SHARE, TrainedHead

Matrix = npt.NDArray[np.float64]
Pseudo = list[tuple[Matrix, str, float]]  # unit row of a category's texts, its key, its weight
CHUNK = 2048


@dataclass(frozen=True)
class LiveBase:
    """``fixed`` [e + m + 1, K] (last row bias) without the category texts, whose part ``prior`` [d, K] is apart.

    Its first e rows, mostly none, are those of features before φ that no label moves: what neighbours say.
    """

    categories: tuple[str, ...]
    features: FeatureMap
    lam: float
    gain: float
    temperature: float
    fixed: Matrix
    prior: Matrix
    pseudo: Pseudo

    @classmethod
    def of(
        cls,
        head: TrainedHead,
        labels: Iterable[Held],
        *,
        prototypes: npt.ArrayLike | None = None,
        live_share: float = LIVE_SHARE,
    ) -> LiveBase:
        """``labels`` are those that ``head`` was trained on, ``prototypes`` [K, d] its category texts.

        A head without a ridge part is corrected with ``live_share``. Raises ValueError where no ridge was ever
        cross-validated (a head made of category texts alone): such a head is trained anew in no time.
        """
        chosen = head.hyperparameters.get("members", {}).get("ridge")
        if chosen is None:
            raise ValueError(f"a head of kind {head.kind} has no ridge that could follow labels")
        gain = head.shares.get("ridge", live_share) / chosen["temperature"]
        before = head.served_weights[: len(head.served_weights) - head.features.width]
        pseudo, prior = _pseudo_rows(head, prototypes), _prior_part(head)
        if "ridge" in head.shares:
            fixed = sum(
                (head.shares[name] * part for name, part in head.parts.items() if name != "ridge"),
                np.zeros((head.features.width + 1, len(head.categories))),
            )
        else:
            start = counted(head.features, head.categories, pseudo, labels).solve(chosen["lambda"])
            fixed = np.concatenate([head.weights - gain * start, head.bias[None]])
        fixed[-1 - head.features.dimension : -1] -= prior
        fixed = np.concatenate([before, fixed])
        return cls(
            head.categories, head.features, float(chosen["lambda"]), float(gain), head.temperature, fixed, prior, pseudo
        )

    @property
    def before(self) -> int:
        """e, how many features stand before φ."""
        return len(self.fixed) - 1 - self.features.width

    def to_bytes(self) -> bytes:
        """One line of JSON with the checksum of the rest, then ``fixed``, ``prior`` and the pseudo rows, little-endian."""
        rows = [row for row, _, _ in self.pseudo]
        parts = [self.fixed, self.prior, *rows]
        body = b"".join(np.ascontiguousarray(part, dtype="<f8").tobytes() for part in parts)
        f = self.features
        head = {
            "categories": list(self.categories), "dimension": f.dimension, "count": f.count, "seed": f.seed, "direct": f.direct,
            "lambda": self.lam, "gain": self.gain, "temperature": self.temperature,
            "pseudo": [[key, weight] for _, key, weight in self.pseudo], "before": self.before, "crc32": zlib.crc32(body),
        }  # fmt: skip
        return json.dumps(head, sort_keys=True, ensure_ascii=False).encode() + b"\n" + body

    @classmethod
    def from_bytes(cls, data: bytes) -> LiveBase:
        """Raises ValueError where a byte is missing or changed."""
        first, _, body = data.partition(b"\n")
        head = json.loads(first)
        if zlib.crc32(body) != head["crc32"]:
            raise ValueError("the base of a live head was cut off or changed")
        features = FeatureMap(head["dimension"], head["count"], head["seed"], head["direct"])
        k, d = len(head["categories"]), features.dimension
        values = np.frombuffer(body, dtype="<f8").astype(np.float64)
        height = int(head.get("before", 0)) + features.width + 1
        fixed, prior, rows = np.split(values, np.cumsum([height * k, d * k]))
        pseudo = list(zip(rows.reshape(-1, d), *zip(*head["pseudo"], strict=True), strict=True)) if len(rows) else []
        return cls(
            tuple(head["categories"]), features, head["lambda"], head["gain"], head["temperature"],
            fixed.reshape(-1, k), prior.reshape(-1, k), pseudo,
        )  # fmt: skip


def counted(features: FeatureMap, categories: Sequence[str], pseudo: Pseudo, labels: Iterable[Held]) -> RidgeStatistics:
    """Statistics of labels and category texts, from scratch."""
    made = RidgeStatistics(features.width, categories)
    for row, key, weight in pseudo:
        made.add(features(row), made.index(key), weight)
    held = list(labels)
    for at in range(0, len(held), CHUNK):
        part = held[at : at + CHUNK]
        phi = features(np.stack([h.embedding for h in part]))
        made.add(phi, np.array([made.index(h.category) for h in part]), [h.weight for h in part])
    return made


def _prior_part(head: TrainedHead) -> Matrix:
    """[d, K]: the prototypes as they count for the embedding's own columns of the features."""
    if "prior" not in head.parts:
        return np.zeros((head.features.dimension, len(head.categories)))
    return head.shares["prior"] * head.parts["prior"][-1 - head.features.dimension : -1]


def _pseudo_rows(head: TrainedHead, prototypes: npt.ArrayLike | None) -> Pseudo:
    weights = head.hyperparameters.get("pseudo_weights")
    if not weights:
        return []
    if prototypes is None:
        raise ValueError("the head was trained with category texts: their prototypes are needed")
    rows = dict(zip(head.categories, normalised(prototypes), strict=True))
    return [(rows[key], key, float(weight)) for key, weight in weights.items() if weight > 0]
