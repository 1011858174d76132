"""Time of one batch from a large pool, against the MSAL formula as written.

    python -m benchmarks.selection --pool 100000

The pool is a memory-mapped float16 file of random unit vectors with random uncertainties, as a service would hold it.
``cpu_s`` starts with an empty cache of nearest-labeled distances, ``cached_cpu_s`` with one that knows all labels, as
between two batches. ``identical`` compares the picks with a plain greedy that recomputes every score after every pick
(for the default strategy above its exact size: on the same candidates). The naive time is that of the formula as
written, all distances to all labeled and picked items anew for every pick; above a few thousand items it is measured on
a part of the pool and scaled.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness
from learning.selection import DEFAULT, NearestCache, SelectionState, get
from learning.selection.digest import digest_of
from learning.selection.herding import Herding, bandwidth_of, kernel
from learning.selection.msal import Msal, half_distance
from learning.selection.state import blocks, rows_of

DIMENSION, LABELED, CATEGORIES = 384, 1000, 77
NAIVE_ROWS, NAIVE_PICKS = 4096, 3  # what the naive formula is timed on when the pool is larger
ALL = ("default", "msal", "k_center", "msal_equiangular", "cluster_margin", "badge", "typiclust", "margin", "random")
NEED_PROBABILITIES = ("badge",)
SMALL = 200_000  # above: only the strategies that a pool of that size is meant for
CHECKED = 10_000  # above: plain greedy checks the default's first picks only


def main() -> None:
    args = _arguments()
    if args.quick:
        args.pool = min(args.pool, 10_000)
    rng = np.random.default_rng(args.seed)
    with tempfile.TemporaryDirectory(prefix="enso-pool-") as folder:
        state = build_state(Path(folder), args.pool, rng, args.strategies)
        figures: dict[str, Any] = {}
        for name in harness.progress(args.strategies, "strategies"):
            figures[name] = timed(name, state, args.batch, args.seed)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        for name, check in CHECKS.items():
            if name in figures:
                figures[name]["identical"] = check(state, args.batch, args.seed)
        naive, extrapolated = naive_seconds(state, args.batch)
    if "default" in figures:
        figures.setdefault(DEFAULT, figures["default"])
    speedup = naive / figures["msal"]["cpu_s"] if "msal" in figures else None
    report = {
        "strategies": figures,
        "default": DEFAULT,
        "naive_cpu_s": naive,
        "naive_extrapolated": extrapolated,
        "speedup": speedup,
        "peak_mb": peak,
        "pool": args.pool,
        "labeled": LABELED,
        "batch": args.batch,
    }
    harness.emit(args, report, _table(figures, naive, extrapolated, peak))


def build_state(folder: Path, size: int, rng: np.random.Generator, strategies: list[str]) -> SelectionState:
    """A float16 memory map of ``size`` unit vectors, the first labels spread over them."""
    pool = np.lib.format.open_memmap(folder / "pool.npy", mode="w+", dtype=np.float16, shape=(size, DIMENSION))
    for part in blocks(size):
        x = rng.standard_normal((part.stop - part.start, DIMENSION), dtype=np.float32)
        pool[part] = x / np.linalg.norm(x, axis=1, keepdims=True)
    pool.flush()
    at = np.sort(rng.permutation(size)[: min(LABELED, size // 2)])
    labels = rng.integers(CATEGORIES, size=len(at))
    probabilities = None
    if any(name in NEED_PROBABILITIES for name in strategies):
        probabilities = rng.dirichlet(np.full(CATEGORIES, 0.05), size=size).astype(np.float16)
    unsure = {name: rng.random(size, dtype=np.float32) for name in ("margin", "entropy")}
    mapped = np.load(folder / "pool.npy", mmap_mode="r")
    return SelectionState.of(mapped, labeled_at=at, labels=labels, probabilities=probabilities, uncertainty=unsure)


def timed(name: str, state: SelectionState, n: int, seed: int) -> dict[str, Any]:
    cold, warm = replace(state, cache=NearestCache()), replace(state, cache=NearestCache())
    first = _cpu(lambda: get(name).select(cold, n, np.random.default_rng(seed)))
    warm.nearest()
    again = _cpu(lambda: get(name).select(warm, n, np.random.default_rng(seed)))
    return {"cpu_s": first, "cached_cpu_s": again, "identical": None}


def msal_is_identical(state: SelectionState, n: int, seed: int, alpha: float | None = None) -> bool:
    """Against a running minimum over the whole pool: the formula with every score recomputed after every pick."""
    assert state.uncertainty is not None
    assert state.available is not None
    strategy = get("k_center") if alpha == 1.0 else Msal()
    picks = strategy.select(replace(state, cache=NearestCache()), n, np.random.default_rng(seed))
    base = np.zeros(len(state.pool), np.float32) if alpha == 1.0 else state.uncertainty["entropy"]
    weight = np.float32(alpha if alpha is not None else Msal().alpha)
    nearest, taken = replace(state, cache=NearestCache()).nearest().copy(), ~state.available
    for pick in picks.indices:
        score = np.where(taken, -np.inf, base + weight * half_distance(nearest))
        if pick != int(score.argmax()):
            return False
        taken[pick] = True
        row = rows_of(state.pool, np.array([pick]))[0]
        for part in blocks(len(nearest)):
            nearest[part] = np.maximum(nearest[part], np.einsum("ij,j->i", rows_of(state.pool, part), row))
    return True


def default_is_identical(state: SelectionState, n: int, seed: int) -> bool:
    """Against a greedy that recomputes the gain of every candidate after every pick."""
    assert state.uncertainty is not None
    strategy = Herding()
    picks = strategy.select(state, n, np.random.default_rng(seed))
    size = len(state.pool) if len(state.open) <= strategy.exact_up_to else strategy.sample
    draw = int(np.random.default_rng(seed).integers(2**63))
    digest = digest_of(state, state.uncertainty["margin"], size, draw)
    h = bandwidth_of(np.asarray(state.labeled, dtype=np.float32), digest, n)
    covered, open_ = kernel(digest.nearest, h), digest.open.copy()
    small = len(digest.x) <= CHECKED
    k = kernel(digest.x @ digest.x.T, h) if small else None
    for pick in picks.indices[: n if small else 3]:
        gains = np.full(len(digest.x), -np.inf, dtype=np.float32)
        for part in blocks(len(gains), 1024):
            rows = kernel(digest.x[part] @ digest.x.T, h) if k is None else k[part]
            gains[part] = np.maximum(rows - covered, 0.0) @ digest.weight
        best = int(np.where(open_, gains, -np.inf).argmax())
        if digest.positions[best] != pick:
            return False
        covered = np.maximum(covered, kernel(digest.x @ digest.x[best], h))
        open_[best] = False
    return True


CHECKS: dict[str, Callable[[SelectionState, int, int], bool]] = {
    "default": default_is_identical,
    "msal": msal_is_identical,
    "k_center": lambda state, n, seed: msal_is_identical(state, n, seed, alpha=1.0),
}


def naive_seconds(state: SelectionState, n: int) -> tuple[float, bool]:
    """CPU seconds of the formula as written, and whether they were scaled up from a part."""
    rows = np.asarray(state.pool[: min(NAIVE_ROWS, len(state.pool))], dtype=np.float32)
    covered = np.asarray(state.labeled, dtype=np.float32)
    assert state.uncertainty is not None
    unsure = state.uncertainty["entropy"][: len(rows)]

    def as_written() -> None:
        chosen = covered
        for _ in range(NAIVE_PICKS):
            distance = np.sqrt(np.maximum(2.0 - 2.0 * (rows @ chosen.T), 0.0)).min(axis=1) / 2.0
            best = int((unsure + 0.5 * distance).argmax())
            chosen = np.concatenate([chosen, rows[best : best + 1]])

    share = (len(rows) / len(state.pool)) * (NAIVE_PICKS / n)
    growth = (len(covered) + n / 2) / (len(covered) + NAIVE_PICKS / 2)  # picks are compared with, too
    return _cpu(as_written) / share * growth, True


def _cpu(work: Callable[[], object]) -> float:
    start = harness.cpu_seconds()
    work()
    return harness.cpu_seconds() - start


def _table(figures: dict[str, dict[str, Any]], naive: float, extrapolated: bool, peak: float) -> list[list[str]]:
    said = {True: "yes", False: "NO", None: "-"}
    rows = [["strategy", "CPU-s", "cached CPU-s", "identical to plain greedy"]]
    for name, f in figures.items():
        rows.append([name, f"{f['cpu_s']:.3f}", f"{f['cached_cpu_s']:.3f}", said[f["identical"]]])
    rows.append(["MSAL as written" + (" (scaled from a part)" if extrapolated else ""), f"{naive:.1f}", "-", "-"])
    return [*rows, [f"peak memory {peak:.0f} MB", "", "", ""]]


def _arguments() -> argparse.Namespace:
    p = harness.parser(str(__doc__).splitlines()[0])
    p.add_argument("--pool", type=int, default=100_000)
    p.add_argument("--batch", type=int, default=100)
    p.add_argument("--strategies", help=f"comma list of {', '.join(ALL)}; above {SMALL} items the first three")
    args = p.parse_args()
    if args.pool < 2 * args.batch:
        sys.exit("--pool must be at least twice the batch")
    args.strategies = args.strategies.split(",") if args.strategies else list(ALL if args.pool <= SMALL else ALL[:3])
    return args


if __name__ == "__main__":
    main()
