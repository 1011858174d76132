"""Gates of a language model that writes drafts, on inquiries that trained nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from learning.core.language.export import PARITY
from learning.core.language.rows import Rows
from learning.core.language.tuning import in_batches, reference_of
from learning.gates.result import ENOUGH, Result
from serving.drafter import Written

LOST = (
    0.5  # nats per token that replies which people preferred may lose: DPO widens margins also by making both unlikely
)
ENDED = 0.5  # of trial drafts: a model that does not stop writes nothing that can be sent


def judge(model: Any, pairs: Rows, liked: Rows, *, method: str, batch: int) -> list[Result]:
    """What the tuned ``model`` has learned against its own base, on held-out ``pairs`` and ``liked`` replies."""
    found = [likelihood(model, liked, batch, must_rise=method == "sft")]
    return found if method == "sft" else [accuracy(model, pairs, batch), *found]


def accuracy(model: Any, pairs: Rows, batch: int) -> Result:
    """Held-out pairs in which the chosen reply gained more than the rejected one; the 95 % interval must lie above a half."""
    name = "preferences it has not seen"
    if len(pairs) < ENOUGH:
        return Result(name, False, None, 0.5, f"only {len(pairs)} pairs are held out; {ENOUGH} are needed to judge it")
    now, before = _both(model, pairs, batch), reference_of(model, pairs, batch).numpy()
    gained = (now - before)[:, 0] - (now - before)[:, 1]
    share, low = float((gained > 0).mean()), wilson_low(int((gained > 0).sum()), len(gained))
    return Result(name, low > 0.5, share, 0.5, f"{share:.1%} of {len(gained)} pairs, at least {low:.1%} (95 %)")


def likelihood(model: Any, liked: Rows, batch: int, *, must_rise: bool) -> Result:
    """log-probability per token of held-out replies that people liked, against the base."""
    name, limit = "replies that people liked", 0.0 if must_rise else -LOST
    if len(liked) < ENOUGH:
        return Result(
            name, False, None, limit, f"only {len(liked)} replies are held out; {ENOUGH} are needed to judge it"
        )
    length = np.array([len(s.ids) - s.start for s in liked.first])
    now, before = in_batches(model, liked.first, batch).numpy(), reference_of(model, liked, batch)[:, 0].numpy()
    gain = (now - before) / length
    low = float(gain.mean() - 1.96 * gain.std(ddof=1) / math.sqrt(len(gain)))
    return Result(
        name, low > limit, float(gain.mean()), limit, f"{gain.mean():+.2f} nats per token, at least {low:+.2f} (95 %)"
    )


def parity(gap: float) -> Result:
    """The exported model says what the trained one says."""
    return Result("parity", gap <= PARITY, gap, PARITY, "largest difference of a next token's probability after export")


def endings(written: Sequence[Written | None]) -> Result:
    """Trial drafts on held-out prompts say something and stop."""
    good = [w is not None and w.ended and bool(w.text) for w in written]
    share = sum(good) / max(len(good), 1)
    return Result(
        "drafts that end", share >= ENDED, share, ENDED, f"{sum(good)} of {len(good)} trial drafts ended by themselves"
    )


def wilson_low(hits: int, n: int, z: float = 1.96) -> float:
    """Lower end of Wilson's 95 % interval of a share (1927).

    >>> round(wilson_low(20, 30), 3)
    0.488
    """
    centre, half = hits + z * z / 2, z * math.sqrt(hits * (n - hits) / n + z * z / 4)
    return (centre - half) / (n + z * z)


def _both(model: Any, pairs: Rows, batch: int) -> npt.NDArray[np.float32]:
    return np.stack([in_batches(model, side, batch).numpy() for side in (pairs.first, pairs.second)], axis=1)
