"""Categories that arrive task after task: what each learner still knows at the end.

    python -m benchmarks.continual --data DIR --tasks 7

The categories are dealt out to ``--tasks`` tasks. A learner sees the texts of one task after another and none again
(apart from what it keeps in a buffer), and always answers over all categories. ``accuracy`` is on test.csv after the
last task; ``forgetting`` is the mean over tasks of its best accuracy so far less its last one (Chaudhry et al. 2018,
arXiv:1801.10112); ``bwt`` is the mean change since the task was learned (Lopez-Paz & Ranzato 2017, arXiv:1706.08840).
Hyper-parameters are searched on a fifth of train.csv that the search does not train on, never on test.csv. ``joint`` is
logistic regression on everything at once. ``relabel`` is benchmarks/continual_relabel.py: categories that are renamed and
merged half-way. Avalanche is not among the packages of this project, and its row says so.
"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.continual_methods import DEFAULT, METHODS, NAIVE, QUICK, RIDGE_LAMBDAS, Data, Learner, Method, Ridge
from benchmarks.continual_relabel import compare
from learning.core.heads.linear import GRID, fit_linear, with_bias
from serving.encoder import default_encoder_for, load_encoder

TRIALS = 4  # the whole table then takes about a dozen CPU-minutes on one core
JOINT = "joint logistic regression"


def main() -> None:
    args = _arguments()
    data = _data(args)
    tasks = deal(data.classes, args.tasks, args.seed)
    inner = validation(data, args.seed)
    names = args.methods.split(",") if args.methods else list(QUICK if args.quick else METHODS)
    C, joint = joint_logistic(data, inner)
    base = {} if args.quick else searched_base(inner, tasks, args)
    results: dict[str, dict[str, Any]] = {}
    for name in harness.progress(names, "methods"):
        start = harness.cpu_seconds()
        given = chosen(METHODS[name], inner, tasks, base, results, args)
        spent = harness.cpu_seconds() - start
        results[name] = {**run(METHODS[name], data, tasks, given, args.seed), "chosen": given, "search_cpu_s": spent}
        print(f"{name}: {results[name]['accuracy']:.4f} {given}", file=sys.stderr, flush=True)
    net = {**base, "ewc": _strength(results)}
    relabel = compare(data, seed=args.seed, lam=results[DEFAULT]["chosen"]["lam"], C=C, network=net)
    report = {
        "methods": results, "joint": joint, "default": DEFAULT, "tasks": args.tasks, "trials": args.trials,
        "joint_C": C, **relabel, "avalanche": avalanche(),
    }  # fmt: skip
    harness.emit(args, report, table(report))


def _data(args: argparse.Namespace) -> Data:
    corpus = harness.load_corpus(args.data, seed=args.seed, size=600 if args.quick else 4000)
    encoder = load_encoder(default_encoder_for(" ".join(corpus.train_texts[:50])))
    x, test_x = harness.embed(encoder, corpus.train_texts), harness.embed(encoder, corpus.test_texts)
    return Data(x, corpus.train_labels, test_x, corpus.test_labels, len(corpus.categories))


def deal(classes: int, tasks: int, seed: int) -> list[np.ndarray]:
    """Categories of each task, at random."""
    if not 1 <= tasks <= classes:
        sys.exit(f"--tasks must be between 1 and the number of categories, {classes}")
    return np.array_split(np.random.default_rng(seed).permutation(classes), tasks)


def validation(data: Data, seed: int) -> Data:
    """The same world with a fifth of its training texts in place of the test texts."""
    rng = np.random.default_rng(seed + 1)
    held = np.zeros(len(data.y), dtype=bool)
    for label in range(data.classes):
        inside = rng.permutation(np.flatnonzero(data.y == label))
        held[inside[: max(1, len(inside) // 5)]] = True
    return Data(data.x[~held], data.y[~held], data.x[held], data.y[held], data.classes)


def joint_logistic(data: Data, inner: Data) -> tuple[float, float]:
    """(C that is best on validation, accuracy on the test texts of a fit to all training texts)."""

    def accuracy(of: Data, C: float, *, exact: bool) -> float:
        theta = fit_linear(of.x, np.eye(of.classes)[of.y], np.ones(len(of.y)), C=C, exact=exact)
        return float(((with_bias(of.test_x) @ theta).argmax(axis=1) == of.test_y).mean())

    C = max(GRID[:-1], key=lambda C: accuracy(inner, C, exact=False))
    return C, accuracy(data, C, exact=True)


def run(method: Method, data: Data, tasks: list[np.ndarray], given: dict[str, Any], seed: int) -> dict[str, Any]:
    """Learn the tasks one after another; the accuracy of each task on test texts after each of them."""
    start = harness.cpu_seconds()
    learner = method.make(data, given, seed)
    by_task: list[list[float]] = []
    for n, classes in enumerate(tasks):
        learner.learn(data.experience(np.flatnonzero(np.isin(data.y, classes))))
        by_task.append(accuracies(learner, data, tasks[: n + 1]))
    return {**figures(by_task, data, tasks), "cpu_s": harness.cpu_seconds() - start, "by_task": by_task}


def accuracies(learner: Learner, data: Data, tasks: list[np.ndarray]) -> list[float]:
    seen = np.isin(data.test_y, np.concatenate(tasks))
    right = np.zeros(len(data.test_y), dtype=bool)
    right[seen] = np.asarray(learner.scores(data.test_x[seen])).argmax(axis=1) == data.test_y[seen]
    return [float(right[np.isin(data.test_y, classes)].mean()) for classes in tasks]


def figures(by_task: list[list[float]], data: Data, tasks: list[np.ndarray]) -> dict[str, float]:
    """``by_task[i][j]``: accuracy of task j after task i."""
    last, before = by_task[-1], range(len(by_task) - 1)
    sizes = np.array([np.isin(data.test_y, classes).sum() for classes in tasks])
    best = [max(row[j] for row in by_task[j:-1]) for j in before]
    return {
        "accuracy": float(np.average(last, weights=sizes)),
        "forgetting": float(np.mean([best[j] - last[j] for j in before])) if before else 0.0,
        "bwt": float(np.mean([last[j] - by_task[j][j] for j in before])) if before else 0.0,
    }


def searched_base(inner: Data, tasks: list[np.ndarray], args: argparse.Namespace) -> dict[str, Any]:
    """Learning rate and epochs of the networks, searched with replay alone and used by all."""
    method = METHODS["replay 1000 herding"]

    def value(trial: Any) -> float:
        given = {**method.fixed, **_rates(trial)}
        return float(run(method, inner, tasks, given, args.seed)["accuracy"])

    found = _study(value, args, start={"rate": 0.01, "epochs": 40})
    return {"rate": found["rate"], "epochs": found["epochs"]}


def _rates(trial: Any) -> dict[str, Any]:
    return {
        "rate": trial.suggest_float("rate", 0.001, 0.05, log=True),
        "epochs": trial.suggest_int("epochs", 10, 60, log=True),
    }


def chosen(
    method: Method,
    inner: Data,
    tasks: list[np.ndarray],
    base: dict[str, Any],
    results: dict[str, dict[str, Any]],
    args: argparse.Namespace,
) -> dict[str, Any]:
    """The options of a method: what is fixed, what all networks share, and what is best on validation."""
    if "lam" in method.fixed:
        return {"lam": results[DEFAULT]["chosen"]["lam"]}
    if "lam" in method.searched:
        return {"lam": best_lam(method, inner, args.seed)}
    if not method.fixed and not method.searched and method is not METHODS[NAIVE]:
        return {}
    fixed = {**base, **method.fixed}
    if not method.searched or args.quick:
        return fixed | method.middle

    def value(trial: Any) -> float:
        tried = {
            name: method.option(name, trial.suggest_float(name, *bounds, log=True))
            for name, bounds in method.searched.items()
        }
        return float(run(method, inner, tasks, {**fixed, **tried}, args.seed)["accuracy"])

    start = {name: float(np.sqrt(low * high)) for name, (low, high) in method.searched.items()}
    found = _study(value, args, start=start)
    return fixed | {name: method.option(name, found[name]) for name in method.searched}


def best_lam(method: Method, inner: Data, seed: int) -> float:
    """The λ that is best on validation. Statistics are the same in any order, so that they are collected once for all."""
    learner = method.make(inner, {"lam": RIDGE_LAMBDAS[0]}, seed)
    learner.learn(inner.experience(np.arange(len(inner.y))))
    assert isinstance(learner, Ridge)

    def accuracy(lam: float) -> float:
        learner.lam = lam
        return float((learner.scores(inner.test_x).argmax(axis=1) == inner.test_y).mean())

    return max(RIDGE_LAMBDAS, key=accuracy)


def _study(value: Any, args: argparse.Namespace, *, start: dict[str, Any]) -> dict[str, Any]:
    """The best options of ``--trials`` on validation, beginning with ``start`` (Optuna, TPE)."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=args.seed))
    study.enqueue_trial(start)
    study.optimize(value, n_trials=args.trials)
    return dict(study.best_params)


def _strength(results: dict[str, dict[str, Any]]) -> float:
    return float(results.get("EWC + replay 1000", {}).get("chosen", {}).get("ewc", 3.0))


def avalanche() -> str:
    return "installed, but not run here" if find_spec("avalanche") else "absent (avalanche-lib is not installed)"


def table(report: dict[str, Any]) -> list[list[str]]:
    rows = [["method", "final", "forgetting", "BWT", "CPU-s"], [JOINT, f"{100 * report['joint']:.2f}", "-", "-", "-"]]
    for name, f in sorted(report["methods"].items(), key=lambda item: -item[1]["accuracy"]):
        points = [f"{100 * f[k]:.2f}" for k in ("accuracy", "forgetting", "bwt")]
        rows.append([name, *points, f"{f['cpu_s']:.1f}"])
    rows.append([f"Avalanche: {report['avalanche']}", "-", "-", "-", "-"])
    for name, share in {"relabeled: oracle": report["relabel_oracle"], **report["relabel"]}.items():
        rows.append([f"relabeled: {name.removeprefix('relabeled: ')}", f"{100 * share:.2f}", "-", "-", "-"])
    return rows


def _arguments() -> argparse.Namespace:
    p = harness.parser(str(__doc__).splitlines()[0])
    p.add_argument("--tasks", type=int, default=7)
    p.add_argument("--trials", type=int, default=TRIALS, help="options tried on validation, per method")
    p.add_argument("--methods", help=f"comma list of {', '.join(METHODS)}")
    args = p.parse_args()
    if args.methods and (unknown := set(args.methods.split(",")) - set(METHODS)):
        p.error(f"unknown methods: {', '.join(sorted(unknown))}")
    if args.methods and DEFAULT not in args.methods.split(","):
        args.methods = f"{DEFAULT},{args.methods}"
    return args


if __name__ == "__main__":
    main()
