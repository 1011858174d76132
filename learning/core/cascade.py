"""When a fast model should hand a text to a slower, better one.

The fast model answers where the ratio of its two largest probabilities is at least a threshold. The threshold is the
smallest one at which the expected loss of accuracy against the slow model stays within a margin. That loss needs no
labels: where the two disagree it is the slow model's own (calibrated) probability of its answer less that of the fast
model's answer, so any held-out text of the project counts. It is an upper estimate: where the fast model corrects the
slow one, nothing is credited.

The texts given here must not have been used to distil the fast encoder or to fit either head: on those the fast model is
nearer to the slow one than it will be in service.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.cascade import sureness as sureness

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Threshold:
    """Texts whose ``sureness`` is below ``value`` go up."""

    value: float
    up_share: float
    """Share of the calibration texts that go up."""
    expected_loss: float
    """Of accuracy against the slow model alone, as a fraction, on the calibration texts."""


def expected_losses(fast: Floats, slow: Floats) -> Floats:
    """For each row the accuracy that is lost, in the slow model's belief, by taking the fast model's answer [n]."""
    rows = np.arange(len(slow))
    return np.asarray(slow.max(axis=1) - slow[rows, fast.argmax(axis=1)])


def choose_threshold(fast: Floats, slow: Floats, *, margin: float) -> Threshold:
    """The threshold with the fewest texts going up whose expected loss is within ``margin`` (a fraction).

    ``fast`` and ``slow`` [n, K] are probabilities of the same held-out texts. Raises ValueError without texts, with fewer
    than two categories, or for different shapes.
    """
    if fast.shape != slow.shape or fast.ndim != 2 or len(fast) == 0 or fast.shape[1] < 2:
        raise ValueError(f"need the same texts and at least two categories, not {fast.shape} and {slow.shape}")
    sure = sureness(fast)
    order = np.argsort(sure, kind="stable")
    losses = expected_losses(fast, slow)[order]
    # Loss that remains when the k least sure texts go up, for k = 0 … n.
    remaining = np.append(np.cumsum(losses[::-1])[::-1], 0.0) / len(losses)
    k = int(np.argmax(remaining <= margin))
    value = -np.inf if k == 0 else np.nextafter(sure[order[k - 1]], np.inf)
    goes_up = sure < value
    return Threshold(
        float(value), float(goes_up.mean()), float(expected_losses(fast, slow)[~goes_up].sum() / len(sure))
    )


def goes_up(fast: Floats, threshold: Threshold) -> NDArray[np.bool_]:
    """Which rows the fast model hands on [n]."""
    return np.asarray(sureness(fast) < threshold.value)
