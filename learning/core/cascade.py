"""When a fast model should hand a text to a slower, better one.

The fast model answers where the ratio of its two largest probabilities is at least a threshold. The threshold is the
smallest one at which the expected loss of accuracy against the slow model stays within a margin. That loss needs no
labels on most texts: where the two disagree it is the believed probability of the slow model's answer less that of the fast
model's answer, so any held-out text of the project counts. Without labels the belief is the slow model's own (calibrated)
one, an upper estimate: where the fast model corrects the slow one, nothing is credited. Where some held-out texts are
labeled, they say how far the fast model's probabilities add to it.

The texts given here must not have been used to distil the fast encoder or to fit either head: on those the fast model is
nearer to the slow one than it will be in service.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.cascade import sureness as sureness

Floats = NDArray[np.floating]
# Accuracy that a cascade may lose against the slow model, as a fraction. The estimate is on the safe side.
MARGIN = 0.002


@dataclass(frozen=True)
class Threshold:
    """Texts whose ``sureness`` is below ``value`` go up."""

    value: float
    up_share: float
    """Share of the calibration texts that go up."""
    expected_loss: float
    """Of accuracy against the slow model alone, as a fraction, on the calibration texts."""


# Two models that are believed alike lose nothing to each other by definition. The fast one, which only imitates, never has
# more of a say than this, so that the estimate stays on the safe side.
MOST_SAY, SAYS = 1 / 3, 21
LEAST_LABELS = 100  # with fewer labeled texts the slow model is believed alone


def say_of_fast(fast: Floats, slow: Floats, labels: NDArray[np.int64]) -> float:
    """The share w of the fast model in the belief w·fast + (1 − w)·slow under which the labels are most probable.

    ``labels`` [n] are the categories of the texts that ``fast`` and ``slow`` [n, K] belong to, −1 where it is not known.
    At most ``MOST_SAY``; 0 with fewer than ``LEAST_LABELS`` labels.
    """
    known = np.flatnonzero(labels >= 0)
    if len(known) < LEAST_LABELS:
        return 0.0
    p, q = fast[known, labels[known]], slow[known, labels[known]]
    tried = np.linspace(0.0, MOST_SAY, SAYS)
    losses = [-np.log(np.maximum(w * p + (1 - w) * q, 1e-9)).mean() for w in tried]
    return float(tried[int(np.argmin(losses))])


def expected_losses(fast: Floats, slow: Floats, say: float = 0.0) -> Floats:
    """For each row the accuracy that is lost by taking the fast model's answer, under the belief of ``say_of_fast`` [n]."""
    rows, belief = np.arange(len(slow)), say * fast + (1 - say) * slow
    return np.asarray(belief[rows, slow.argmax(axis=1)] - belief[rows, fast.argmax(axis=1)])


def choose_threshold(
    fast: Floats, slow: Floats, *, margin: float, labels: NDArray[np.int64] | None = None
) -> Threshold:
    """The threshold with the fewest texts going up whose expected loss is within ``margin`` (a fraction).

    ``fast`` and ``slow`` [n, K] are probabilities of the same held-out texts, ``labels`` [n] their categories where known
    (else −1). Raises ValueError without texts, with fewer than two categories, or for different shapes.
    """
    if fast.shape != slow.shape or fast.ndim != 2 or len(fast) == 0 or fast.shape[1] < 2:
        raise ValueError(f"need the same texts and at least two categories, not {fast.shape} and {slow.shape}")
    sure = sureness(fast)
    order = np.argsort(sure, kind="stable")
    say = 0.0 if labels is None else say_of_fast(fast, slow, labels)
    losses = expected_losses(fast, slow, say)[order]
    # Loss that remains when the k least sure texts go up, for k = 0 … n.
    remaining = np.append(np.cumsum(losses[::-1])[::-1], 0.0) / len(losses)
    # With credit for what the fast model corrects the sum may fall below the margin and rise again: beyond the last such k
    # it stays within.
    k = int(len(losses) - np.argmax((remaining > margin)[::-1]) + 1) if (remaining > margin).any() else 0
    value = -np.inf if k == 0 else np.nextafter(sure[order[k - 1]], np.inf)
    goes_up = sure < value
    return Threshold(
        float(value), float(goes_up.mean()), float(expected_losses(fast, slow, say)[~goes_up].sum() / len(sure))
    )


def goes_up(fast: Floats, threshold: Threshold) -> NDArray[np.bool_]:
    """Which rows the fast model hands on [n]."""
    return np.asarray(sureness(fast) < threshold.value)
