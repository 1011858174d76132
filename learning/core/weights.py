"""How much a label counts: who gave it, and what the customer did with the answer. Pure.

w = r · (1 + λ·w(f)) with w(f) = min(max(f, 0), 1): the label's share in L_train + λ·L_feedback, where both losses have the
resolved label as their y and r is how reliable its source is. Without feedback w = r; bad feedback takes nothing away
from a label that a person settled, for it speaks of the answer that was given, not of the label.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

# What is believed of an annotator of whom nothing is known, and how many judged answers that belief counts as.
PRIOR, PRIOR_ANSWERS = 0.9, 10.0


def reliability(right: int, total: int) -> float:
    """Posterior mean of a share of right answers under Beta(9, 1), so that one known item does not make or break anybody.

    >>> reliability(0, 0), round(reliability(30, 30), 3), round(reliability(5, 10), 3)
    (0.9, 0.975, 0.7)
    """
    if not 0 <= right <= total:
        raise ValueError(f"{right} of {total} is no share")
    return (right + PRIOR * PRIOR_ANSWERS) / (total + PRIOR_ANSWERS)


def joint(shares: Sequence[float]) -> float:
    """Probability that not all of those who agreed are wrong, if they err independently; 1.0 of nobody.

    >>> round(joint([0.9, 0.8]), 3)
    0.98
    """
    return 1.0 - prod(1.0 - share for share in shares) if shares else 1.0


def feedback_share(f: float | None) -> float:
    """w(f) in [0, 1]; 0 without feedback."""
    return 0.0 if f is None else min(max(f, 0.0), 1.0)


def label_weight(source: float, f: float | None, strength: float) -> float:
    """``source`` in (0, 1], ``f`` the feedback score, ``strength`` λ ≥ 0."""
    return source * (1.0 + strength * feedback_share(f))
