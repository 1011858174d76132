"""What every benchmark shares: arguments, corpus, embeddings, machine facts and the JSON report.

A benchmark is a program: ``python -m benchmarks.NAME [--data DIR] [--json FILE] [--quick]``. Progress goes to stderr,
a table to stdout, one JSON object to ``--json``. Without ``--data`` the corpus comes from the project's own grammar.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

VERSIONS = ("numpy", "scikit-learn", "torch", "onnxruntime", "django", "umap-learn", "hdbscan")


@dataclass(frozen=True)
class Corpus:
    """Texts with integer labels; ``categories[y]`` is the name of label ``y`` (sorted by name)."""

    train_texts: list[str]
    train_labels: np.ndarray
    test_texts: list[str]
    test_labels: np.ndarray
    categories: list[str]

    @property
    def names(self) -> list[str]:
        """Category names as a person would write them."""
        return [c.replace("_", " ").replace("-", " ").strip() for c in self.categories]


def parser(description: str) -> argparse.ArgumentParser:
    """The options that all benchmarks have in common."""
    p = argparse.ArgumentParser(description=description)
    p.add_argument("--data", type=Path, help="directory with train.csv and test.csv (columns text,label)")
    p.add_argument("--json", type=Path, help="write the figures to this file")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--quick", action="store_true", help="a small run of under a minute on two cores")
    return p


def _read(path: Path) -> tuple[list[str], list[str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    if not rows or not {"text", "label"} <= rows[0].keys():
        raise SystemExit(f"{path}: needs the columns text,label")
    return [r["text"] for r in rows], [r["label"] for r in rows]


def load_corpus(data: Path | None, *, seed: int = 0, size: int = 4000) -> Corpus:
    """Read ``data``, or generate ``size`` training texts (and a third as many test texts) from the grammar."""
    if data is None:
        from learning.sample.grammar import generate

        rows = generate(size + size // 3, seed=seed, locale="en")
        texts, labels = [t for t, _ in rows], [c for _, c in rows]
        train, test = (texts[:size], labels[:size]), (texts[size:], labels[size:])
    else:
        train, test = _read(data / "train.csv"), _read(data / "test.csv")
    categories = sorted(set(train[1]))
    index = {c: i for i, c in enumerate(categories)}
    unknown = set(test[1]) - index.keys()
    if unknown:
        raise SystemExit(f"test.csv has labels that train.csv lacks: {sorted(unknown)[:5]}")
    return Corpus(
        train[0], np.array([index[c] for c in train[1]]), test[0], np.array([index[c] for c in test[1]]), categories
    )


def embed(encoder: Any, texts: Sequence[str], *, cache: Path | None = None) -> np.ndarray:
    """Unit float32 embeddings, kept on disk by (encoder, texts) so that a second run starts at once."""
    root = cache or Path(os.environ.get("ENSO_HOME", ".enso")) / "cache" / "embeddings"
    key = hashlib.sha256((encoder.sha256 + "\0" + "\0".join(texts)).encode()).hexdigest()[:32]
    path = root / f"{key}.npy"
    if path.exists():
        return np.asarray(np.load(path))
    x = np.concatenate([encoder.encode(texts[i : i + 64]) for i in progress(range(0, len(texts), 64), "embedding")])
    root.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part.npy")
    np.save(part, x)
    part.replace(path)
    return x


def progress(items: Any, what: str) -> Any:
    from tqdm import tqdm

    return tqdm(items, desc=what, file=sys.stderr, leave=False, mininterval=1.0)


def cpu_seconds(children: bool = False) -> float:
    """CPU time of this process (and of children that have ended)."""
    t = os.times()
    return t.user + t.system + ((t.children_user + t.children_system) if children else 0.0)


def machine() -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cores": len(os.sched_getaffinity(0)), "memory_gib": round(memory, 1), "platform": platform.platform()}


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def emit(args: argparse.Namespace, figures: dict[str, Any], table: Sequence[Sequence[Any]]) -> None:
    """Print ``table`` (first row is the heading) and write the JSON report."""
    widths = [max(len(str(row[i])) for row in table) for i in range(len(table[0]))]
    for n, row in enumerate(table):
        print(
            "  ".join(
                str(c).ljust(w) if i == 0 else str(c).rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
            )
        )
        if n == 0:
            print("  ".join("-" * w for w in widths))
    if args.json:
        command = "python -m " + Path(sys.argv[0]).stem.join(["benchmarks.", ""]) + " " + shlex.join(sys.argv[1:])
        report = {
            "machine": machine(),
            "versions": _versions(),
            "seed": args.seed,
            "command": command.strip(),
            "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            **figures,
        }
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(report, indent=1, ensure_ascii=False, default=float) + "\n")
