"""A batch as it goes into the queue: what the strategy wants, without copies, not all of one kind, and an audit slice.

- The audit slice is drawn first, uniformly from everything open, and its propensity is logged: it is what live accuracy
  and the learning curve may be measured on without bias. Being covered, it is not picked a second time.
- Near-duplicates of what is labeled, open or earlier in the batch are passed over. How near is near follows the pool: a
  fiftieth of the median distance between any two of its texts.
- While the head believes in categories at all, none takes more than its share of the batch: twice what an even split
  would give it, at least two. Passed-over items return where the batch would otherwise stay short.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from learning.selection.picks import Picks, Strategy, reasons_for
from learning.selection.reasons import Reason
from learning.selection.state import Floats, Ints, SelectionState, nearest_cosines, products, rows_of

SPREAD_SAMPLE = 1024
DUPLICATE = 0.02  # of the pool's median distance between two texts
SPARE = 2  # the strategy is asked for so many times the batch, to have something left to pass over
EVEN_SHARES = 2.0


@dataclass(frozen=True)
class BatchRules:
    """``audit`` is the share drawn at random. Raises ValueError for a share outside [0, 1]."""

    audit: float = 0.05
    suppress_duplicates: bool = True
    balance: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.audit <= 1.0:
            raise ValueError("the audit share must lie between 0 and 1")


def compose(
    state: SelectionState, strategy: Strategy, n: int, rng: np.random.Generator, rules: BatchRules | None = None
) -> Picks:
    """``n`` items (fewer where the pool is short): the strategy's first, the audit slice last."""
    rules = rules or BatchRules()
    audits = draw_audits(state, round(n * rules.audit), rng)
    rest = without(state, audits.indices)
    wanted = strategy.select(rest, _ask_for(n - len(audits), rules), rng)
    return _joined(_kept(rest, wanted, n - len(audits), rules), audits)


def draw_audits(state: SelectionState, n: int, rng: np.random.Generator) -> Picks:
    """``n`` open items, all equally likely; their propensity is n / open items."""
    at = state.open[np.argsort(state.ids[state.open], kind="stable")]
    chosen = np.sort(rng.permutation(at)[:n])
    share = len(chosen) / max(len(at), 1)
    reasons = reasons_for(state, chosen, "audit", np.zeros(len(chosen)), propensity=[share] * len(chosen))
    return Picks(chosen, np.zeros(len(chosen)), reasons, np.full(len(chosen), share))


def without(state: SelectionState, at: Ints) -> SelectionState:
    """The state after the pool items ``at`` have been picked: covered, label unknown, no longer available."""
    available = np.ones(len(state.pool), dtype=bool) if state.available is None else state.available.copy()
    available[at] = False
    return replace(
        state,
        available=available,
        labeled=np.concatenate([np.asarray(state.labeled, dtype=np.float32), rows_of(state.pool, at)]),
        labels=np.concatenate([state.labels, np.full(len(at), -1, dtype=np.int64)]),
        labeled_ids=np.concatenate([state.labeled_ids, state.ids[at]]),
    )


def duplicate_distance(pool: npt.NDArray[np.generic], ids: Ints) -> float:
    """Cosine distance under which two texts of this pool count as near-duplicates."""
    order = np.argsort(ids, kind="stable")
    at = order[np.linspace(0, len(order) - 1, num=min(SPREAD_SAMPLE, len(order)), dtype=np.int64)]
    if len(at) < 2:
        return 0.0
    x = rows_of(pool, np.sort(at))
    return DUPLICATE * float(np.median(np.maximum(1.0 - x @ x.T, 0.0)[np.triu_indices(len(x), 1)]))


def _ask_for(n: int, rules: BatchRules) -> int:
    return n * SPARE if n and (rules.suppress_duplicates or rules.balance) else n


def _kept(state: SelectionState, wanted: Picks, n: int, rules: BatchRules) -> Picks:
    """The first ``n`` of ``wanted`` that the rules let pass, then those that balance alone held back."""
    fresh = np.ones(len(wanted), dtype=bool)
    if rules.suppress_duplicates:
        fresh = _fresh(rows_of(state.pool, wanted.indices), state, duplicate_distance(state.pool, state.ids))
    order = np.flatnonzero(fresh)
    if rules.balance and state.probabilities is not None and len(order):
        order = _balanced(np.asarray(state.probabilities[wanted.indices[order]]), order, n)
    return subset(wanted, order[:n])


def _fresh(x: Floats, state: SelectionState, distance: float) -> npt.NDArray[np.bool_]:
    """False for rows that nearly repeat a covered item or an earlier fresh row."""
    near = nearest_cosines(x, np.asarray(state.labeled, dtype=np.float32)) >= 1.0 - distance
    pairs = products(x, x) >= 1.0 - distance
    fresh = ~near
    for i in range(len(x)):
        if fresh[i] and pairs[i, :i][fresh[:i]].any():
            fresh[i] = False
    return np.asarray(fresh)


def _balanced(p: npt.NDArray[np.generic], order: npt.NDArray[np.intp], n: int) -> npt.NDArray[np.intp]:
    """``order`` with the items moved to the end that exceed their category's share of ``n``."""
    believed = p.argmax(axis=1)
    most = max(2, int(np.ceil(EVEN_SHARES * n / p.shape[1])))
    turn = np.zeros(len(order), dtype=np.int64)
    for category in np.unique(believed):
        members = np.flatnonzero(believed == category)
        turn[members] = np.arange(len(members))
    return order[np.argsort(turn >= most, kind="stable")]


def subset(picks: Picks, at: npt.NDArray[np.intp]) -> Picks:
    reasons = [picks.reasons[i] for i in at]
    return Picks(picks.indices[at], picks.scores[at], reasons, picks.propensities[at], min(picks.exact, len(at)))


def _joined(first: Picks, second: Picks) -> Picks:
    reasons: list[Reason] = [*first.reasons, *second.reasons]
    return Picks(
        np.concatenate([first.indices, second.indices]),
        np.concatenate([first.scores, second.scores]),
        reasons,
        np.concatenate([first.propensities, second.propensities]),
        first.exact + second.exact,
    )
