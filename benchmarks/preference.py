"""Reply policies from thumbs, with up to 30 % of the votes hostile: learners and filters side by side.

    python -m benchmarks.preference [--data DIR] [--seeds N] [--peer-seeds N] [--rates 0,0.1,0.2,0.3] [--json FILE]

The world is benchmarks/preference_world.py. A method is ``learner+filter``. Filters: ``none``; ``neighbour`` (the τ of
RLUF); ``likelihood`` (two types of voter); ``screened`` (what Enso does); ``oracle`` (the truth). The default is the
whole of `learning.core.preference.training`: screening, the proof on unseen voters, and the way back to the reference.
``oracle`` in the JSON is the default's learner with the true filter on the same votes. Methods other than the default,
its oracle and its unfiltered twin run on the first ``--peer-seeds`` seeds; each row says how many it stands on.

Per attack and rate: ``regret`` of the reply that would be sent; ``preference_accuracy`` over pairs as the reference
shows them whose utilities differ by more than .05 (``_strict``: by anything); ``honest_dropped``, the share of honest
votes' weight that was taken away. ``dpo_vs_trl`` is the largest difference of a DPO loss or gradient; null without TRL.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from benchmarks import harness, preference_trl
from benchmarks.preference_world import ATTACKS, Thumbs, World, build, judge, thumbs
from learning.core.preference.channel import fit_channel
from learning.core.preference.evidence import Floats
from learning.core.preference.learners import DEFAULT, LEARNERS, Evidence, LearnerConfig, learn
from learning.core.preference.neighbours import smoothed
from learning.core.preference.policy import ReplyPolicy
from learning.core.preference.screening import Screening
from learning.core.preference.training import train_reply_policy
from learning.core.preference.votes import likelihood_ratio, neighbour_filter
from serving.encoder import load_encoder

PEERS = ("dpo", "kto", "ips")
FULL_METHOD, ORACLE, UNFILTERED = f"{DEFAULT}+screened", f"{DEFAULT}+oracle", f"{DEFAULT}+none"
ACCOUNTS = (("1-2 votes", 1, 2), ("3-9 votes", 3, 9), ("10 votes or more", 10, 10**9))

Result = dict[str, float]


@dataclass
class Table:
    """Results per method, attack and rate, one entry per seed."""

    cells: dict[tuple[str, str, float], list[Result]]

    def add(self, method: str, attack: str, rate: float, result: Result) -> None:
        """One more seed; a rate of zero counts for every attack."""
        for name in ATTACKS if rate == 0 else (attack,):
            self.cells[method, name, rate].append(result)

    def figures(self, method: str) -> dict[str, dict[str, dict[str, float]]]:
        """{attack: {rate: {key: mean over seeds, plus `regret_std` and `seeds`}}}."""
        found: dict[str, dict[str, dict[str, float]]] = {}
        for (name, attack, rate), results in sorted(self.cells.items()):
            if name == method:
                found.setdefault(attack, {})[f"{rate:g}"] = _summary(results)
        return found

    @property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(name for name, _, _ in self.cells))


def main() -> None:
    """Run the benchmark and report."""
    args = _arguments()
    torch.set_num_threads(1)
    corpus = harness.load_corpus(args.data, seed=args.seed, size=1500 if args.quick else 4000)
    world = build(corpus, load_encoder())
    smooth = smoothed(world.pool)
    table, dropped, fallbacks = Table(defaultdict(list)), defaultdict(list), []
    runs = list(_runs(args))
    for seed, attack, rate in harness.progress(runs, "preference"):
        drawn = thumbs(world, attack, rate, seed=args.seed + seed, count=args.votes)
        evidence = Evidence(
            world.pool, world.replies, drawn.votes, np.ones(len(drawn.votes)), world.reference, smooth=smooth
        )
        outcome = train_reply_policy(evidence)
        fallbacks += [outcome.fallback] if outcome.fallback else []
        dropped[attack, rate].append(_dropped_by_account(drawn, outcome.screening))
        table.add(FULL_METHOD, attack, rate, _result(world, outcome.policy, drawn, outcome.screening.weights))
        for method, policy, weights in _others(evidence, drawn, outcome.screening, seed < args.peer_seeds, args):
            table.add(method, attack, rate, _result(world, policy, drawn, weights))
        _tell(table, seed, attack, rate)
    reference = judge(world, world.reference)
    figures = _figures(table, reference, dropped, fallbacks, args)
    harness.emit(args, figures, _rows(table, reference, args))


def _tell(table: Table, seed: int, attack: str, rate: float) -> None:
    """A line per cell on stderr: a long run shows what it has found before it ends."""
    regrets = (
        f"{m} {results[-1]['regret']:.3f}" for (m, a, r), results in table.cells.items() if (a, r) == (attack, rate)
    )
    print(f"seed {seed}, {attack} {rate:g}: {', '.join(regrets)}", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = harness.parser(__doc__ or "")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seeds", type=int, default=5, help="for the default, its oracle and its unfiltered twin")
    parser.add_argument("--peer-seeds", type=int, default=1, help="for all other methods")
    parser.add_argument("--rates", default="0,0.1,0.2,0.3", help="shares of hostile votes, comma-separated")
    parser.add_argument("--learners", default=",".join(PEERS), help=f"of {', '.join(LEARNERS)}; or all")
    parser.add_argument("--votes", type=int, default=12_000)
    args = parser.parse_args()
    if args.quick:
        args.seeds, args.peer_seeds, args.rates, args.learners, args.votes = 1, 1, "0,0.3", "", 3000
    args.rates = [float(rate) for rate in args.rates.split(",")]
    args.learners = [*LEARNERS] if args.learners == "all" else [n for n in args.learners.split(",") if n]
    if unknown := set(args.learners) - LEARNERS.keys():
        parser.error(f"no learner is called {', '.join(sorted(unknown))}; there are {', '.join(LEARNERS)}")
    return args


def _runs(args: argparse.Namespace) -> Iterator[tuple[int, str, float]]:
    for seed in range(args.seeds):
        for rate in args.rates:
            for attack in ATTACKS[:1] if rate == 0 else ATTACKS:
                yield seed, attack, rate


def _others(
    evidence: Evidence, drawn: Thumbs, screening: Screening, peers: bool, args: argparse.Namespace
) -> Iterator[tuple[str, ReplyPolicy, Floats]]:
    truth = (~drawn.hostile).astype(np.float64)
    everything = np.ones(len(truth))
    filters: dict[str, Floats] = {"none": everything, "oracle": truth}
    unfiltered = learn(DEFAULT, evidence)
    for name, weights in filters.items():
        same = bool((weights == everything).all())  # without a hostile vote the truth takes nothing away
        yield f"{DEFAULT}+{name}", unfiltered if same else learn(DEFAULT, replace(evidence, weights=weights)), weights
    if not peers:
        return
    filters["screened"] = screening.weights
    for learner in args.learners:
        extra: dict[str, Callable[[], Floats]] = {}
        if learner == "dpo":
            extra = {"neighbour": lambda: neighbour_filter(evidence.votes, evidence.pool),
                     "likelihood": lambda: _likelihood(evidence)}  # fmt: skip
        for name, weights in {**filters, **{k: make() for k, make in extra.items()}}.items():
            if learner != DEFAULT:
                yield f"{learner}+{name}", learn(learner, replace(evidence, weights=weights)), weights


def _likelihood(evidence: Evidence, rounds: int = 3) -> Floats:
    """The two-type filter, with the same consensus as the default's mixture."""
    weights: Floats = np.ones(len(evidence.votes))
    config = LearnerConfig().channel
    for _ in range(rounds):
        fitted = fit_channel(
            evidence.votes, weights, evidence.smoothed, evidence.replies, evidence.reference.folded(), config
        )
        weights = likelihood_ratio(evidence.votes, fitted.approval(evidence.votes))[evidence.votes.voter]
    return weights


def _result(world: World, policy: ReplyPolicy, drawn: Thumbs, weights: Floats) -> Result:
    kept = {"honest_dropped": float(1 - weights[~drawn.hostile].mean())}
    if drawn.hostile.any():
        kept["hostile_kept"] = float(weights[drawn.hostile].mean())
    return {**judge(world, policy), **kept}


def _dropped_by_account(drawn: Thumbs, screening: Screening) -> dict[str, float]:
    """Share of honest weight lost by size of account: what a filter costs those whom it does not mean."""
    size = np.bincount(drawn.votes.voter)[drawn.votes.voter]
    groups = {name: ~drawn.hostile & (size >= low) & (size <= high) for name, low, high in ACCOUNTS}
    return {name: float(1 - screening.weights[rows].mean()) for name, rows in groups.items() if rows.any()}


def _summary(results: list[Result]) -> dict[str, float]:
    keys = dict.fromkeys(key for result in results for key in result)
    means = {key: float(np.mean([r[key] for r in results if key in r])) for key in keys}
    return {**means, "regret_std": float(np.std([r["regret"] for r in results])), "seeds": len(results)}


def _figures(
    table: Table,
    reference: Result,
    dropped: dict[tuple[str, float], list[dict[str, float]]],
    fallbacks: list[str],
    args: argparse.Namespace,
) -> dict[str, Any]:
    groups = {f"{attack} {rate:g}": _summary_of_groups(rows) for (attack, rate), rows in dropped.items()}
    return {
        "default": FULL_METHOD,
        "methods": {name: table.figures(name) for name in table.methods},
        "oracle": table.figures(ORACLE),
        "reference": reference,
        "against_oracle": {a: _ratio(table, a, ORACLE, args) for a in ATTACKS},
        "against_none": {a: _ratio(table, a, UNFILTERED, args) for a in ATTACKS},
        "honest_dropped_by_account": groups,
        "fallbacks": fallbacks,
        "worst_regret": max(c["regret"] for rates in table.figures(FULL_METHOD).values() for c in rates.values()),
        **_trl(),
    }


def _summary_of_groups(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([r[name] for r in rows if name in r])) for name in rows[0]}


def _ratio(table: Table, attack: str, other: str, args: argparse.Namespace) -> float:
    """The default's regret over another method's, at the highest rate."""
    rate = f"{max(args.rates):g}"
    return table.figures(FULL_METHOD)[attack][rate]["regret"] / table.figures(other)[attack][rate]["regret"]


def _trl() -> dict[str, Any]:
    if reason := preference_trl.available():
        return {"dpo_vs_trl": None, "trl": reason}
    rng = np.random.default_rng(0)
    gaps = {kind: preference_trl.max_difference(kind, rng) for kind in preference_trl.LOSSES}
    return {"dpo_vs_trl": gaps["dpo"], "losses_vs_trl": gaps, "trl": preference_trl.trl_version()}


def _rows(table: Table, reference: Result, args: argparse.Namespace) -> list[list[str]]:
    cells = [(a, r) for a in ATTACKS for r in args.rates if r > 0]
    head = ["regret", "seeds", "none", *(f"{a} {r:g}" for a, r in cells), "accuracy", "dropped"]
    rows = [head, ["reference", "", *[f"{reference['regret']:.3f}"] * (len(cells) + 1), _share(reference), ""]]
    for name in table.methods:
        figures = table.figures(name)
        clean = figures[ATTACKS[0]].get("0")
        every = [figures[a][f"{r:g}"] for a, r in cells]
        worst = max(cell["honest_dropped"] for cell in [*every, *([clean] if clean else [])])
        row = [f"{name}{' (default)' if name == FULL_METHOD else ''}", str(every[0]["seeds"] if every else 1)]
        row += [f"{clean['regret']:.3f}" if clean else "-", *(f"{cell['regret']:.3f}" for cell in every)]
        rows.append([*row, _share(clean) if clean else "-", f"{worst:.3f}"])
    return rows


def _share(result: Result) -> str:
    return f"{result['preference_accuracy']:.3f}"


if __name__ == "__main__":
    main()
