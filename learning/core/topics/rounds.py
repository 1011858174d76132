"""One round over a map of topics: first topics, the daily run, or a re-fit; with the places of its texts on the map.

Arrays in, arrays out. Imports umap and hdbscan: for workers only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from learning.core.drift.geometry import Floats, Ints
from learning.core.topics.assignment import placed
from learning.core.topics.cluster import Bools, Config, Step, layout, neighbour_graph, unwatched
from learning.core.topics.identity import Event
from learning.core.topics.model import Topics, extend, fit, refit

Kind = Literal["fit", "extend", "refit"]
CLUSTERING = 0.8  # of a round's work; the map takes the rest


@dataclass(frozen=True)
class Known:
    """What is known of texts (n, d): topic ids and noise (n,), which count where ``settled``, and places (n, 2), nan for none."""

    x: Floats
    ids: Ints
    noise: Bools
    settled: Bools
    points: Floats

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Round:
    """The same texts afterwards: every one has a topic and a place. ``events`` tell what happened to which id."""

    ids: Ints
    noise: Bools
    settled: Bools
    points: Floats
    events: Sequence[Event]
    stability: dict[int, float]


def play(
    kind: Kind, known: Known, *, next_id: int, seed: int, config: Config | None = None, step: Step = unwatched
) -> Round:
    """A round of this kind, the same for the same texts and seed. Fresh ids count up from ``next_id``.

    Only settled texts count as known: what arrival gave a text is found again here, so that the result does not depend on
    whether it came in time.
    """
    config = config or Config()
    old, new = np.flatnonzero(known.settled), np.flatnonzero(~known.settled)

    def within(share: float) -> None:
        step(CLUSTERING * share)

    before = Topics(known.x[old], known.ids[old], known.noise[old], known.settled[old], next_id, {})
    events: Sequence[Event] = ()
    if kind == "fit":
        found = fit(known.x, seed=seed, config=config, step=within)
        found, order = replace(found, ids=found.ids + next_id), np.arange(len(known))
    else:
        again = extend if kind == "extend" else refit
        found, events = again(before, known.x[new], seed=seed, config=config, step=within)
        order = np.concatenate([old, new])
    back = np.argsort(order)
    ids, noise, settled = found.ids[back], found.noise[back], found.settled[back]
    step(CLUSTERING)
    points = _places(kind, known, settled, seed, config)
    return Round(ids, noise, settled, points, events, found.stability)


def _places(kind: Kind, known: Known, settled: Bools, seed: int, config: Config) -> Floats:
    """The daily run leaves the map as it is and places what is new on it; the others draw it anew, from its old look."""
    placed_before = ~np.isnan(known.points[:, 0])
    if kind == "extend" and placed_before.sum() > config.neighbours:
        return _filled(known.x, known.points, placed_before)
    drawn = settled
    start = None
    if kind == "refit" and placed_before.sum() > config.neighbours:
        start = _filled(known.x, known.points, placed_before)[drawn]
    points = np.full((len(known), 2), np.nan, np.float32)
    graph = neighbour_graph(known.x[drawn], config.neighbours)
    points[drawn] = layout(known.x[drawn], graph, 2, seed * 1000 + 999, config.epochs, apart=0.1, start=start)
    return _filled(known.x, points, drawn)


def _filled(x: Floats, points: Floats, there: Bools) -> Floats:
    """Points with every text that has none put between its nearest ones that have one."""
    full = points.copy()
    if not there.all():
        full[~there] = placed(x[there], points[there], x[~there])
    return full
