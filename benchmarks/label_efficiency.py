"""How many labels for how much accuracy: learning curves of every strategy on the same embeddings.

    python -m benchmarks.label_efficiency --data DIR --budget 2000 --batch 100 --seeds 5

Every strategy starts from no label at all and is scored on test.csv with the head as it is served: Enso's few-label
stack, which looks up a text's neighbours in the pool. Rows that end in ``+lr`` use plain logistic regression, its C by
cross-validation, for picking and for scoring. Category names are all the prior knowledge (``--names off`` hides them).
Accuracy is measured after each batch; areas and label counts interpolate in between.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks import harness, peers
from benchmarks.harness import Corpus
from learning.core.heads.graph import Pool
from learning.core.heads.softmax import Rows, probabilities, scores
from learning.core.heads.stack import StackedHead, best_regularisation
from learning.selection import DEFAULT, STRATEGIES, NearestCache, Picks, SelectionState, get

FIRST, STEP = 200, 50  # the grid on which the area is taken
LEVELS = (0.80, 0.85, 0.90)
PLAIN = "+lr"
Pick = Callable[[SelectionState, int, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class World:
    """One corpus in one encoder, with what does not depend on labels."""

    pool: Pool
    y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    names: np.ndarray | None
    classes: int
    budget: int
    batch: int


@dataclass
class Curve:
    """Accuracies after each number of labels, and the CPU seconds of picking and fitting."""

    labels: list[int] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    seconds: float = 0.0


class EnsoHead:
    """The stack: its beliefs about the pool for picking, what it serves for answering."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.stack = StackedHead(world.pool, world.classes, prototypes=world.names, seed=seed)
        self.choices: Any = None
        self.served: Any = None

    def beliefs(self, at: np.ndarray) -> np.ndarray | None:
        if not len(at) and self.stack.texts is None:
            return None
        stack = self.stack.fit(at, self.world.y[at], previous=self.choices)
        self.choices, self.served = stack.choices, stack.served
        return stack.beliefs

    def answers(self, x: np.ndarray) -> np.ndarray:
        return probabilities(self.served.scores(x))


class PlainHead:
    """Logistic regression on the labels alone; C by cross-validation, chosen anew when labels have doubled."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.seed = world, seed
        self.C, self.chosen_at = 100.0, 0
        self.theta: Any = None

    def beliefs(self, at: np.ndarray) -> np.ndarray | None:
        if not len(at):
            return None
        x, targets = self.world.pool.x[at], np.eye(self.world.classes, dtype=np.float32)[self.world.y[at]]
        if len(at) >= 2 * self.chosen_at:
            self.C, self.chosen_at = best_regularisation(x, self.world.y[at], self.world.classes, self.seed), len(at)
        self.theta = Rows(x).fit(targets, self.C)
        return self.answers(self.world.pool.x)

    def answers(self, x: np.ndarray) -> np.ndarray:
        return probabilities(scores(x, self.theta))


def main() -> None:
    args = _arguments()
    if args.quick:
        args.budget, args.seeds = min(args.budget, 400), 1
    corpus = harness.load_corpus(args.data, seed=args.seed, size=1500 if args.quick else 4000)
    world = build_world(corpus, args)
    names = strategy_names(args)
    jobs = [(name, args.seed + s) for name in names for s in range(args.seeds)]
    rows: dict[str, list[Curve]] = {name: [] for name in names}
    for (name, _), curve in zip(jobs, _run(world, jobs, args.jobs), strict=True):
        rows[name].append(curve)
    figures = {name: summary(curves, args.budget) for name, curves in rows.items()}
    for extra, of in ((DEFAULT, "default"), ("default", DEFAULT)):
        if of in figures:
            figures.setdefault(extra, figures[of])
    report = {"strategies": figures, "default": DEFAULT, "budget": args.budget, "batch": args.batch, "seeds": args.seeds,
              "names": args.names, "peers": peers.versions() if args.peers else "not asked for"}  # fmt: skip
    harness.emit(args, report, table(figures))


def build_world(corpus: Corpus, args: argparse.Namespace) -> World:
    from serving.encoder import default_encoder_for, load_encoder

    encoder = load_encoder(default_encoder_for(" ".join(corpus.train_texts[:50])))
    x, test = harness.embed(encoder, corpus.train_texts), harness.embed(encoder, corpus.test_texts)
    names = harness.embed(encoder, corpus.names) if args.names == "on" else None
    budget = min(args.budget, len(x))
    return World(
        Pool.of(x), corpus.train_labels, test, corpus.test_labels, names, len(corpus.categories), budget, args.batch
    )


def strategy_names(args: argparse.Namespace) -> list[str]:
    if args.strategies:
        return list(dict.fromkeys(args.strategies.split(",")))
    chosen = ["default", "random", "margin", "msal"]
    if not args.quick:
        chosen += [f"{name}{PLAIN}" for name in STRATEGIES]
    return chosen + (peers.names() if args.peers else [])


def learning_curve(world: World, name: str, seed: int) -> Curve:
    """Pick, ask, refit and score, from no label to the budget."""
    rng = np.random.default_rng(seed)
    plain = name.endswith(PLAIN) or name in peers.PEERS
    head = PlainHead(world, seed) if plain else EnsoHead(world, seed)
    pick = _picker(name.removesuffix(PLAIN), world)
    cache, curve, start = NearestCache(), Curve(), harness.cpu_seconds()
    at = np.empty(0, dtype=np.int64)
    while True:
        beliefs = head.beliefs(at)
        if beliefs is not None:
            curve.labels.append(len(at))
            curve.accuracy.append(float((head.answers(world.test_x).argmax(axis=1) == world.test_y).mean()))
        if len(at) >= world.budget:
            break
        state = SelectionState.of(
            world.pool.x,
            labeled_at=at,
            labels=world.y[at],
            probabilities=beliefs,
            prototypes=None if plain else world.names,
            cache=cache,
        )
        at = np.concatenate([at, pick(state, min(world.batch, world.budget - len(at)), rng)])
    curve.seconds = harness.cpu_seconds() - start
    return curve


def _picker(name: str, world: World) -> Pick:
    if name in peers.PEERS:
        return peers.picker(name, world.classes)
    strategy = get(name)

    def pick(state: SelectionState, n: int, rng: np.random.Generator) -> np.ndarray:
        picks: Picks = strategy.select(state, n, rng)
        return picks.indices

    return pick


def _run(world: World, jobs: list[tuple[str, int]], workers: int) -> list[Curve]:
    if workers <= 1:
        return [learning_curve(world, *job) for job in harness.progress(jobs, "learning curves")]
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # read by the workers when they start
        os.environ.setdefault(variable, "1")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_enter, initargs=(world,)) as executor:
        curves = executor.map(_curve_here, *zip(*jobs, strict=True))
        return list(harness.progress(_Sized(curves, len(jobs)), "learning curves"))


class _Sized:
    """An iterator that the progress bar knows the length of."""

    def __init__(self, items: Iterator[Curve], size: int) -> None:
        self._items, self._size = items, size

    def __iter__(self) -> Iterator[Curve]:
        return self._items

    def __len__(self) -> int:
        return self._size


_worlds: list[World] = []  # of a worker process: sent once, not with every job


def _enter(world: World) -> None:
    _worlds.append(world)


def _curve_here(name: str, seed: int) -> Curve:
    return learning_curve(_worlds[0], name, seed)


def summary(curves: list[Curve], budget: int) -> dict[str, Any]:
    """The contract's keys for one strategy."""
    grid = np.arange(min(FIRST, budget), budget + 1, STEP)
    areas = [float(np.interp(grid, c.labels, c.accuracy).mean()) for c in curves]
    counts = curves[0].labels
    at = {str(n): _mean_std([c.accuracy[i] for c in curves]) for i, n in enumerate(counts)}
    mean = np.mean([c.accuracy for c in curves], axis=0)
    return {
        "accuracy_at": at,
        "aulc": _mean_std(areas),
        "labels_to": {f"{level:.2f}": labels_to(counts, mean, level) for level in LEVELS},
        "seconds": float(np.mean([c.seconds for c in curves])),
    }


def labels_to(labels: list[int], accuracy: np.ndarray, level: float) -> float | None:
    """Labels at which the curve first reaches ``level``, by linear interpolation; None where it never does."""
    above = np.flatnonzero(np.asarray(accuracy) >= level)
    if not len(above):
        return None
    i = int(above[0])
    if i == 0:
        return float(labels[0])
    share = (level - accuracy[i - 1]) / (accuracy[i] - accuracy[i - 1])
    return float(labels[i - 1] + share * (labels[i] - labels[i - 1]))


def table(figures: dict[str, dict[str, Any]]) -> list[list[str]]:
    marks = [n for n in ("100", "200", "500", "1000", "2000") if any(n in f["accuracy_at"] for f in figures.values())]
    rows = [["strategy", *marks, "area", "80 %", "85 %", "90 %", "CPU-s"]]
    for name, f in sorted(figures.items(), key=lambda item: -item[1]["aulc"][0]):
        points = [
            _percent(f["accuracy_at"][n][0], f["accuracy_at"][n][1]) if n in f["accuracy_at"] else "-" for n in marks
        ]
        counts = ["-" if v is None else f"{v:.0f}" for v in f["labels_to"].values()]
        rows.append([name, *points, _percent(f["aulc"][0], f["aulc"][1], 2), *counts, f"{f['seconds']:.0f}"])
    return rows


def _percent(mean: float, std: float, digits: int = 1) -> str:
    return f"{100 * mean:.{digits}f}±{100 * std:.{digits}f}"


def _mean_std(values: list[float]) -> list[float]:
    return [float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0]


def _arguments() -> argparse.Namespace:
    p = harness.parser(str(__doc__).splitlines()[0])
    p.add_argument("--budget", type=int, default=2000)
    p.add_argument("--batch", type=int, default=100)
    p.add_argument("--seeds", type=int, default=5)
    p.add_argument("--strategies", help=f"comma list of default, {', '.join(STRATEGIES)}, each also with {PLAIN}")
    p.add_argument("--names", choices=("on", "off"), default="on", help="whether category names may be used")
    p.add_argument("--peers", action="store_true", help="also small-text, scikit-activeml and modAL, where installed")
    cores = len(os.sched_getaffinity(0))
    p.add_argument("--jobs", type=int, default=cores, help=f"learning curves computed at a time (here {cores})")
    args = p.parse_args()
    if args.budget < 1 or args.batch < 1 or args.seeds < 1:
        sys.exit("--budget, --batch and --seeds must be at least 1")
    return args


if __name__ == "__main__":
    main()
