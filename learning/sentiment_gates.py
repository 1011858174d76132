"""Gates of the sentiment head: each a number, a threshold and a sentence."""

from __future__ import annotations

import logging
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from learning.core.calibration import Interval, paired_difference
from learning.gates.result import Result
from serving.anchors import NEGATIVE, NEUTRAL, POSITIVE, opinions
from serving.artifacts import CorruptBundle
from serving.comments import Reader

__all__ = ["CorruptBundle", "anchors", "better", "not_worse", "parity"]
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
    on = f"over {serving.name} on {len(texts)} comments, 95 % interval"
    gain, saved = _gain(p, serving, texts, tones), _saved(p, serving, texts, tones)
    return [
        Result(names[0], gain.high >= 0, gain.estimate, 0.0, f"gain {on} {gain.low:+.3f} to {gain.high:+.3f}"),
        Result(
            names[1], saved.high >= 0, saved.estimate, 0.0, f"log-loss saved {on} {saved.low:+.3f} to {saved.high:+.3f}"
        ),
    ]


def better(p: npt.NDArray[np.float64], serving: Reader, texts: list[str], tones: npt.NDArray[np.int64]) -> list[Result]:
    """A second encoder costs time with each comment: it must be more accurate, with 95 % confidence, on held-out pairs."""
    name = "more accurate than the version in service"
    if len(texts) < ENOUGH:
        return [Result(name, False, None, None, f"{len(texts)} held-out comments cannot show it; {ENOUGH} are needed")]
    gain = _gain(p, serving, texts, tones)
    detail = f"gain over {serving.name} on {len(texts)} comments, 95 % interval {gain.low:+.3f} to {gain.high:+.3f}"
    return [Result(name, gain.low > 0, gain.estimate, 0.0, detail)]


def _gain(p: npt.NDArray[np.float64], serving: Reader, texts: list[str], tones: npt.NDArray[np.int64]) -> Interval:
    theirs = serving.head.predict(serving.encoder.encode(texts))
    return paired_difference(p.argmax(axis=1) == tones, theirs.argmax(axis=1) == tones)


def _saved(p: npt.NDArray[np.float64], serving: Reader, texts: list[str], tones: npt.NDArray[np.int64]) -> Interval:
    """Log-loss of what is in service less that of ``p``."""
    theirs = serving.head.predict(serving.encoder.encode(texts)).astype(np.float64)
    own = np.arange(len(texts))
    saved = np.log(np.maximum(p[own, tones], 1e-6)) - np.log(np.maximum(theirs[own, tones], 1e-6))
    mean, half = float(saved.mean()), NormalDist().inv_cdf(0.975) * float(saved.std(ddof=1)) / len(saved) ** 0.5
    return Interval(mean, mean - half, mean + half)
