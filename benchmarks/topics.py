"""Topics: cost and quality of the consensus, beside one bare umap + hdbscan run, and whether topics keep their
identity.

    python -m benchmarks.topics [--data DIR] [--n N] [--json FILE]

Each measurement runs in a process of its own, so that CPU time, compilation and peak memory are its own. ``cold`` is
the first fit of a process with imports and compilation, ``warm`` the second, which must give the same topics. The bare
run is umap and hdbscan with their defaults (5 dimensions, min_cluster_size 40 at n = 10,000), compiled beforehand on a
part of the texts.

Identity: five categories are hidden from a first fit; a tenth of new texts, half of them of the hidden categories, then
arrive. A hidden category is found when a newborn topic holds at least half of its texts and consists of it by at least
half. ``ari_loss`` compares the daily run with a fresh fit of all texts.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import harness

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


def peak_mb() -> float:
    """Largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def ours(x: Floats, labels: Ints, seed: int) -> dict[str, Any]:
    """Two fits in one process: cost, quality, and that the second equals the first."""
    start = time.process_time()
    from learning.core.topics.model import fit

    first = fit(x, seed=seed)
    cold = time.process_time() - start
    start = time.process_time()
    second = fit(x, seed=seed)
    warm = time.process_time() - start
    quality = scores(labels, second.ids)
    return {
        "cold_cpu_s": cold, "warm_cpu_s": warm, "peak_mb": peak_mb(), **quality, "noise_share": float(second.noise.mean()),
        "topics": len(np.unique(second.ids)), "reproducible": bool((first.ids == second.ids).all()),
        "stability": second.stability,
    }  # fmt: skip


def scores(labels: Ints, ids: Ints) -> dict[str, float]:
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    return {"ari": float(adjusted_rand_score(labels, ids)), "nmi": float(normalized_mutual_info_score(labels, ids))}


def bare(x: Floats, labels: Ints, seed: int) -> dict[str, Any]:
    """One umap + hdbscan run as it comes, after compilation."""
    import hdbscan
    import umap

    def run(points: Floats, epochs: int | None = None) -> Ints:
        reducer = umap.UMAP(n_components=5, metric="cosine", min_dist=0.0, random_state=seed, n_epochs=epochs)
        model = hdbscan.HDBSCAN(min_cluster_size=max(5, len(x) // 250))
        return np.asarray(model.fit(reducer.fit_transform(points)).labels_)

    run(x[: max(len(x) // 2, min(len(x), 4500))], 11)  # more than 4,096 texts take umap's approximate neighbours
    start = time.process_time()
    found = run(x)
    cost = time.process_time() - start
    quality = scores(labels, found)
    return {"cpu_s": cost, "peak_mb": peak_mb(), **quality, "noise_share": float((found < 0).mean())}


def arrival(labels: Ints, rng: np.random.Generator) -> tuple[Ints, Ints, Ints]:
    """Rows known at first, rows arriving later (a tenth), and the hidden categories."""
    categories = np.unique(labels)
    hidden = rng.choice(categories, min(5, len(categories) // 4), replace=False)
    new = len(labels) // 10
    each = new // 2 // len(hidden)
    unseen = np.concatenate([rng.permutation(np.flatnonzero(labels == c))[:each] for c in hidden])
    known = rng.permutation(np.flatnonzero(~np.isin(labels, hidden)))
    late = known[: new - len(unseen)]
    return known[len(late) :], np.concatenate([unseen, late]), hidden


def identity(x: Floats, labels: Ints, seed: int) -> dict[str, Any]:
    """The daily run and the re-fit after a tenth of new texts."""
    from learning.core.topics.identity import share_kept
    from learning.core.topics.model import extend, fit, refit

    old, new, hidden = arrival(labels, np.random.default_rng(seed))
    everything, truth = x[np.concatenate([old, new])], labels[np.concatenate([old, new])]
    before = fit(x[old], seed=seed + 1)
    start = time.process_time()
    daily, births = extend(before, x[new], seed=seed + 2)
    daily_cost = time.process_time() - start
    again, events = refit(before, x[new], seed=seed + 3)
    fresh = fit(everything, seed=seed + 3)
    previous = np.concatenate([before.ids, np.full(len(new), -1)])
    quality = {k: scores(truth, t.ids)["ari"] for k, t in (("daily", daily), ("refit", again), ("fresh", fresh))}
    return {
        "identity_daily": share_kept(previous, daily.ids, everything),
        "identity_refit": share_kept(previous, again.ids, everything),
        "novel_found": sum(_found(truth == c, daily.ids, [b.topic for b in births]) for c in hidden),
        "hidden": len(hidden), "ari_loss": quality["fresh"] - quality["daily"], "ari_by_run": quality, "births": len(births),
        "refit_events": {k: sum(e.kind == k for e in events) for k in ("birth", "death", "split", "merge")},
        "daily_cpu_s": daily_cost,
    }  # fmt: skip


def _found(mine: NDArray[np.bool_], ids: Ints, born: list[int]) -> bool:
    shared = [((ids == b) & mine).sum() / max((ids == b).sum(), mine.sum()) for b in born]
    return max(shared, default=0.0) >= 0.5


def alone(measure: Callable[[Floats, Ints, int], dict[str, Any]], *args: Any) -> dict[str, Any]:
    """Run in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, *args).result()


def told(step: Callable[..., Any], figures: dict[str, Any]) -> dict[str, Any]:
    """Progress: what a step has found, as soon as it has."""
    print(f"{step.__name__}: {json.dumps(figures, default=float)}", file=sys.stderr, flush=True)
    return figures


def embedded(data: Any, seed: int, n: int) -> tuple[Floats, Ints]:
    """Embeddings and labels of ``n`` training texts in random order; of all where there are fewer."""
    from serving.encoder import load_encoder

    corpus = harness.load_corpus(data, seed=seed, size=n)
    x = harness.embed(load_encoder(), corpus.train_texts + corpus.test_texts)[: len(corpus.train_texts)]
    order = np.random.default_rng(seed).permutation(len(x))[:n]
    return x[order], corpus.train_labels[order]


def main() -> None:
    parser = harness.parser("topics by consensus beside one bare umap + hdbscan run")
    parser.add_argument("--n", type=int, default=10_000, help="texts")
    args: argparse.Namespace = parser.parse_args()
    x, labels = embedded(args.data, args.seed, min(args.n, 1200) if args.quick else args.n)
    own, plain, kept = (told(step, alone(step, x, labels, args.seed)) for step in (ours, bare, identity))
    ratio = own["warm_cpu_s"] / plain["cpu_s"]
    figures = {
        **own, "bare_cpu_s": plain["cpu_s"], "bare": plain, "cpu_ratio": ratio, **kept, "n": len(x), "categories": len(np.unique(labels)),
    }  # fmt: skip
    rows = [["figure", "consensus", "bare"]]
    rows += [[k, f"{own[k]:.3f}", f"{plain[k]:.3f}"] for k in ("ari", "nmi", "noise_share", "peak_mb")]
    rows.append(["warm CPU s", f"{own['warm_cpu_s']:.1f}", f"{plain['cpu_s']:.1f}"])
    rows.append(["cold CPU s", f"{own['cold_cpu_s']:.1f}", ""])
    rows += [[k, f"{kept[k]:.3f}", ""] for k in ("identity_daily", "identity_refit", "novel_found", "ari_loss")]
    harness.emit(args, figures, rows)


if __name__ == "__main__":
    main()
