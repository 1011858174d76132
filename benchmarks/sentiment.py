"""What sentiment knows before any feedback, and after 200, 1,000 and 3,000 rating + comment pairs.

    python -m benchmarks.sentiment --data DIR [--japanese DIR] [--inquiries DIR] [--pairs 200,1000,3000] [--seeds 5]
                                   [--fine-tune SEEDS]

``--data`` holds train.csv and test.csv (text,label with labels 0 and 1); ``--japanese`` holds one CSV with the columns
text,label,usage and labels −1, 0, 1, split by ``usage``. Pairs are drawn from the training part, a new draw per seed; the test
part is only judged on. Accuracy counts texts that are not neutral and whose S has the right sign; macro-F1 counts all three
tones. ``plain`` is logistic regression on the same embeddings and pairs without anchors. ``--inquiries`` names texts that
state problems without anger (test.csv): the share that the routing would call angry. Without --data: the project's own sentences.
``--fine-tune`` also tunes the last layers of the English encoder (fp32) on the largest number of pairs, for so many of the draws.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import harness, probes
from learning.core.encoder_source import package_source
from learning.core.sentiment_head import learn
from learning.core.sentiment_tuning import Rated, fine_tune
from learning.sample.grammar import generate
from serving.anchors import NEGATIVE, NEUTRAL, POSITIVE, AnchorTexts, inquiries, opinions
from serving.encoder import Encoder, NgramEncoder, load_encoder
from serving.sentiment import ToneHead, from_anchors

ANGRY = -0.5


@dataclass(frozen=True)
class Comments:
    """Training and test texts with their tones (positions in ``TONES``), and the anchors of their language."""

    name: str
    encoder: Encoder
    anchors: AnchorTexts
    train: tuple[list[str], np.ndarray]
    test: tuple[list[str], np.ndarray]


def main() -> None:
    parser = harness.parser(__doc__ or "")
    parser.add_argument(
        "--japanese", type=Path, help="directory with one CSV: text,label (−1, 0, 1),usage (train/test)"
    )
    parser.add_argument("--inquiries", type=Path, help="directory whose test.csv states problems without anger")
    parser.add_argument("--pairs", default="200,1000,3000", help="how many rating + comment pairs")
    parser.add_argument("--seeds", type=int, default=5, help="draws of the pairs")
    parser.add_argument(
        "--fine-tune", type=int, default=0, help="draws on which the encoder is tuned as well (minutes each)"
    )
    args = parser.parse_args()
    if args.quick:
        args.seeds, args.pairs = min(args.seeds, 2), "200"
    sets = [english(args), *([japanese(args)] if args.japanese or not args.data else [])]
    figures = {c.name: measured(c, args) for c in sets}
    figures["angry_inquiries"] = angry(args)
    harness.emit(args, figures, table(figures))


def english(args: argparse.Namespace) -> Comments:
    encoder = load_encoder()
    if args.data is None:
        return own(encoder, "en", args.seed)
    parts = [harness._read(args.data / f"{part}.csv") for part in ("train", "test")]
    train, test = ((t, np.where(np.array(y, dtype=int) > 0, POSITIVE, NEGATIVE)) for t, y in parts)
    return Comments("en", encoder, opinions("en"), train, test)


def japanese(args: argparse.Namespace) -> Comments:
    if args.japanese is None:
        return own(NgramEncoder(), "ja", args.seed)
    path = next(iter(sorted(args.japanese.glob("*.csv"))))
    with path.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    train, test = (
        ([r["text"] for r in rows if r["usage"] == u], np.array([int(r["label"]) + 1 for r in rows if r["usage"] == u]))
        for u in ("train", "test")
    )
    return Comments("ja", NgramEncoder(), opinions("ja"), train, test)


def own(encoder: Encoder, language: str, seed: int) -> Comments:
    """The anchors themselves, one half as what is known, the other as comments: only to see the benchmark run."""
    every = opinions(language)
    groups = np.random.default_rng(seed).permutation(max(every.groups) + 1)
    part = groups[list(every.groups)] % 4  # 0, 1: anchors, 2: pairs, 3: test
    known, train, test = (np.flatnonzero(mask).tolist() for mask in (part < 2, part == 2, part == 3))
    texts, tones, groups = (np.array(column) for column in (every.texts, every.tones, every.groups))
    anchors = AnchorTexts(tuple(texts[known].tolist()), tuple(tones[known].tolist()), tuple(groups[known].tolist()))
    pairs, unseen = ((texts[rows].tolist(), tones[rows]) for rows in (train, test))
    return Comments(language, encoder, anchors, pairs, unseen)


def measured(comments: Comments, args: argparse.Namespace) -> dict[str, Any]:
    """Cold start, and mean and standard deviation over the seeds for each number of pairs."""
    x, y = harness.embed(comments.encoder, comments.train[0]), comments.train[1]
    unseen, truth = harness.embed(comments.encoder, comments.test[0]), comments.test[1]
    prior = from_anchors(comments.encoder, comments.anchors)
    found: dict[str, Any] = {
        "encoder": comments.encoder.name, "train": len(x), "test": len(unseen), "anchors": len(comments.anchors.texts),
        "before_feedback": judged(prior.predict(unseen), truth),
    }  # fmt: skip
    sizes = sorted({min(int(n), len(x)) for n in args.pairs.split(",")})
    for n in harness.progress(sizes, comments.name):
        draws = drawn(args, len(x), n)
        runs = {"enso": [timed(with_anchors(prior), x[d], y[d], unseen, truth) for d in draws]}
        runs["plain"] = [timed(without_anchors, x[d], y[d], unseen, truth) for d in draws]
        found[f"pairs_{n}"] = {name: spread(rows) for name, rows in runs.items()}
    if args.fine_tune and comments.name == "en":
        found[f"pairs_{sizes[-1]}"]["tuned"] = tuned(comments, drawn(args, len(x), sizes[-1])[: args.fine_tune])
    return found


def drawn(args: argparse.Namespace, of: int, n: int) -> list[np.ndarray]:
    return [np.random.default_rng([args.seed, s]).permutation(of)[:n] for s in range(args.seeds)]


def tuned(comments: Comments, draws: list[np.ndarray]) -> dict[str, list[float]]:
    """The encoder's last layers and the head, learned together from the same pairs as the heads on frozen embeddings."""
    torch.set_num_threads(1)
    texts, y = comments.train
    rows = []
    for draw in harness.progress(draws, "fine-tuning"):
        start = time.process_time()
        model = fine_tune(
            Rated.plain([texts[i] for i in draw], y[draw]), comments.anchors, directory=package_source().directory
        )
        spent = time.process_time() - start
        rows.append({**judged(model.probabilities(comments.test[0]), comments.test[1]), "fit_cpu_s": spent})
    return spread(rows)


Fit = Callable[[np.ndarray, np.ndarray], Callable[[np.ndarray], np.ndarray]]


def with_anchors(prior: ToneHead) -> Fit:
    return lambda x, y: learn(x, y, prior).probabilities


def without_anchors(x: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Plain logistic regression, C by cross-validation (a tone without a pair gets no probability)."""
    return probes.fit_logistic(x, y, seed=0).probabilities


def timed(fit: Fit, x: np.ndarray, y: np.ndarray, unseen: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    start = time.process_time()
    predict = fit(x, y)
    return {**judged(predict(unseen), truth), "fit_cpu_s": time.process_time() - start}


def judged(p: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Accuracy of the sign of S without neutral texts, macro-F1 over the tones that occur, and the calibration of S."""
    s = p[:, POSITIVE] - p[:, NEGATIVE]
    clear = truth != NEUTRAL
    chosen, present = p.argmax(axis=1), np.unique(truth)
    up, q = (truth == POSITIVE)[clear], (1 + s[clear]) / 2
    return {
        "accuracy": float(((s[clear] > 0) == up).mean()),
        "macro_f1": float(np.mean([f1(chosen == t, truth == t) for t in present])),
        "ece": calibration_gap(q, up),
    }


def f1(chosen: np.ndarray, truth: np.ndarray) -> float:
    both = float((chosen & truth).sum())
    return 2 * both / max(float(chosen.sum() + truth.sum()), 1.0)


def calibration_gap(q: np.ndarray, up: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error of (1 + S)/2 as the probability that a text which is not neutral is positive."""
    places = np.minimum((q * bins).astype(int), bins - 1)
    return float(sum(abs(up[places == b].sum() - q[places == b].sum()) for b in range(bins)) / max(len(q), 1))


def spread(rows: list[dict[str, float]]) -> dict[str, list[float]]:
    return {key: [float(np.mean([r[key] for r in rows])), float(np.std([r[key] for r in rows]))] for key in rows[0]}


def angry(args: argparse.Namespace) -> dict[str, Any]:
    """Shares of inquiries with S below the routing's usual threshold: the named set, and the project's own grammar."""
    found: dict[str, Any] = {}
    if args.inquiries is not None:
        found["inquiries"] = share(load_encoder(), "en", harness._read(args.inquiries / "test.csv")[0])
    count = 200 if args.quick else 1000
    for language, encoder in (("en", load_encoder()), ("ja", NgramEncoder())):
        texts = [t for t, _ in generate(count, seed=args.seed, locale=language)]
        found[f"sample_{language}"] = share(encoder, language, texts)
    return found


def share(encoder: Encoder, language: str, texts: list[str]) -> float:
    s = from_anchors(encoder, inquiries(language)).score(harness.embed(encoder, texts))
    return float((s < ANGRY).mean())


def table(figures: dict[str, Any]) -> list[list[Any]]:
    rows: list[list[Any]] = [["texts, pairs, head", "accuracy", "± std", "macro-F1", "± std", "ECE", "fit CPU-s"]]
    for name, found in figures.items():
        if name == "angry_inquiries":
            rows += [[f"angry: {k}", f"{v:.3f}", *[""] * 5] for k, v in found.items()]
            continue
        cold = found["before_feedback"]
        rows.append(
            [
                f"{name}, none, anchors",
                f"{cold['accuracy']:.4f}",
                "",
                f"{cold['macro_f1']:.4f}",
                "",
                f"{cold['ece']:.3f}",
                "",
            ]
        )
        for size, heads in found.items():
            if size.startswith("pairs_"):
                rows += [row(f"{name}, {size[6:]}, {head}", f) for head, f in heads.items()]
    return rows


def row(label: str, f: dict[str, list[float]]) -> list[Any]:
    (a, da), (m, dm), (e, _), (t, _) = (f[k] for k in ("accuracy", "macro_f1", "ece", "fit_cpu_s"))
    return [label, f"{a:.4f}", f"{da:.4f}", f"{m:.4f}", f"{dm:.4f}", f"{e:.3f}", f"{t:.1f}"]


if __name__ == "__main__":
    main()
