"""Labels as a journal states them: each once, in its latest state, within what its annotator may move.

A change carries the number of its journal entry. One that was applied before, or is older than what its label already
has, does nothing: a journal may be replayed from anywhere, and its entries may come in any order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Change:
    """What a label is from now on; ``category`` None withdraws it. ``number`` orders the changes of one label."""

    number: int
    label: str
    category: str | None
    embedding: npt.ArrayLike | None = None
    weight: float = 1.0
    annotator: str = ""


@dataclass(frozen=True)
class Held:
    """A label as it stands. ``live``: set since the base, so that it counts for its annotator's cap."""

    number: int
    category: str
    embedding: npt.NDArray[np.generic]
    weight: float
    annotator: str
    live: bool

    @property
    def counts(self) -> bool:
        """False for a label that was withdrawn, or that waits because of the cap."""
        return self.weight > 0


@dataclass(frozen=True)
class Limits:
    """How far a live head may go before a base version and its gates have to judge.

    One annotator may add at most ``annotator_share`` of the base's weight, or ``annotator_floor`` where that is more.
    """

    margin: float = 0.02
    annotator_share: float = 0.2
    annotator_floor: float = 200.0
    recalibrate_every: int = 100


class Journal:
    """Labels by name. The total weight that an annotator has in it since the base never exceeds the allowance."""

    def __init__(self, base: Iterable[Change], limits: Limits) -> None:
        self._held = {change.label: held_from(change, live=False) for change in base}
        total = sum(held.weight for held in self._held.values())
        self.allowance = max(limits.annotator_floor, limits.annotator_share * total)
        self.held_back: dict[str, float] = defaultdict(float)
        self._moved: dict[str, float] = defaultdict(float)

    def __iter__(self) -> Iterator[Held]:
        """Labels that count."""
        return (held for held in self._held.values() if held.counts)

    def __getitem__(self, label: str) -> Held:
        return self._held[label]

    def __contains__(self, label: str) -> bool:
        return label in self._held

    def take(self, change: Change) -> tuple[Held | None, Held] | None:
        """(state before, state after) of the label; None where the change was known already.

        Where the annotator's allowance is spent, the label keeps what it had. Raises ValueError for a change that
        neither withdraws nor has an embedding and a weight.
        """
        before = self._held.get(change.label)
        if before is not None and change.number <= before.number:
            return None
        gone = change.category is None
        after = _withdrawn(change, before) if gone else self._admitted(held_from(change, live=True), before)
        self._set(change.label, before, after)
        return before, after

    def set_category(self, label: str, category: str) -> tuple[Held, Held]:
        """(before, after) of a relabeling that no annotator answers for."""
        before = self._held[label]
        self._held[label] = replace(before, category=category)
        return before, self._held[label]

    def withdraw(self, label: str) -> Held:
        """The label counts no more, but a replay of its changes stays without effect; returns its state before."""
        before = self._held[label]
        self._set(label, before, replace(before, weight=0.0))
        return before

    def forget(self, label: str) -> Held:
        """Remove every trace of a label; returns its state before."""
        before = self._held.pop(label)
        self._count(before, -1.0)
        return before

    def labels_of(self, category: str) -> list[str]:
        return [label for label, held in self._held.items() if held.counts and held.category == category]

    def rename(self, renamed: Mapping[str, str]) -> None:
        """Give all labels of some categories other names."""
        for label, held in self._held.items():
            if held.category in renamed:
                self._held[label] = replace(held, category=renamed[held.category])

    def _admitted(self, wanted: Held, before: Held | None) -> Held:
        own = before.weight if before and before.live and before.annotator == wanted.annotator else 0.0
        weight = min(wanted.weight, max(0.0, self.allowance - self._moved[wanted.annotator] + own))
        if weight == wanted.weight:
            return wanted
        self.held_back[wanted.annotator] += wanted.weight - weight
        if weight == 0.0 and before is not None:
            return replace(before, number=wanted.number)
        return replace(wanted, weight=weight)

    def _set(self, label: str, before: Held | None, after: Held) -> None:
        if before is not None:
            self._count(before, -1.0)
        self._count(after, 1.0)
        self._held[label] = after

    def _count(self, held: Held, sign: float) -> None:
        if held.live:
            self._moved[held.annotator] += sign * held.weight


def held_from(change: Change, *, live: bool) -> Held:
    """Raises ValueError, naming the label, where embedding or weight cannot be counted."""
    if change.category is None or change.embedding is None:
        raise ValueError(f"label {change.label} needs a category and an embedding")
    if not (np.isfinite(change.weight) and change.weight >= 0):
        raise ValueError(f"label {change.label} needs a finite weight that is not negative, not {change.weight}")
    x = np.array(change.embedding)
    if x.ndim != 1 or not np.isfinite(x).all():
        raise ValueError(f"label {change.label} needs one finite embedding")
    return Held(change.number, change.category, x, float(change.weight), change.annotator, live)


def _withdrawn(change: Change, before: Held | None) -> Held:
    """What stays of a withdrawn label: its number, so that older changes come too late."""
    nothing = Held(change.number, "", np.zeros(0), 0.0, change.annotator, live=True)
    return nothing if before is None else replace(before, number=change.number, weight=0.0)
