"""Texts per CPU-second, latency and accuracy of every encoder, all measured in turn in the same process.

Accuracy is that of logistic regression on the embeddings (C by cross-validation). The served variant and its student have two
more rows each, ``NAME+ridge`` by a random-feature ridge (2,000 features) and ``NAME+averaged`` by the mean of both heads'
probabilities; ``student_gaps`` is, for each kind of head, the encoder's accuracy less the student's. Rates count tokenisation and
inference. ``student`` is distilled from the served variant on the training texts, without labels; ``cascade`` stands before it
(benchmarks/encoder_cascade.py).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import encoder_cascade, harness, probes
from learning.core.encoder_export import export_encoder
from learning.core.encoder_source import PACKAGE_MODEL, package_source
from serving.encoder import Encoder, NgramEncoder, encoder_directory, load_encoder
from serving.encoder.manifest import MANIFEST

VARIANTS = ("fp32", "int8", "int8_dynamic", "int8_tensor")
AVERAGED = "int8"
STUDENT = "student"
# Kind of head → how its row is named after the encoder's.
KINDS = {"logistic": "", "ridge": "+ridge", "averaged": "+averaged"}


def main() -> None:
    parser = harness.parser(__doc__ or "")
    parser.add_argument("--encoders", default=",".join([*VARIANTS, "ngram"]), help="comma list, or directories")
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds; encoders take turns, the median counts")
    args = parser.parse_args()
    corpus = harness.load_corpus(args.data, seed=args.seed, size=600 if args.quick else 4000)
    encoders = {name: open_encoder(name) for name in args.encoders.split(",")}
    with tempfile.TemporaryDirectory() as folder:
        figures = measured(args, corpus, encoders, Path(folder))
    harness.emit(args, figures, table(figures["encoders"]))
    for name in ("student_gaps", "cascade"):
        if found := figures.get(name):
            print(name, {k: round(v, 4) for k, v in found.items()})


def measured(
    args: argparse.Namespace, corpus: harness.Corpus, encoders: dict[str, Encoder], folder: Path
) -> dict[str, Any]:
    """All rows; those of the student and the cascade where the encoder that they belong to is among the encoders."""
    teacher, figures = encoders.get(AVERAGED), dict[str, Any]()
    sizes = {name: size_mb(name) for name in encoders}
    if teacher is not None:
        x, name = harness.embed(teacher, corpus.train_texts), f"{PACKAGE_MODEL}-{AVERAGED}"
        encoders[STUDENT], figures["distill_cpu_s"] = encoder_cascade.student_of(
            teacher, name, corpus.train_texts, x, seed=args.seed, folder=folder / STUDENT
        )
        sizes[STUDENT] = megabytes(folder / STUDENT)
    rows = timed(encoders, corpus.test_texts, rounds=3 if args.quick else args.rounds, seed=args.seed)
    for name, encoder in encoders.items():
        rows[name]["size_mb"] = sizes[name]
        rows |= judged(name, encoder, corpus, rows[name], seed=args.seed)
    if teacher is not None:
        figures["student_gaps"] = gaps(rows)
        figures["cascade"] = encoder_cascade.measured(
            teacher, f"{PACKAGE_MODEL}-{AVERAGED}", corpus, seed=args.seed, quick=args.quick
        )
    return {"encoders": rows, **figures}


def open_encoder(name: str) -> Encoder:
    """``ngram``, a variant of the default model (built when it is not there yet), or a directory."""
    if name == "ngram":
        return NgramEncoder()
    if name not in VARIANTS:
        return load_encoder(name)
    directory = encoder_directory(f"{PACKAGE_MODEL}-{name}")
    if not (directory / MANIFEST).is_file():
        export_encoder(package_source(), directory, variant=name, name=directory.name)
    return load_encoder(directory)


def size_mb(name: str) -> float:
    """Size of the graph on disk; the n-gram encoder has none."""
    if name == "ngram":
        return 0.0
    directory = encoder_directory(f"{PACKAGE_MODEL}-{name}" if name in VARIANTS else name)
    return megabytes(Path(directory))


def megabytes(directory: Path) -> float:
    return sum(f.stat().st_size for f in directory.iterdir() if f.suffix in {".onnx", ".npz"}) / 1e6


def timed(encoders: dict[str, Encoder], texts: Sequence[str], *, rounds: int, seed: int) -> dict[str, dict[str, Any]]:
    """Rates and latencies; encoders take turns within each round, so that other load on the machine meets all alike."""
    rng = np.random.default_rng(seed)
    rates: dict[str, dict[int, list[float]]] = {name: {1: [], 64: []} for name in encoders}
    latencies: dict[str, list[float]] = {name: [] for name in encoders}
    for number in harness.progress(range(rounds + 1), "timing"):
        chosen = [texts[i] for i in rng.integers(0, len(texts), 256)]
        for name, encoder in encoders.items():
            alone, each = one_by_one(encoder, chosen[:96])
            together = per_cpu_second(encoder, chosen)
            if number:  # the first round warms caches
                rates[name][1].append(alone)
                rates[name][64].append(together)
                latencies[name] += each
    return {name: summary(rates[name], latencies[name]) for name in encoders}


def one_by_one(encoder: Encoder, texts: Sequence[str]) -> tuple[float, list[float]]:
    """(texts per CPU-second, wall-clock milliseconds of each) at batch 1."""
    each = []
    cpu = time.process_time()
    for text in texts:
        start = time.perf_counter()
        encoder.encode([text])
        each.append(1000 * (time.perf_counter() - start))
    return len(texts) / (time.process_time() - cpu), each


def per_cpu_second(encoder: Encoder, texts: Sequence[str]) -> float:
    cpu = time.process_time()
    for start in range(0, len(texts), 64):
        encoder.encode(texts[start : start + 64])
    return len(texts) / (time.process_time() - cpu)


def summary(rates: dict[int, list[float]], latencies: list[float]) -> dict[str, Any]:
    return {
        "texts_per_cpu_s_b1": float(np.median(rates[1])),
        "texts_per_cpu_s_b64": float(np.median(rates[64])),
        "p50_ms": float(np.quantile(latencies, 0.5)),
        "p95_ms": float(np.quantile(latencies, 0.95)),
    }


def judged(
    name: str, encoder: Encoder, corpus: harness.Corpus, row: dict[str, Any], *, seed: int
) -> dict[str, dict[str, Any]]:
    """``row`` with its accuracy; for the served variant and its student also the rows of the ridge and of the averaged heads."""
    train, test = harness.embed(encoder, corpus.train_texts), harness.embed(encoder, corpus.test_texts)
    logistic = probes.fit_logistic(train, corpus.train_labels, seed=seed)
    found = logistic.probabilities(test)
    rows = {name: {**row, "accuracy": accuracy(found, corpus.test_labels), "C": logistic.choice}}
    if name in (AVERAGED, STUDENT):
        ridge = probes.fit_ridge(train, corpus.train_labels, seed=seed)
        by_ridge = ridge.probabilities(test)
        rows[f"{name}+ridge"] = {**row, "accuracy": accuracy(by_ridge, corpus.test_labels), "lambda": ridge.choice}
        both = (found + by_ridge) / 2
        rows[f"{name}+averaged"] = {**row, "accuracy": accuracy(both, corpus.test_labels), "C": logistic.choice}
    return rows


def gaps(rows: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Kind of head → the served variant's accuracy less its student's with the same kind, in fractions; {} without a student."""
    if STUDENT not in rows:
        return {}
    return {
        kind: rows[AVERAGED + suffix]["accuracy"] - rows[STUDENT + suffix]["accuracy"] for kind, suffix in KINDS.items()
    }


def accuracy(p: np.ndarray, y: np.ndarray) -> float:
    return float((p.argmax(axis=1) == y).mean())


def table(rows: dict[str, dict[str, Any]]) -> list[list[Any]]:
    heading = ["encoder", "texts/CPU-s b1", "b64", "p50 ms", "p95 ms", "accuracy", "MB"]
    return [
        heading,
        *(
            [
                name, f"{r['texts_per_cpu_s_b1']:,.0f}", f"{r['texts_per_cpu_s_b64']:,.0f}", f"{r['p50_ms']:.2f}",
                f"{r['p95_ms']:.2f}", f"{100 * r['accuracy']:.2f}", f"{r['size_mb']:.1f}",
            ]
            for name, r in rows.items()
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
