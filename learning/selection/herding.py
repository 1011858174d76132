"""Uncertainty herding: cover what the head is unsure of.

    argmax over i of Σₓ U(x) · max(0, k(x, i) − max over covered l of k(x, l)),   k = exp(−(1 − cos) / h)

after Bae et al. 2025 (uncertainty herding), which is one rule from no labels to many: while nothing is known, U = 1 and
it covers the pool; later it covers the uncertain part only. The gain is that of a facility-location coverage, monotone
and submodular, so the lazy greedy is exact.

The bandwidth h follows the labels: half the median distance between a covered item and its nearest other one; while
there are none, half the median radius that a batch of random items would cover. Above ``exact_up_to`` open items the
first pass, quadratic in the pool, runs over a sample of ``sample`` items, drawn by uncertainty (`learning.selection.
digest`), which are candidates and references both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from learning.selection.digest import Digest, digest_of
from learning.selection.greedy import Coverage, lazy_greedy
from learning.selection.picks import Picks, reasons_for
from learning.selection.state import Floats, Ints, SelectionState, blocks, products
from learning.selection.uncertainty import measure, uncertainties

RADIUS_SAMPLE = 4096
SMALLEST = 1e-4  # of h: exact duplicates among the labels must not make the kernel a spike


@dataclass(frozen=True)
class Herding:
    """See the module. ``measure`` names U; ``seed`` draws the sample of a large pool, the same on every shard."""

    measure: str = "margin"
    exact_up_to: int = 50_000
    sample: int = 8_192

    def __post_init__(self) -> None:
        measure(self.measure)
        if self.sample < 1:
            raise ValueError("the sample must hold at least one item")

    def select(self, state: SelectionState, n: int, rng: np.random.Generator) -> Picks:
        unsure = uncertainties(state, self.measure)
        size = len(state.pool) if len(state.open) <= self.exact_up_to else self.sample
        digest = digest_of(state, unsure, size, int(rng.integers(2**63)))
        chosen, scores = cover(digest, n, bandwidth_of(np.asarray(state.labeled, dtype=np.float32), digest, n))
        at = digest.positions[chosen]
        return Picks(at, scores, reasons_for(state, at, "represents", scores, similar=digest.crowd(chosen)))


def cover(digest: Digest, n: int, h: float) -> tuple[Ints, np.ndarray]:
    """Greedy picks (positions in the digest) and their gains as shares of all uncertainty."""
    problem = coverage_problem(digest, h)
    chosen, gains, _ = lazy_greedy(problem, n)
    return chosen, gains / max(float(digest.weight.sum()), 1e-12)


def coverage_problem(digest: Digest, h: float) -> Coverage:
    x, weight, covered = digest.x, digest.weight, kernel(digest.nearest, h)

    def rows(at: Ints) -> Floats:
        return kernel(products(x[at], x), h)

    start = np.full(len(x), -np.inf, dtype=np.float32)
    open_ = np.flatnonzero(digest.open)
    for part in blocks(len(open_), 512):
        k = x[open_[part]] @ x.T
        kernel(k, h, out=k)
        k -= covered
        start[open_[part]] = np.maximum(k, 0.0, out=k) @ weight
    start *= np.float32(1.0 + 1e-4)  # rounding must not turn an upper bound into a lower one
    return Coverage(rows, digest.ids, start, weight, covered)


def kernel(cosine: Floats, h: float, out: Floats | None = None) -> Floats:
    """exp(−(1 − cos)/h) in float32."""
    k = np.subtract(cosine, np.float32(1.0), out=out)
    k *= np.float32(1.0 / h)
    return np.asarray(np.exp(k, out=k), dtype=np.float32)


def bandwidth_of(labeled: Floats, digest: Digest, n: int) -> float:
    """h by the rule in the module docstring, for what is covered ``labeled`` [L, d] and a batch of ``n``."""
    if len(labeled) > 1:
        cosine = labeled @ labeled.T
        np.fill_diagonal(cosine, -1.0)
    else:
        x = digest.x[np.argsort(digest.ids, kind="stable")[:RADIUS_SAMPLE]]
        centres = np.linspace(0, len(x) - 1, num=min(n, len(x)), dtype=np.int64)
        cosine = x @ x[centres].T
        cosine[centres, np.arange(len(centres))] = -1.0
    return max(float(np.median(1.0 - cosine.max(axis=1))) / 2.0, SMALLEST)
