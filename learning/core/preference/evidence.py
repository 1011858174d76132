"""The arrays that all preference code shares: candidate replies, and votes on replies that were shown.

Rows are aligned: vote i was given on reply ``reply[i]``, shown for inquiry ``inquiry[i]`` with the logged probability
``propensity[i]``. Embeddings are unit vectors of one encoder, kept outside as a pool [inquiries, d].
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Replies:
    """Candidates: embeddings ``vectors`` [R, d] and the catalog's category of each, ``category`` [R] in 0..C-1.

    Replies of one category are ways to answer the same need. Raises ValueError where lengths or numbering do not fit.
    """

    vectors: Floats
    category: Ints

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or self.category.shape != (len(self.vectors),):
            raise ValueError("A reply needs one vector and one category each.")
        if len(self.category) and not np.array_equal(np.unique(self.category), np.arange(self.categories)):
            raise ValueError("Reply categories must be numbered 0, 1, … without gaps.")

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def categories(self) -> int:
        """How many categories have a reply."""
        return int(self.category.max()) + 1 if len(self.category) else 0

    def centres(self) -> Floats:
        """Mean vector of each category's replies [C, d]; not renormalised."""
        member = np.eye(self.categories, dtype=self.vectors.dtype)[self.category]
        return np.asarray((member.T @ self.vectors) / member.sum(axis=0)[:, None])


@dataclass(frozen=True)
class Votes:
    """Votes on shown replies; all arrays have length n.

    ``up`` lies in [0, 1] (a thumb is 0 or 1, a rating may lie between), ``propensity`` in (0, 1]. ``time`` is in
    seconds from any origin; ``network`` numbers the address or key that a vote came through. ``trusted`` marks votes of
    the project's own agents, which screening never weighs down. Raises ValueError where a value is out of range.
    """

    inquiry: Ints
    reply: Ints
    up: Floats
    propensity: Floats
    voter: Ints
    time: Floats | None = None
    network: Ints | None = None
    trusted: Flags | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and value.shape != self.inquiry.shape:
                raise ValueError(f"Votes need one {field.name} each: {value.shape} is not {self.inquiry.shape}.")
        if not np.all((self.up >= 0) & (self.up <= 1)):
            raise ValueError("A vote lies in [0, 1].")
        if not np.all((self.propensity > 0) & (self.propensity <= 1)):
            raise ValueError("A logged propensity lies in (0, 1].")

    def __len__(self) -> int:
        return len(self.inquiry)

    def take(self, rows: Ints | Flags) -> Votes:
        """The votes at ``rows`` (indices or a mask)."""
        given = {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}
        return replace(self, **{name: value[rows] for name, value in given.items()})


def numbered(values: npt.NDArray[np.generic]) -> Ints:
    """``values`` [n] as ids 0..k-1 in sorted order, as voters and networks have to be for counting."""
    return np.asarray(np.unique(values, return_inverse=True)[1], dtype=np.int64).reshape(np.shape(values))
