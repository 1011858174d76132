"""What is known of categories before any label: their names, descriptions and examples, as prototypes.

A text's score for a category is scale · cos(text, prototype). Without labels no temperature can be fitted, so the scale
comes from the prototypes' own geometry. Suppose a text's cosines to the K − 1 wrong prototypes scatter by σ around their
mean, and its cosine to the right one lies δ above, with the same scatter. The log-odds of right against wrong are then
linear in the cosine with slope δ/σ². δ is not known; it is set to √(2 ln K)·σ, about where the best of K wrong cosines
lies by chance: a text stands out of the crowd no more than chance would let some wrong category stand out. That gives
scale = √(2 ln K)/σ with σ measured, no constant of any data set, and errs to the unsure side where names say more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]


def category_texts(key: str, *, name: str = "", description: str = "", examples: Sequence[str] = ()) -> list[str]:
    """All that says what a category means, without repetition; at least its key as words, so never nothing."""
    words = (name.strip() or key).replace("_", " ").replace("-", " ").strip() or key
    given = [words, description.strip(), *(example.strip() for example in examples)]
    return list(dict.fromkeys(text for text in given if text))


def prototypes(embeddings: Sequence[npt.ArrayLike]) -> Matrix:
    """Unit prototypes [K, d]: the mean of each category's unit text embeddings [n_k, d].

    A category whose texts cancel out, or that has none, gets a row of zeros: no preference for it, none against.
    """
    rows = [np.asarray(group, dtype=np.float64) for group in embeddings]
    return normalised(np.stack([row.mean(axis=0) if len(row) else np.zeros(row.shape[1]) for row in rows]))


def normalised(rows: npt.ArrayLike) -> Matrix:
    """Rows of unit length; rows of zeros stay."""
    matrix = np.asarray(rows, dtype=np.float64)
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    return np.asarray(np.divide(matrix, lengths, out=np.zeros_like(matrix), where=lengths > 1e-12), dtype=np.float64)


def prior_scale(prototype_rows: Matrix, pool: npt.ArrayLike | None = None) -> float:
    """√(2 ln K)/σ for prototypes [K, d]; 1 for fewer than two.

    σ is the scatter of a text's cosines over categories, from unlabeled texts ``pool`` [n, d] where given, otherwise from
    the cosines between the prototypes. It is no smaller than 1/√d, the scatter of unrelated directions.
    """
    known = prototype_rows[np.abs(prototype_rows).sum(axis=1) > 0]
    count, dimension = known.shape
    if count < 2:
        return 1.0
    spread = (
        _spread(known) if pool is None else float((np.asarray(pool, dtype=np.float64) @ known.T).std(axis=1).mean())
    )
    return float(np.sqrt(2.0 * np.log(count)) / max(spread, 1.0 / np.sqrt(dimension)))


def _spread(known: Matrix) -> float:
    cosines = known @ known.T
    return float(cosines[~np.eye(len(known), dtype=bool)].std())
