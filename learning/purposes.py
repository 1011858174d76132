"""What the first places of a queue are for: the project's strategy, what may be of high risk unseen, what is unlike anything known."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedback.models import Project
from learning import selection
from learning.selection.batch import without
from learning.selection.mixing import Mixed, mixed
from learning.selection.picks import best_first
from learning.selection.uncertainty import uncertainties
from serving.engine import ServedHead
from serving.served import served

LEAST_RISK = 0.05  # of the belief in categories of high risk together: below, there is nothing to look for

Ints = NDArray[np.int64]


def mix(
    project: Project,
    state: selection.SelectionState,
    picked: Ints,
    lifted: NDArray[np.bool_],
    head: ServedHead,
    wanted: int,
) -> Mixed:
    """The first ``wanted`` places by the project's shares; ``picked`` are the strategy's ids, best first."""
    shares = shares_of(project)
    orders = {
        "selection": picked,
        "risk": _risky(project.pk, state, lifted, head, wanted) if shares["risk"] else picked[:0],
        "diversity": _unlike(state, picked, round(wanted * shares["diversity"])),
    }
    return mixed(orders, shares, wanted)


def shares_of(project: Project) -> dict[str, float]:
    """What part of the queue's places each purpose has."""
    selected = max(1.0 - project.risk_share - project.diversity_share, 0.0)
    return {"selection": selected, "risk": project.risk_share, "diversity": project.diversity_share}


def said(found: Mixed, reasons: dict[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """The reason of each place: the strategy's own (``reasons``, also of picks that others displaced), or the purpose that placed it."""
    placed = zip(found.ids.tolist(), found.purposes, strict=True)
    return {**reasons, **{pk: {"rule": purpose} for pk, purpose in placed if purpose != "selection"}}


def _risky(
    project_id: int, state: selection.SelectionState, lifted: NDArray[np.bool_], head: ServedHead, most: int
) -> Ints:
    """Most of the belief in categories of high risk first. What is suggested to be one stands high already (labeling/ranking.py)."""
    risky = served.desk(project_id).risky(head.categories)
    if state.probabilities is None or not risky.any():
        return np.empty(0, np.int64)
    belief = np.asarray(state.probabilities)[:, risky].sum(axis=1)
    at = state.open[(belief[state.open] >= LEAST_RISK) & ~lifted[state.open]]
    return state.ids[best_first(belief, state.ids, at, most)]


def _unlike(state: selection.SelectionState, picked: Ints, most: int) -> Ints:
    """Farthest first from what is labeled and from what the strategy has picked."""
    if not most:
        return np.empty(0, np.int64)
    rest = without(state, np.flatnonzero(np.isin(state.ids, picked)).astype(np.int64))
    return state.ids[selection.get("k_center").select(rest, most, np.random.default_rng(0)).indices]


def others(
    strategy: str, state: selection.SelectionState, placed: Ints, picked: Ints, rng: np.random.Generator
) -> Ints:
    """What was not placed: the strategy's other picks, then at random where it draws at random, else least certain first, ties by the
    smaller id."""
    unplaced = picked[~np.isin(picked, placed)]
    rest = np.setdiff1d(state.ids[state.open], np.concatenate([placed, unplaced]))
    if strategy == "random" or state.probabilities is None or state.probabilities.shape[1] < 2:
        return np.concatenate([unplaced, rng.permutation(rest)])
    unsure = uncertainties(state, "margin")
    at = np.flatnonzero(np.isin(state.ids, rest))
    return np.concatenate([unplaced, state.ids[best_first(unsure, state.ids, at, len(at))]])


def in_json(strategy: str, reason: selection.Reason, categories: tuple[str, ...]) -> dict[str, Any]:
    """The pick's ground as the task keeps it: categories by key, since positions change with the model."""
    said_so = reason.as_json()
    between = [{"category": categories[c], "share": round(p, 3)} for c, p in said_so.pop("split")]
    return {"rule": strategy, "between": between, **said_so}
