"""Gates of the sentiment head: each a number, a threshold and a sentence."""

from __future__ import annotations

import logging
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from learning.core.calibration import paired_difference
from learning.gates.result import Result
from serving.anchors import NEGATIVE, NEUTRAL, POSITIVE, opinions
from serving.artifacts import CorruptBundle
from serving.comments import Reader

__all__ = ["CorruptBundle", "anchors", "not_worse", "parity"]
log = logging.getLogger(__name__)
ENOUGH = 30
# Ratings teach a project's own words; who turns plain praise into blame has learned from something else.
LEAST_ON_ANCHORS = 0.7


def parity(gap: float) -> Result:
    return Result("parity", gap <= 1e-5, gap, 1e-5, "largest difference of a probability after export; no flips")


def anchors(p: npt.NDArray[np.float64], language: str) -> Result:
    """Plain praise must still read better than plain blame: stops a head that a campaign of false ratings taught."""
    tones = np.array(opinions(language).tones)
    s = p[:, POSITIVE] - p[:, NEGATIVE]
    clear = tones != NEUTRAL
    value = float(((s > 0) == (tones == POSITIVE))[clear].mean())
    detail = "share of the anchor sentences whose tone it still reads"
    return Result("anchors", value >= LEAST_ON_ANCHORS, value, LEAST_ON_ANCHORS, detail)


def not_worse(
    p: npt.NDArray[np.float64], serving: Reader, texts: list[str], tones: npt.NDArray[np.int64]
) -> list[Result]:
    """On held-out pairs: neither accuracy nor log-loss may be worse with 95 % confidence than what is in service."""
    names = ("accuracy against the version in service", "log-loss against the version in service")
    if len(texts) < ENOUGH:
        why = f"{len(texts)} held-out comments are too few to compare on; {ENOUGH} are needed"
        return [Result(name, True, None, None, why) for name in names]
    theirs = serving.head.predict(serving.encoder.encode(texts)).astype(np.float64)
    gain = paired_difference(p.argmax(axis=1) == tones, theirs.argmax(axis=1) == tones)
    on = f"over {serving.name} on {len(texts)} comments, 95 % interval"
    own = np.arange(len(texts))
    saved = np.log(np.maximum(p[own, tones], 1e-6)) - np.log(np.maximum(theirs[own, tones], 1e-6))
    half = NormalDist().inv_cdf(0.975) * float(saved.std(ddof=1)) / np.sqrt(len(saved))
    low, high = float(saved.mean() - half), float(saved.mean() + half)
    return [
        Result(names[0], gain.high >= 0, gain.estimate, 0.0, f"gain {on} {gain.low:+.3f} to {gain.high:+.3f}"),
        Result(names[1], high >= 0, float(saved.mean()), 0.0, f"log-loss saved {on} {low:+.3f} to {high:+.3f}"),
    ]
