"""Topics over time: fitted once, assigned on arrival, extended daily, re-fitted now and then, with ids that last.

- ``assign`` gives a new text the topic of its nearest neighbours, and says how novel it is.
- ``extend`` (daily) freezes every known topic and clusters only what is new: texts whose neighbours are mostly other
  unsettled texts.
- ``refit`` clusters everything anew; the old topics vote, and ids are carried over (identity.match).

Above ``Config.most`` texts a stratified sample is clustered and the rest assigned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from learning.core.drift.geometry import Floats, Ints, distance_blocks, k_means, nearest_centre
from learning.core.topics.assignment import Assignment, nearest_topics
from learning.core.topics.cluster import Bools, Config, Step, cluster, smallest_sizes, unwatched
from learning.core.topics.identity import Event, match


@dataclass(frozen=True)
class Topics:
    """The state of one project and encoder. All arrays have one row per text.

    ``ids`` are lasting topic ids; ``noise`` marks texts that no run was sure of; ``settled`` those that took part in a
    clustering (the others were only assigned, and may yet turn out to be something new).
    """

    x: Floats
    ids: Ints
    noise: Bools
    settled: Bools
    next_id: int
    stability: dict[int, float]

    def __len__(self) -> int:
        return len(self.x)


def fit(x: Floats, *, seed: int, config: Config | None = None, step: Step = unwatched) -> Topics:
    """First topics of ``x`` (n, d). The same seed gives the same topics."""
    config = config or Config()
    if len(x) > config.most:
        return _fit_sample(x, seed, config, step)
    found = cluster(x, config, seed=seed, step=step)
    return Topics(x, found.labels, found.noise, np.ones(len(x), bool), int(found.labels.max()) + 1, found.stability)


def _fit_sample(x: Floats, seed: int, config: Config, step: Step) -> Topics:
    rng = np.random.default_rng(seed)
    chosen = stratified_sample(nearest_centre(x, k_means(x, 100, rng)), config.most, rng)
    core = fit(x[chosen], seed=seed, config=config, step=step)
    return _spread(core, x, chosen, config)


def stratified_sample(stratum: Ints, size: int, rng: np.random.Generator) -> Ints:
    """``size`` row numbers, each stratum in proportion (largest remainders), in ascending order."""
    strata, place, counts = np.unique(stratum, return_inverse=True, return_counts=True)
    exact = counts * min(size / len(stratum), 1.0)
    quota = np.floor(exact).astype(int)
    quota[np.argsort(quota - exact, kind="stable")[: min(size, len(stratum)) - quota.sum()]] += 1
    rows = (rng.choice(np.flatnonzero(place == k), quota[k], replace=False) for k in range(len(strata)))
    return np.sort(np.concatenate(list(rows)))


def assign(topics: Topics, x: Floats, *, config: Config | None = None) -> Assignment:
    """Topics of new texts ``x`` (m, d) by the vote of their nearest settled neighbours."""
    known = np.flatnonzero(topics.settled)
    return nearest_topics(topics.x[known], topics.ids[known], x, votes=(config or Config()).votes)


def extend(
    topics: Topics, x: Floats, *, seed: int, config: Config | None = None, step: Step = unwatched
) -> tuple[Topics, list[Event]]:
    """The daily run: new texts ``x`` (m, d) join the known topics, which stay as they are, or found new ones."""
    config = config or Config()
    assigned = assign(topics, x, config=config)
    grown = replace(
        topics, x=np.concatenate([topics.x, x]), ids=np.concatenate([topics.ids, assigned.ids]),
        noise=np.concatenate([topics.noise, assigned.p_values <= 0.05]),
        settled=np.concatenate([topics.settled, np.zeros(len(x), bool)]),
    )  # fmt: skip
    novel = novel_remainder(grown, config)
    sizes = smallest_sizes(len(grown), config)  # a new topic is as large as the known ones
    if len(novel) < max(sizes[0], 30):
        return grown, []
    found = cluster(grown.x[novel], config, seed=seed, sizes=[s for s in sizes if s <= len(novel) / 2], step=step)
    # HDBSCAN calls all of it noise where it finds nothing to tell apart: texts this near to each other are then one topic.
    noise = found.noise if found.labels.any() else np.zeros_like(found.noise)
    return _with_births(grown, novel, found.labels, noise, sizes[0])


def novel_remainder(topics: Topics, config: Config) -> Ints:
    """Unsettled texts among whose nearest neighbours unsettled ones are the majority, and far more than their share of
    all texts.
    """
    loose = np.flatnonzero(~topics.settled)
    if not len(loose):
        return loose
    expected = len(loose) / len(topics)
    votes = min(config.votes, len(topics) - 1)
    least = votes * max(0.5, min(expected + 3 * math.sqrt(expected * (1 - expected) / votes), 0.9))
    novel = []
    for rows, distance in distance_blocks(topics.x[loose], topics.x):
        distance[np.arange(len(distance)), loose[rows]] = np.inf
        close = np.argpartition(distance, votes - 1, axis=1)[:, :votes]
        novel.append((~topics.settled[close]).sum(1) >= least)
    return np.asarray(loose[np.concatenate(novel)])


def _with_births(topics: Topics, novel: Ints, labels: Ints, noise: Bools, smallest: int) -> tuple[Topics, list[Event]]:
    """Clusters of the remainder with enough sure members become topics; the other texts stay where they were assigned."""
    ids, marks, settled, events = topics.ids.copy(), topics.noise.copy(), topics.settled.copy(), []
    next_id = topics.next_id
    for label in np.unique(labels):
        members = novel[labels == label]
        if (~noise[labels == label]).sum() < smallest:
            continue
        ids[members], marks[members], settled[members] = next_id, noise[labels == label], True
        events.append(Event("birth", next_id))
        next_id += 1
    return replace(topics, ids=ids, noise=marks, settled=settled, next_id=next_id), events


def refit(
    topics: Topics, x: Floats, *, seed: int, config: Config | None = None, step: Step = unwatched
) -> tuple[Topics, list[Event]]:
    """All texts and the new ones ``x`` (m, d) clustered anew, with a new seed; what is still the same keeps its id."""
    config = config or Config()
    everything = np.concatenate([topics.x, x])
    previous = np.concatenate([topics.ids, assign(topics, x, config=config).ids]) if len(x) else topics.ids
    chosen = np.arange(len(everything))
    if len(everything) > config.most:
        chosen = stratified_sample(previous, config.most, np.random.default_rng(seed))
    found = cluster(everything[chosen], config, seed=seed, previous=previous[chosen], step=step)
    known = np.where(chosen < len(topics), previous[chosen], -1)
    matching = match(known, found.labels, everything[chosen], next_id=topics.next_id)
    core = Topics(
        everything[chosen],
        matching.ids[found.labels],
        found.noise,
        np.ones(len(chosen), bool),
        matching.next_id,
        found.stability,
    )
    return _spread(core, everything, chosen, config), list(matching.events)


def _spread(core: Topics, x: Floats, chosen: Ints, config: Config) -> Topics:
    """The clustered sample's topics, given to all texts."""
    if len(chosen) == len(x):
        return core
    settled = np.zeros(len(x), bool)
    settled[chosen] = True
    ids, noise = np.empty(len(x), np.int64), np.zeros(len(x), bool)
    ids[chosen], noise[chosen] = core.ids, core.noise
    ids[~settled] = assign(core, x[~settled], config=config).ids
    return replace(core, x=x, ids=ids, noise=noise, settled=settled)
