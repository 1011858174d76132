"""The student and the cascade rows of `benchmarks.encoder`: a fast static encoder before the one it was distilled from.

Each split is a fold of all texts of the corpus, so that every text is judged once: the student is distilled on the rest
(no label is used), heads are fitted on nine tenths of it, and the threshold is chosen on the last tenth, which neither the
student nor a head has seen, by the product's own rule (learning/core/cascade.py). The fast step answers by the mean of a
logistic and a ridge head on the student's vectors, the slow one by logistic regression on its own. Rates are taken at one
text a call, both ways in turns over the same texts, tokenisation and heads included, the heads as they are served: exported to ONNX,
those behind the student with as many random features as the product gives them.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from benchmarks import harness, probes
from learning.core.cascade import MARGIN, Threshold, choose_threshold, goes_up
from learning.core.distill import DistillConfig, distill, write_student
from learning.core.export import head_graph
from learning.core.heads.training import DISTILLED_FEATURES
from serving.encoder import Encoder, StaticEncoder, encoder_directory
from serving.head import OnnxHead

Floats = NDArray[np.floating]
Vectors = NDArray[np.float32]
SPLITS, QUICK_SPLITS, HELD_OUT = 5, 1, 10
NEVER = -1e4
TIMED = 400


@dataclass(frozen=True)
class Cascade:
    """A fast and a slow step with their heads, and when the fast one hands on."""

    student: StaticEncoder
    teacher: Encoder
    fast: tuple[OnnxHead, ...]
    slow: tuple[OnnxHead, ...]
    threshold: Threshold

    def answer(self, text: str) -> int:
        p = mean(self.fast, self.student.encode([text]))
        if goes_up(p, self.threshold)[0]:
            return self.answer_slowly(text)
        return int(p[0].argmax())

    def answer_slowly(self, text: str) -> int:
        return int(mean(self.slow, self.teacher.encode([text]))[0].argmax())


def mean(heads: Sequence[OnnxHead], x: Vectors) -> Floats:
    """The mean of the heads' probabilities [n, K]."""
    first, *rest = [head.predict(x) for head in heads]
    return np.asarray(sum(rest, first) / len(heads))


def served(probe: probes.Probe) -> OnnxHead:
    """The head as it is exported; a category that it has never seen gets no probability that float32 could tell from none."""
    bias = np.maximum(probe.bias, NEVER)
    names = [str(k) for k in range(len(bias))]
    return OnnxHead.from_graph(
        head_graph(probe.features), weights=probe.weights, bias=bias, temperature=probe.temperature, categories=names
    )


def student_of(
    teacher: Encoder, name: str, texts: Sequence[str], x: Vectors, *, seed: int, folder: Path
) -> tuple[StaticEncoder, float]:
    """(a student of these texts, read back from its folder; CPU-seconds that it took)."""
    tokenizer, cpu = encoder_directory(name) / "tokenizer.json", time.process_time()
    made = distill(
        texts, x, teacher=teacher, tokenizer=tokenizer, rng=np.random.default_rng(seed), config=DistillConfig()
    )
    took = time.process_time() - cpu
    write_student(made, folder, name="student", teacher=teacher, tokenizer=tokenizer, texts_sha256="")
    return StaticEncoder.load(folder), took


def measured(teacher: Encoder, name: str, corpus: harness.Corpus, *, seed: int, quick: bool) -> dict[str, Any]:
    """Figures of the cascade, pooled over the splits: accuracy against one slow head and against averaged ones, and rates."""
    texts = np.array([*corpus.train_texts, *corpus.test_texts], dtype=object)
    y, x = np.concatenate([corpus.train_labels, corpus.test_labels]), harness.embed(teacher, list(texts))
    splits = list(StratifiedKFold(SPLITS, shuffle=True, random_state=seed).split(x, y))[
        : QUICK_SPLITS if quick else None
    ]
    right: dict[str, list[NDArray[np.bool_]]] = {"cascade": [], "slow": [], "averaged": []}
    up, ratios = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number, (rest, test) in enumerate(harness.progress(splits, "cascade")):
            cascade, averaged = _fitted(
                teacher, name, texts, x, y, rest, seed=seed + number, folder=Path(folder) / str(number)
            )
            fast, slow = mean(cascade.fast, cascade.student.encode(list(texts[test]))), mean(cascade.slow, x[test])
            goes = goes_up(fast, cascade.threshold)
            up.append(goes)
            right["cascade"].append(np.where(goes, slow.argmax(1), fast.argmax(1)) == y[test])
            right["slow"].append(slow.argmax(1) == y[test])
            right["averaged"].append(mean((*cascade.slow, averaged), x[test]).argmax(1) == y[test])
            ratios.append(ratio(cascade, list(texts[test][:TIMED])))
    return summary({k: np.concatenate(v) for k, v in right.items()}, np.concatenate(up), ratios)


def _fitted(
    teacher: Encoder,
    name: str,
    texts: NDArray[Any],
    x: Vectors,
    y: NDArray[np.int64],
    rest: NDArray[np.int64],
    *,
    seed: int,
    folder: Path,
) -> tuple[Cascade, OnnxHead]:
    """A cascade that has seen nothing but ``rest``; beside it the ridge head that makes the slow step's averaged heads."""
    ((fitting, held_out), *_) = StratifiedKFold(HELD_OUT, shuffle=True, random_state=seed).split(rest, y[rest])
    fitting, held_out = rest[fitting], rest[held_out]
    student, _ = student_of(teacher, name, list(texts[fitting]), x[fitting], seed=seed, folder=folder)
    z = student.encode(list(texts[fitting]))
    fast = (
        served(probes.fit_logistic(z, y[fitting], seed=seed)),
        served(probes.fit_ridge(z, y[fitting], seed=seed, count=DISTILLED_FEATURES)),
    )
    slow, averaged = (
        served(probes.fit_logistic(x[fitting], y[fitting], seed=seed)),
        served(probes.fit_ridge(x[fitting], y[fitting], seed=seed)),
    )
    p_fast, p_slow = mean(fast, student.encode(list(texts[held_out]))), slow.predict(x[held_out])
    return Cascade(
        student, teacher, fast, (slow,), choose_threshold(p_fast, p_slow, margin=MARGIN, labels=y[held_out])
    ), averaged


def ratio(cascade: Cascade, texts: Sequence[str]) -> float:
    """CPU of the slow step alone over that of the cascade, one text a call; halves of the texts take turns."""
    spent = {cascade.answer: 0.0, cascade.answer_slowly: 0.0}
    for text in texts[:10]:  # warms both
        cascade.answer(text), cascade.answer_slowly(text)
    for start in range(0, len(texts), 50):
        for way in spent:
            spent[way] += _seconds(way, texts[start : start + 50])
    return spent[cascade.answer_slowly] / spent[cascade.answer]


def _seconds(way: Callable[[str], int], texts: Sequence[str]) -> float:
    cpu = time.process_time()
    for text in texts:
        way(text)
    return time.process_time() - cpu


def summary(right: dict[str, NDArray[np.bool_]], up: NDArray[np.bool_], ratios: list[float]) -> dict[str, Any]:
    """Gaps are in fractions, the slow step less the cascade, with the standard error of the paired difference."""
    lost = right["slow"].astype(float) - right["cascade"]
    return {
        "up_share": float(up.mean()), "accuracy": float(right["cascade"].mean()),
        "reference": float(right["slow"].mean()), "averaged_reference": float(right["averaged"].mean()),
        "gap": float(lost.mean()), "gap_std": float(lost.std() / len(lost) ** 0.5),
        "gap_to_averaged": float((right["averaged"].astype(float) - right["cascade"]).mean()),
        "ratio_b1": float(np.median(ratios)), "texts": len(up),
    }  # fmt: skip
