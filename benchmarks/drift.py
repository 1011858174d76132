"""Power and false alarms of every drift detector, all under the same calibration.

    python -m benchmarks.drift [--data DIR] [--reference R] [--splits S] [--windows W] [--json FILE]

For each of several random splits, five categories (or a quarter, where there are few) are hidden, a reference is drawn
from the others, and windows of 200 to 2,000 texts are drawn from what is left, never from the reference:
- clean: known categories only;
- new_5, new_2: 5 % (2 %) of the window comes from the hidden categories;
- share_20, share_10: 20 % (10 %) of the window comes from a random tenth of the known categories.
Predictions and the head's doubt come from a closed-form ridge head on the reference's labels, leave-one-out on the
reference itself. ``false_alarms_month``: share of months of 30 clean daily looks with any alarm of the default, at 5 %
a month.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import harness
from learning.core.drift.combined import DEFAULT, Calibration, fitting, resamples_for
from learning.core.drift.detectors import BY_NAME
from learning.core.drift.head import DriftHead
from learning.core.drift.head import answers as head_answers
from learning.core.drift.reference import Reference, Window
from serving.encoder import load_encoder

Ints = NDArray[np.int64]
SCENARIOS = ("new_5", "new_2", "share_20", "share_10")
DAILY = 200  # texts of a daily look


@dataclass
class World:
    """One split: a reference, and where windows are drawn from."""

    x: NDArray[np.float32]
    labels: Ints
    predictions: Ints
    doubt: NDArray[np.float32]
    reference: Reference
    pool: Ints
    hidden: Ints
    rng: np.random.Generator

    def window(self, scenario: str, n: int) -> Window:
        rows = self._rows(scenario, n)
        return Window(self.x[rows], self.predictions[rows], self.doubt[rows])

    def _rows(self, scenario: str, n: int) -> Ints:
        kind, _, percent = scenario.partition("_")
        extra = round(int(percent or 0) * n / 100)
        source = self.hidden if kind == "new" else self._favoured() if kind == "share" else self.pool[:0]
        extra = min(extra, len(source))
        drawn = self.rng.choice(source, extra, replace=False) if extra else source[:0]
        rest = np.setdiff1d(self.pool, drawn)
        return np.concatenate([drawn, self.rng.choice(rest, n - extra, replace=False)])

    def _favoured(self) -> Ints:
        known = np.unique(self.labels[self.pool])
        some = self.rng.choice(known, max(1, len(known) // 10), replace=False)
        return self.pool[np.isin(self.labels[self.pool], some)]


def split(x: NDArray[np.float32], labels: Ints, size: int, seed: int) -> World:
    """Hide categories, draw a reference of ``size`` texts, fit the head."""
    rng = np.random.default_rng(seed)
    categories = np.unique(labels)
    hidden = rng.choice(categories, max(1, min(5, len(categories) // 4)), replace=False)
    known = rng.permutation(np.flatnonzero(~np.isin(labels, hidden)))
    rows, pool = known[:size], known[size:]
    scores = _head_scores(x, x[rows], labels[rows], int(labels.max()) + 1, rows)
    predictions, doubt = head_answers(scores)
    reference = Reference(
        x[rows], predictions=predictions[rows], strangeness=doubt[rows], classes=int(labels.max()) + 1, seed=seed
    )
    return World(x, labels, predictions, doubt, reference, pool, np.flatnonzero(np.isin(labels, hidden)), rng)


def _head_scores(
    x: NDArray[np.float32], trained_on: NDArray[np.float32], labels: Ints, classes: int, rows: Ints
) -> NDArray[np.float64]:
    """Ridge scores of all texts; those the head was trained on by exact leave-one-out."""
    head = DriftHead(trained_on, labels, classes)
    scores = head.scores(x)
    scores[rows] = head.scores_without(scores[rows])
    return scores


def answers(world: World, calibration: Calibration, scenario: str, n: int, *, looks: int = 1) -> dict[str, bool]:
    """Which detectors alarm on one window."""
    window = fitting(world.window(scenario, n), world.reference, world.rng)
    report = calibration.check(window, looks=looks)
    return {DEFAULT: report.drifted, **{f.detector: f.drifted for f in report.findings}}


def sizes(world: World, wanted: list[int]) -> Iterator[tuple[int, int]]:
    """Window sizes that the pool allows, with the size that the reference can calibrate."""
    for n in wanted:
        if n <= 0.9 * len(world.pool):
            yield n, min(n, len(world.reference) // 2)


def measure(
    args: argparse.Namespace, x: NDArray[np.float32], labels: Ints
) -> tuple[dict[str, Any], dict[str, Any], list[bool]]:
    """Alarms {scenario: {detector: {n: [bool]}}}, the same for clean windows, and alarms by month."""
    power: dict[str, Any] = {}
    clean: dict[str, Any] = {}
    months: list[bool] = []
    for seed in harness.progress(range(args.seed, args.seed + args.splits), "splits"):
        world = split(x, labels, args.reference, seed)
        for n, calibrated in sizes(world, args.sizes):
            calibration = Calibration(
                world.reference, calibrated, rng=world.rng, names=tuple(BY_NAME), resamples=args.resamples
            )
            for scenario in SCENARIOS:
                _collect(power.setdefault(scenario, {}), world, calibration, scenario, n, args.windows)
            _collect(clean, world, calibration, "clean", n, args.clean if n == 500 else args.windows)
        months += _months(world, args.months)
    return power, clean, months


def _collect(into: dict[str, Any], world: World, calibration: Calibration, scenario: str, n: int, runs: int) -> None:
    for _ in range(runs):
        for detector, alarmed in answers(world, calibration, scenario, n).items():
            into.setdefault(detector, {}).setdefault(str(n), []).append(alarmed)


def _months(world: World, count: int) -> list[bool]:
    n = min(DAILY, len(world.reference) // 2)
    calibration = Calibration(world.reference, n, rng=world.rng, resamples=resamples_for(0.05, 30))
    return [any(answers(world, calibration, "clean", n, looks=30)[DEFAULT] for _ in range(30)) for _ in range(count)]


def averaged(alarms: dict[str, Any]) -> dict[str, Any]:
    """Shares of alarms in place of the alarms."""
    return {d: {n: float(np.mean(hits)) for n, hits in by_n.items()} for d, by_n in alarms.items()}


def table(power: dict[str, Any], false_alarms: dict[str, Any]) -> list[list[str]]:
    """Detectors down, scenarios and sizes across."""
    columns = [(s, n) for s in power for n in power[s][DEFAULT]]
    rows = [["detector", *(f"{s} n={n}" for s, n in columns), *(f"clean n={n}" for n in false_alarms[DEFAULT])]]
    for detector in false_alarms:
        hits = [power[s][detector][n] for s, n in columns] + list(false_alarms[detector].values())
        rows.append([detector, *(f"{h:.2f}" for h in hits)])
    return rows


def main() -> None:
    parser = harness.parser("power and false alarms of every drift detector")
    parser.add_argument("--reference", type=int, default=8000, help="texts in the reference")
    parser.add_argument("--splits", type=int, default=8)
    parser.add_argument("--windows", type=int, default=12, help="windows per split, scenario and size")
    parser.add_argument("--clean", type=int, default=64, help="clean windows per split at n = 500")
    parser.add_argument("--months", type=int, default=5, help="months of 30 clean daily looks per split")
    parser.add_argument("--resamples", type=int, default=300)
    parser.add_argument("--sizes", type=int, nargs="+", default=[200, 500, 1000, 2000])
    args = parser.parse_args()
    corpus = harness.load_corpus(args.data, seed=args.seed, size=3000 if args.quick else 9000)
    texts, labels = corpus.train_texts + corpus.test_texts, np.concatenate([corpus.train_labels, corpus.test_labels])
    if args.quick:
        args.splits, args.windows, args.clean, args.months, args.sizes = 2, 5, 10, 1, [200, 500]
    args.reference = min(args.reference, len(texts) * 6 // 10)
    x = harness.embed(load_encoder(), texts)
    start = harness.cpu_seconds()
    power, clean, months = measure(args, x, labels)
    shares, false_alarms = {s: averaged(d) for s, d in power.items()}, averaged(clean)
    counted = {n: len(hits) for n, hits in clean[DEFAULT].items()}
    figures = {
        "power": shares, "false_alarms": false_alarms, "default": DEFAULT, "clean_windows": counted, "reference": args.reference,
        "false_alarms_month": float(np.mean(months)) if months else None, "months": len(months), "splits": args.splits,
        "windows_per_cell": args.splits * args.windows, "cpu_s": harness.cpu_seconds() - start,
    }  # fmt: skip
    harness.emit(args, figures, table(shares, false_alarms))
    if months:
        print(f"any default alarm in a month of daily looks: {np.mean(months):.3f} of {len(months)} months")


if __name__ == "__main__":
    main()
