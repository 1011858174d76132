"""Any strategy over a pool in shards: what a shard sends, and what the reducer makes of all of it.

    part = part_of(state, strategy, 150, seed)            # on each shard; `packed` and `unpacked` carry it as bytes
    chosen = reduce_parts(parts, strategy, 150, seed, labeled, look)

| strategy | a shard sends | the picks are |
|---|---|---|
| herding | its part of the drawn sample, or all (`whole`) | those of one machine |
| MSAL, k-center | what bounds the score of each item | those of one machine, the first `Chosen.exact` of them |
| margin, entropy, least confidence, random | its best | those of one machine |
| all others | its part of the drawn sample | those of the strategy over the sample |

A part holds ids and numbers, no vectors: the reducer has those looked up that it cannot do without (``look``). The lazy greedy
wants them of the items that become active, a few thousand as a rule; beyond `MOST_ACTIVE` it goes on with those that it has, and
says for how many picks nothing that stayed behind could have been better. Besides, each shard sends its least certain items,
which follow the picks in the queue.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from learning.selection.digest import Digest, digest_of, draw_keys, merged
from learning.selection.greedy import Distances, lazy_greedy
from learning.selection.herding import Herding, bandwidth_of, cover
from learning.selection.informative import Uncertain, Uniform
from learning.selection.msal import KCenter, Msal, distances, half_distance
from learning.selection.picks import Strategy, best_first, reasons_for
from learning.selection.reasons import Reason
from learning.selection.state import Floats, Ints, SelectionState
from learning.selection.typiclust import TypiClust
from learning.selection.uncertainty import uncertainties

SAMPLE = Herding.sample
MOST_ACTIVE = 50_000  # vectors in memory at the reducer: 77 MB of 384 dimensions
Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Part:
    """``material`` is what the strategy asks for; ``ids`` and ``margin`` [m] are the least certain items, ``total`` counts all, and
    ``sure`` [s] names those that need not be asked."""

    material: Arrays
    ids: Ints
    margin: Floats
    total: int
    sure: Ints = field(default_factory=lambda: np.empty(0, np.int64))


@dataclass(frozen=True)
class Looked:
    """Rows ``x`` [m, d] of candidates and the head's beliefs about them [m, C] (None: there is no head)."""

    x: Floats
    probabilities: npt.NDArray[Any] | None


@dataclass(frozen=True)
class Chosen:
    """Ids in the order of picking, why, and how many of the first are proven to be those of one machine."""

    ids: Ints
    reasons: list[Reason]
    exact: int


Look = Callable[[Ints, bool], Looked]  # ids, and whether beliefs are wanted


def part_of(state: SelectionState, strategy: Strategy, n: int, seed: int, keep: int, *, whole: bool = False) -> Part:
    """What one shard sends for a batch of ``n``, and its ``keep`` least certain items. ``state`` needs ``uncertainty`` or
    ``probabilities``; every shard gets the same ``seed``. ``whole``: herding is to look at all that there is, no sample."""
    unsure = uncertainties(state, "margin")
    least = best_first(unsure, state.ids, state.open, keep)
    if whole and isinstance(strategy, Herding):
        everything = digest_of(state, uncertainties(state, strategy.measure), len(state.pool), seed)
        return Part(_digest(everything), state.ids[least], unsure[least], len(state.open))
    return Part(_material(state, strategy, n, seed), state.ids[least], unsure[least], len(state.open))


def joined(parts: Sequence[Part]) -> Part:
    """One part that says what these say together. Raises ValueError for none."""
    if not parts:
        raise ValueError("there is nothing to join")
    how: dict[str, Callable[[Any], Any]] = {"total": np.sum}
    material = {
        name: np.asarray(how.get(name, np.concatenate)([p.material[name] for p in parts])) for name in parts[0].material
    }
    ids, margin = np.concatenate([p.ids for p in parts]), np.concatenate([p.margin for p in parts])
    sure = np.concatenate([p.sure for p in parts])
    return Part(material, ids, margin, sum(p.total for p in parts), sure)


def reduce_parts(
    parts: Sequence[Part], strategy: Strategy, n: int, seed: int, labeled: tuple[Floats, Ints, Ints], look: Look
) -> Chosen:
    """The batch. ``labeled`` are rows [L, d], labels [L] and ids [L] of what is covered."""
    sent = [p.material for p in parts if p.total]
    if not sent:
        return Chosen(np.empty(0, np.int64), [], 0)
    if isinstance(strategy, Msal | KCenter):
        return _from_candidates(sent, strategy, n, labeled, look)
    if isinstance(strategy, Uncertain | Uniform):
        return _from_best(sent, strategy, n, labeled, look, sum(p.total for p in parts))
    return _from_digests(sent, strategy, n, seed, labeled, look)


def least_certain(parts: Sequence[Part], keep: int) -> Ints:
    """Ids of the ``keep`` least certain items of all shards, least certain first, ties by the smaller id."""
    ids, margin = np.concatenate([p.ids for p in parts]), np.concatenate([p.margin for p in parts])
    return ids[best_first(margin, ids, np.arange(len(ids)), keep)]


def packed(part: Part) -> bytes:
    """A part as bytes."""
    file = io.BytesIO()
    named = {f"material_{name}": values for name, values in part.material.items()}
    total = np.asarray(part.total)
    np.savez(file, ids=part.ids, margin=part.margin, total=total, sure=part.sure, allow_pickle=False, **named)
    return file.getvalue()


def unpacked(content: bytes) -> Part:
    """The inverse of `packed`. Raises ValueError or KeyError for bytes that never came from it."""
    with np.load(io.BytesIO(content), allow_pickle=False) as kept:
        material = {name.removeprefix("material_"): kept[name] for name in kept.files if name.startswith("material_")}
        return Part(material, kept["ids"], kept["margin"], int(kept["total"]), kept["sure"])


def _material(state: SelectionState, strategy: Strategy, n: int, seed: int) -> Arrays:
    if isinstance(strategy, Msal | KCenter):
        base = (
            uncertainties(state, strategy.measure)
            if isinstance(strategy, Msal)
            else np.zeros(len(state.pool), np.float32)
        )
        return {"ids": state.ids[state.open], "base": base[state.open], "nearest": state.nearest()[state.open]}
    if isinstance(strategy, Uncertain):
        scores = uncertainties(state, strategy.measure)
        best = best_first(scores, state.ids, state.open, n)
        return {"ids": state.ids[best], "score": scores[best]}
    if isinstance(strategy, Uniform):
        keys = -draw_keys(state.ids, np.ones(len(state.ids), np.float32), seed)
        best = best_first(keys, state.ids, state.open, n)
        return {"ids": state.ids[best], "score": keys[best]}
    return _digest(digest_of(state, _weight(state, strategy), _sample(strategy), seed, drawn=True))


def _sample(strategy: Strategy) -> int:
    return strategy.sample if isinstance(strategy, Herding) else SAMPLE


def _weight(state: SelectionState, strategy: Strategy) -> Floats:
    """By what the sample is drawn: uncertainty, but for whoever asks what is typical, all alike."""
    if isinstance(strategy, TypiClust):
        return np.ones(len(state.pool), np.float32)
    return uncertainties(state, strategy.measure if isinstance(strategy, Herding) else "margin")


def _digest(sent: Digest) -> Arrays:
    return {
        "ids": sent.ids, "nearest": sent.nearest, "key": sent.key, "open": sent.open, "weight": sent.weight,
        "total": np.asarray(sent.total, np.int64),
    }  # fmt: skip


def _from_candidates(
    sent: Sequence[Arrays], strategy: Msal | KCenter, n: int, labeled: tuple[Floats, Ints, Ints], look: Look
) -> Chosen:
    ids, base, nearest = (np.concatenate([m[name] for m in sent]) for name in ("ids", "base", "nearest"))
    nothing_more = np.zeros((0, labeled[0].shape[1]), np.float32)
    problem = Distances(
        lambda at: look(ids[at], False).x, ids, base, strategy.alpha if isinstance(strategy, Msal) else 1.0, half_distance,
        covered=nothing_more, nearest=nearest, current=True,
    )  # fmt: skip
    chosen, scores, behind = lazy_greedy(problem, n, most=MOST_ACTIVE)
    beaten = scores > behind
    state, at = _state_of(ids[chosen], look(ids[chosen], True), labeled), np.arange(len(chosen))
    kind = "uncertain" if isinstance(strategy, Msal) else "far"
    reasons = reasons_for(state, at, kind, scores, distance=distances(state, at))
    return Chosen(ids[chosen], reasons, len(chosen) if beaten.all() else int(beaten.argmin()))


def _from_best(
    sent: Sequence[Arrays],
    strategy: Uncertain | Uniform,
    n: int,
    labeled: tuple[Floats, Ints, Ints],
    look: Look,
    total: int,
) -> Chosen:
    ids, scores = np.concatenate([m["ids"] for m in sent]), np.concatenate([m["score"] for m in sent])
    best = best_first(scores, ids, np.arange(len(ids)), n)
    state, at = _state_of(ids[best], look(ids[best], True), labeled), np.arange(len(best))
    if isinstance(strategy, Uniform):
        share = [len(best) / total] * len(best)
        reasons = reasons_for(state, at, "random", np.zeros(len(best)), propensity=share)
    else:
        reasons = reasons_for(state, at, "uncertain", scores[best])
    return Chosen(ids[best], reasons, len(best))


def _from_digests(
    sent: Sequence[Arrays], strategy: Strategy, n: int, seed: int, labeled: tuple[Floats, Ints, Ints], look: Look
) -> Chosen:
    digest = merged([_undigested(m) for m in sent], _sample(strategy))
    looked = look(digest.ids, True)
    digest = Digest(
        np.arange(len(digest.ids)), digest.ids, looked.x, digest.nearest, digest.open, digest.weight, digest.key, digest.total
    )  # fmt: skip
    state = _state_of(digest.ids, looked, labeled)
    if isinstance(strategy, Herding):
        chosen, gains = cover(digest, n, bandwidth_of(labeled[0], digest, n))
        reasons = reasons_for(state, chosen, "represents", gains, similar=digest.crowd(chosen))
        return Chosen(digest.ids[chosen], reasons, len(chosen))
    picks = strategy.select(state, n, np.random.default_rng(seed))
    return Chosen(digest.ids[picks.indices], picks.reasons, 0)


def _undigested(sent: Arrays) -> Digest:
    """A digest of which the rows are looked up later."""
    m = len(sent["ids"])
    return Digest(
        np.full(m, -1), sent["ids"], np.zeros((m, 0), np.float32), sent["nearest"], sent["open"], sent["weight"],
        sent["key"], int(sent["total"]),
    )  # fmt: skip


def _state_of(ids: Ints, looked: Looked, labeled: tuple[Floats, Ints, Ints]) -> SelectionState:
    return SelectionState(looked.x, ids, *labeled, probabilities=looked.probabilities)
