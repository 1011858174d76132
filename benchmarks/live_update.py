"""What one label costs until it is in the served weights, and how far the online head is from a refit.

    python -m benchmarks.live_update --data DIR [--base 5000] [--changes 10000]

A head is trained on ``--base`` texts; then labels are added, changed and withdrawn at random, one by one, as the owner
of a live head takes them over. ``update_ms`` is the CPU time of the whole way: features, exact update, guard set,
delta, and the head that answers with it; ``parts_ms`` says where it goes. ``equals_refit`` is the largest difference
between the online ridge weights and those solved from the labels that are left, after all changes. ``owner_to_answer_ms``
is the wall time from the change to an answer given with it, in one process. ``served_after_ms`` is measured on a real
stack (benchmarks/live_stack.py): from the POST of the annotation that resolves a task to the first answer with other
probabilities, while clients keep the web process busy; ``--no-stack`` leaves it out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import harness
from benchmarks.live_stack import served_after
from learning.core.export import head_graph
from learning.core.heads.journal import Change, Limits
from learning.core.heads.live import LiveHead
from learning.core.heads.training import RANDOM_FEATURES, train_heads
from serving.encoder import load_encoder
from serving.head import HeadDelta, OnnxHead

GUARD = 300
CHOOSE_ON = 2000  # labels on which hyper-parameters are chosen: their values do not change what an update costs


@dataclass
class Spent:
    """CPU seconds by step, wall seconds until the answer, and how many labels."""

    steps: dict[str, float] = field(default_factory=dict)
    walls: list[float] = field(default_factory=list)
    labels: int = 0

    def add(self, step: str, seconds: float) -> None:
        self.steps[step] = self.steps.get(step, 0.0) + seconds

    @property
    def per_label_ms(self) -> dict[str, float]:
        return {step: 1000 * seconds / max(1, self.labels) for step, seconds in self.steps.items()}


def main() -> None:
    parser = harness.parser(__doc__ or "")
    parser.add_argument("--base", type=int, default=5000, help="labels of the base version")
    parser.add_argument("--changes", type=int, default=10_000, help="live additions, changes and withdrawals")
    parser.add_argument("--features", type=int, default=RANDOM_FEATURES)
    parser.add_argument("--no-stack", action="store_true", help="measure the update alone, without a running service")
    parser.add_argument("--live", type=int, default=20, help="labels that are timed on the running service")
    args = parser.parse_args()
    if args.quick:
        args.base, args.changes, args.live = min(args.base, 1000), min(args.changes, 600), min(args.live, 5)
    corpus = harness.load_corpus(args.data, seed=args.seed)
    x = harness.embed(load_encoder(), corpus.train_texts)
    sizes = dict.fromkeys([args.features, 1000])
    with threadpool_limits(limits=1):  # as the live owner runs: more threads only wait for each other on one row
        results = {count: measured(x, corpus, count, args) for count in sizes}
    found = figures(results, args.features)
    if not args.no_stack:
        found |= served_after(corpus, labels=args.live, base=min(args.base, 500), seed=args.seed)
    harness.emit(args, found, table(results, found["served_after_ms"]))


def measured(x: np.ndarray, corpus: harness.Corpus, count: int, args: argparse.Namespace) -> dict[str, Any]:
    """One head with ``count`` random features, through all changes."""
    rng = np.random.default_rng(args.seed)
    order = rng.permutation(len(x))
    guard, rest = order[:GUARD], order[GUARD:]
    live, served = start(x, corpus, rest[: args.base], guard, count, args.seed)
    changes = args.changes if count == args.features else min(args.changes, 1000)
    spent = Spent()
    for change in harness.progress(list(journal(x, corpus, rest, args.base, changes, rng)), f"{count} features"):
        served = one(live, served, change, spent)
    return {
        "spent": spent,
        "features": live.features.width,
        "equals_refit": float(np.abs(live.refitted() - live.ridge_weights).max()),
        "largest_drift": live.largest_drift,
        "guard_accuracy": live.guard_accuracy,
        "frozen": live.frozen,
    }


def start(
    x: np.ndarray, corpus: harness.Corpus, base: np.ndarray, guard: np.ndarray, count: int, seed: int
) -> tuple[LiveHead, OnnxHead]:
    y, keys = corpus.train_labels, corpus.categories
    few = base[:CHOOSE_ON]
    head = train_heads(x[few], y[few], categories=keys, seed=seed, random_features=count)
    labels = [Change(i, f"base{at}", keys[y[at]], x[at]) for i, at in enumerate(base)]
    free = Limits(margin=1.0, annotator_floor=1e12)  # a random journal is no annotator: nothing may stop it here
    live = LiveHead.of(head, labels, name="0" * 64, guard=(x[guard], [keys[y[at]] for at in guard]), limits=free)
    served = OnnxHead.from_graph(
        head_graph(head.features), weights=head.weights, bias=head.bias, temperature=head.temperature, categories=keys
    )
    return live, served


def journal(
    x: np.ndarray, corpus: harness.Corpus, rest: np.ndarray, base: int, changes: int, rng: np.random.Generator
) -> Iterator[Change]:
    """Half additions (of texts that are not in the base), a quarter changes and a quarter withdrawals of any label.

    One label in twenty is wrong. A withdrawn text may be added again.
    """
    y, keys, number = corpus.train_labels, corpus.categories, 10**9
    inside = [(f"base{at}", at) for at in rest[:base]]
    outside = [(f"live{at}", at) for at in rest[base:]] or [(f"live{at}", at) for at in rest]
    for _ in range(changes):
        number += 1
        kind = rng.choice(["add", "change", "withdraw"], p=[0.5, 0.25, 0.25])
        if (kind == "add" and outside) or not inside:
            label, at = outside.pop(int(rng.integers(len(outside))))
            inside.append((label, at))
        elif kind == "change":
            label, at = inside[int(rng.integers(len(inside)))]
        else:
            label, at = inside.pop(int(rng.integers(len(inside))))
            outside.append((label, at))
            yield Change(number, label, None)
            continue
        category = int(rng.integers(len(keys))) if rng.random() < 0.05 else int(y[at])
        yield Change(number, label, keys[category], x[at], float(rng.choice([0.5, 1.0])))


def one(live: LiveHead, served: OnnxHead, change: Change, spent: Spent) -> OnnxHead:
    """Take one change over, publish it, and answer once with it."""
    wall, begun = time.perf_counter(), time.process_time()
    live.apply(change)
    applied = time.process_time()
    delta = live.publish()
    published = time.process_time()
    served = served.with_delta(HeadDelta.from_bytes(delta.to_bytes()))
    swapped = time.process_time()
    served.predict(np.ones((1, served.dimension), dtype=np.float32))
    spent.walls.append(time.perf_counter() - wall)
    spent.add("apply", applied - begun)
    spent.add("guard_and_publish", published - applied)
    spent.add("deliver", swapped - published)
    spent.labels += 1
    return served


def figures(results: dict[int, dict[str, Any]], default: int) -> dict[str, Any]:
    """The keys of the report; milliseconds of CPU per label."""
    total = {count: sum(result["spent"].per_label_ms.values()) for count, result in results.items()}
    chosen = results[default]
    return {
        "update_ms": total[default],
        "update_ms_1000": total[1000],
        "parts_ms": chosen["spent"].per_label_ms,
        "features": chosen["features"],
        "random_features": default,
        "changes": chosen["spent"].labels,
        "equals_refit": chosen["equals_refit"],
        "largest_drift": chosen["largest_drift"],
        "guard_accuracy": chosen["guard_accuracy"],
        "owner_to_answer_ms": 1000 * float(np.median(chosen["spent"].walls)),
        "served_after_ms": None,
    }


def table(results: dict[int, dict[str, Any]], served_after_ms: dict[str, float] | None) -> list[list[str]]:
    rows = [
        ["random features", "CPU ms/label", "apply", "guard+publish", "deliver", "changes", "vs refit", "guard acc."]
    ]
    for count, result in results.items():
        parts = result["spent"].per_label_ms
        rows.append([
            str(count), f"{sum(parts.values()):.2f}", *(f"{ms:.2f}" for ms in parts.values()),
            str(result["spent"].labels), f"{result['equals_refit']:.1e}", f"{result['guard_accuracy']:.3f}",
        ])  # fmt: skip
    if served_after_ms is not None:
        said = ", ".join(f"{name} {value:.0f}" for name, value in served_after_ms.items())
        rows.append([f"served after ms: {said}", *[""] * (len(rows[0]) - 1)])
    return rows


if __name__ == "__main__":
    main()
