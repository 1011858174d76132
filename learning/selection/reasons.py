"""Why an item was picked, as data and as the sentence that the desk shows.

The data (`Reason.as_json`) is stored with the task; `Reason.in_words` turns it into one English sentence. The sentence
is built from the parts that a strategy knew: how the model is split, how many unlabeled inquiries the item stands for,
how far it is from anything labeled, and with which chance it was drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

KINDS = ("uncertain", "represents", "far", "typical", "random", "audit")


@dataclass(frozen=True)
class Reason:
    """``kind`` names the chief ground, the other fields what it rests on (None where the strategy did not know it).

    ``split`` lists (category, probability), likeliest first; ``similar`` is the number of unlabeled items that the item
    stands for, itself included; ``distance`` the cosine distance to the nearest labeled or picked item; ``propensity``
    the chance with which a random draw took it. Raises ValueError for an unknown kind.
    """

    kind: str
    split: tuple[tuple[int, float], ...] = ()
    similar: float | None = None
    distance: float | None = None
    propensity: float | None = None
    score: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no such reason: {self.kind}")

    def in_words(self, categories: Sequence[str]) -> str:
        """One sentence without a full stop; ``categories`` are the names as people read them."""
        if self.kind == "audit":
            return f"drawn at random to measure accuracy ({_chance(self.propensity)})"
        if self.kind == "random":
            return "drawn at random"
        parts = [self._split_in_words(categories), self._similar_in_words(), self._distance_in_words()]
        said = [part for part in (parts if self.kind != "far" else [parts[2], parts[0]]) if part]
        return "; ".join(said) or "ranked first by its score"

    def as_json(self) -> dict[str, Any]:
        """Plain values; what is unknown is left out."""
        values: dict[str, Any] = {"kind": self.kind, "split": [[c, round(p, 4)] for c, p in self.split]}
        for key in ("similar", "distance", "propensity", "score"):
            if (value := getattr(self, key)) is not None:
                values[key] = float(f"{value:.6g}")
        return values | ({"extra": dict(self.extra)} if self.extra else {})

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Reason:
        """The inverse of `as_json`. Raises ValueError or KeyError for values that never came from it."""
        split = tuple((int(c), float(p)) for c, p in values.get("split", ()))
        return cls(**{**values, "kind": values["kind"], "split": split})

    def _split_in_words(self, categories: Sequence[str]) -> str:
        if len(self.split) < 2:
            return ""
        (first, p), (second, q) = self.split[0], self.split[1]
        if p < min(2.0 / max(len(categories), 1), 0.26):
            return "the model has no idea yet"
        if round(100 * q) == 0 or p >= 0.95:
            return f"probably {categories[first]} ({100 * p:.0f} %)"
        return f"split {100 * p:.0f}/{100 * q:.0f} between {categories[first]} and {categories[second]}"

    def _similar_in_words(self) -> str:
        others = 0 if self.similar is None else round(self.similar) - 1
        return f"stands for about {others} similar inquir{'y' if others == 1 else 'ies'}" if others >= 1 else ""

    def _distance_in_words(self) -> str:
        if self.distance is None or self.kind != "far":
            return ""
        return f"unlike anything labeled so far (nearest at distance {self.distance:.2f})"


def _chance(propensity: float | None) -> str:
    if not propensity:
        return "chance unknown"
    return "every item" if propensity >= 1 else f"chance 1 in {1 / propensity:,.0f}"
