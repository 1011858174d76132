"""Agreement and consensus against independent oracles, and the time that a million annotations take.

With `--ratings CSV` the file's ratings are used: either columns `annotator1`, `annotator2`, … (one row per item), or one row
per item with `annotations` and `annotators` as comma lists. Without it ratings are generated: annotators of mixed quality,
each with a confusion of their own. Consensus is judged against the generated truth; on a file, where the truth is not known,
against the other annotators' majority with each annotator left out in turn.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import cpu_seconds, emit, parser
from labeling.agreement import by_pair, fleiss_kappa, kappa_of_table, krippendorff_alpha, mean_kappa, tally
from labeling.consensus import Answers, dawid_skene, majority

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Ratings:
    """Answers as arrays; `truth` per item where it is known."""

    answers: Answers
    truth: Ints | None = None

    @property
    def matrix(self) -> NDArray[np.float64]:
        """Annotators × items, NaN where nobody answered."""
        a = self.answers
        table = np.full((a.n_annotators, a.n_items), np.nan)
        table[a.annotators, a.items] = a.categories
        return table


def read(path: Path) -> Ratings:
    with path.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    columns = [c for c in (rows[0] if rows else {}) if c.startswith("annotator") and c[9:].isdigit()]
    triples: list[tuple[int, str, str]] = []
    for i, row in enumerate(rows):
        if columns:
            triples += [(i, c, row[c].strip()) for c in columns if row[c].strip()]
        elif "annotations" in row and "annotators" in row:
            pairs = zip(row["annotators"].split(","), row["annotations"].split(","), strict=True)
            triples += [(i, a.strip(), c.strip()) for a, c in pairs]
        else:
            raise SystemExit(f"{path}: needs the columns annotator1, annotator2, … or annotations and annotators")
    if not triples:
        raise SystemExit(f"{path}: holds no ratings")
    people, said = ([t[k] for t in triples] for k in (1, 2))
    items = np.array([t[0] for t in triples], dtype=np.int64)
    names, a = np.unique(people, return_inverse=True)
    labels, c = np.unique(said, return_inverse=True)
    return Ratings(Answers(items, a.astype(np.int64), c.astype(np.int64), len(rows), len(names), len(labels)))


def generate(annotations: int, *, people: int, labels: int, each: int, seed: int) -> Ratings:
    """Each item is answered by `each` of `people`; how often somebody is right lies between 35 and 95 %, and wrong answers
    favour one other category per person."""
    rng = np.random.default_rng(seed)
    items = annotations // each
    truth = rng.choice(labels, items, p=rng.dirichlet(np.full(labels, 5.0)))
    who = np.argsort(rng.random((items, people), dtype=np.float32), axis=1)[:, :each].ravel()
    item = np.repeat(np.arange(items), each)
    skill = np.linspace(0.35, 0.95, people)
    bias = (truth[item] + rng.integers(1, labels, (people,))[who]) % labels
    wrong = np.where(rng.random(len(item)) < 0.5, bias, rng.integers(0, labels, len(item)))
    said = np.where(rng.random(len(item)) < skill[who], truth[item], wrong)
    return Ratings(
        Answers(item, who.astype(np.int64), said.astype(np.int64), items, people, labels), truth.astype(np.int64)
    )


def differences(ratings: Ratings) -> dict[str, float]:
    """Largest absolute difference of each coefficient from its oracle."""
    import krippendorff
    from sklearn.metrics import cohen_kappa_score
    from statsmodels.stats.inter_rater import aggregate_raters, cohens_kappa
    from statsmodels.stats.inter_rater import fleiss_kappa as fleiss_oracle

    matrix, a = ratings.matrix, ratings.answers
    pairs = tally(a.items, a.annotators, a.categories)
    found = {"cohen": 0.0, "interval": 0.0}
    for (x, y), table in by_pair(pairs).items():
        both = ~np.isnan(matrix[x]) & ~np.isnan(matrix[y])
        ours = kappa_of_table(table)
        if ours.value is None:
            continue
        found["cohen"] = max(found["cohen"], abs(ours.value - cohen_kappa_score(matrix[x, both], matrix[y, both])))
        square = np.zeros((a.n_categories, a.n_categories))
        np.add.at(square, (matrix[x, both].astype(int), matrix[y, both].astype(int)), 1)
        half = 1.959963984540054 * math.sqrt(cohens_kappa(square).var_kappa)
        found["interval"] = max(found["interval"], abs(ours.half - half))
    alpha = krippendorff_alpha(pairs).value
    if alpha is not None:
        oracle = krippendorff.alpha(reliability_data=matrix, level_of_measurement="nominal")
        found["krippendorff"] = abs(alpha - oracle)
    sizes = np.bincount(a.items, minlength=a.n_items)
    size = int(np.bincount(sizes[sizes > 1]).argmax())
    keep = np.flatnonzero(sizes == size)
    rows = np.array([matrix[~np.isnan(matrix[:, i]), i] for i in keep])
    fleiss = fleiss_kappa(pairs).value
    if fleiss is not None:
        found["fleiss"] = abs(fleiss - fleiss_oracle(aggregate_raters(rows.astype(int))[0]))
    return {name: float(value) for name, value in found.items()}


def accuracies(ratings: Ratings) -> tuple[float, float]:
    """Share of items on which majority and weighted consensus say the truth; without one, agreement with those left out."""
    if ratings.truth is not None:
        right = ratings.truth
        return (
            float((majority(ratings.answers) == right).mean()),
            float((dawid_skene(ratings.answers).categories == right).mean()),
        )
    return _left_out(ratings.answers)


def _left_out(a: Answers) -> tuple[float, float]:
    hits, total = np.zeros(2), 0
    for person in range(a.n_annotators):
        rest, own = a.annotators != person, a.annotators == person
        others = Answers(
            a.items[rest], a.annotators[rest], a.categories[rest], a.n_items, a.n_annotators, a.n_categories
        )
        for k, said in enumerate((majority(others), dawid_skene(others).categories)):
            hits[k] += (said[a.items[own]] == a.categories[own]).sum()
        total += int(own.sum())
    return float(hits[0] / total), float(hits[1] / total)


def seconds_for(annotations: int, *, seed: int) -> tuple[float, dict[str, Any]]:
    """CPU seconds of all coefficients and the consensus over this many annotations."""
    ratings = generate(annotations, people=20, labels=8, each=3, seed=seed)
    a, began = ratings.answers, cpu_seconds()
    pairs = tally(a.items, a.annotators, a.categories)
    mean = mean_kappa(kappa_of_table(t) for t in by_pair(pairs).values())
    fleiss_kappa(pairs)
    krippendorff_alpha(pairs)
    agreement = cpu_seconds() - began
    consensus = dawid_skene(a)
    spent = cpu_seconds() - began
    parts = {
        "agreement_s": round(agreement, 3),
        "consensus_s": round(spent - agreement, 3),
        "iterations": consensus.iterations,
    }
    return spent, {**parts, "annotations": len(a.items), "kappa": mean.value}


def table_of(figures: dict[str, Any]) -> Sequence[Sequence[Any]]:
    return [["figure", "value"], *([k, v] for k, v in figures.items() if not isinstance(v, dict))]


def main() -> None:
    p: argparse.ArgumentParser = parser(__doc__ or "")
    p.add_argument("--ratings", type=Path, help="CSV with annotator1 … columns, or annotations and annotators as lists")
    p.add_argument("--annotations", type=int, default=1_000_000, help="annotations of the timed run")
    args = p.parse_args()
    if args.quick:
        args.annotations = min(args.annotations, 200_000)
    worlds = [
        generate(n, people=people, labels=labels, each=each, seed=args.seed + i)
        for i, (n, people, labels, each) in enumerate(
            [(600, 4, 2, 2), (3_000, 8, 5, 3), (9_000, 12, 10, 3), (8_000, 10, 4, 4)]
        )
    ]
    judged = [read(args.ratings)] if args.ratings else []
    compared = {f"world {i + 1}": differences(w) for i, w in enumerate(worlds)}
    compared |= {"ratings": differences(judged[0])} if judged else {}
    simulated = generate(30_000, people=20, labels=8, each=3, seed=args.seed)
    by_votes, by_weight = accuracies(judged[0] if judged else simulated)
    world_votes, world_weight = accuracies(simulated)
    spent, parts = seconds_for(args.annotations, seed=args.seed)
    figures = {
        "max_abs_difference": max(v for d in compared.values() for v in d.values()),
        "majority_accuracy": by_votes, "weighted_accuracy": by_weight,
        "simulated_majority_accuracy": world_votes, "simulated_weighted_accuracy": world_weight,
        "seconds": round(spent, 3), **parts, "differences": compared,
    }  # fmt: skip
    if judged:
        a = judged[0].answers
        pairs = tally(a.items, a.annotators, a.categories)
        figures |= {
            "ratings_kappa": mean_kappa(kappa_of_table(t) for t in by_pair(pairs).values()).value,
            "ratings_fleiss": fleiss_kappa(pairs).value, "ratings_alpha": krippendorff_alpha(pairs).value,
        }  # fmt: skip
    emit(args, figures, table_of(figures))


if __name__ == "__main__":
    main()
