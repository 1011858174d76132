"""What an expert reviews, decided per batch by how well its annotators agree. Pure: numbers in, decisions out.

| κ of the batch | the expert reviews | |
|---|---|---|
| below 0.6 | every item | the answers are too unreliable to be taken even where they agree |
| 0.6 to 0.8 | the disagreements | |
| 0.8 and above | none but an audit sample | disagreements are settled by weighted consensus |

κ is the mean pairwise κ weighted by shared items. A batch with fewer than 50 doubly annotated items says too little: only
its disagreements are reviewed, whatever its κ. The band of the batch before stays in force until the interval of κ excludes
that band, so that chance alone does not switch it to and fro.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from labeling.agreement import Kappa

ENOUGH = 50
ALL, DISAGREEMENTS, NONE = "all", "disagreements", "none"
# Each band with the κ from which and below which it holds.
BANDS = {ALL: (-1.0, 0.6), DISAGREEMENTS: (0.6, 0.8), NONE: (0.8, 1.0)}


class Review(StrEnum):
    """What happens to one task when all its answers are in."""

    TAKE = "take"  # the answers are the label
    CONSENSUS = "consensus"  # they differ: weighted consensus decides
    EXPERT = "expert"


class Why(StrEnum):
    """Why a batch is in its band; the page says it in words."""

    FEW = "few"  # fewer than 50 pairs
    UNDEFINED = "undefined"  # κ is not defined (one category only)
    WITHIN = "within"  # the interval does not exclude the band before
    CHANGED = "changed"
    SAME = "same"


@dataclass(frozen=True)
class Decision:
    band: str
    why: Why


def decide(*, before: str, doubles: int, kappa: Kappa) -> Decision:
    """The band of a batch after `before`."""
    if doubles < ENOUGH:
        return Decision(DISAGREEMENTS, Why.FEW)
    if kappa.value is None or kappa.low is None or kappa.high is None:
        return Decision(DISAGREEMENTS, Why.UNDEFINED)
    band = band_of(kappa.value)
    if band == before:
        return Decision(band, Why.SAME)
    low, high = BANDS[before]
    excluded = kappa.low >= high or kappa.high < low
    return Decision(band, Why.CHANGED) if excluded else Decision(before, Why.WITHIN)


def band_of(kappa: float) -> str:
    """The row of the table; both limits belong to the band above them."""
    return NONE if kappa >= 0.8 else DISAGREEMENTS if kappa >= 0.6 else ALL


def review_of(band: str, *, agreed: bool, single: bool, audit: bool, sampled: bool) -> Review:
    """What happens to a task whose answers are all in. `sampled`: it is in the audit sample of the review."""
    if band == ALL:
        return Review.EXPERT
    if not agreed:
        return Review.EXPERT if band == DISAGREEMENTS or audit or sampled else Review.CONSENSUS
    return Review.EXPERT if band == NONE and sampled and not single else Review.TAKE
