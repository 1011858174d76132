"""Whether a distilled encoder may take its teacher's place on a project's usual texts. Pure: arrays in, findings out.

What is asked is what a head would notice: with the same simple probe on both, how often does the student lead to the
teacher's decision, and what does it cost in right answers. Everything is measured on texts that were held out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from learning.gates.result import Result

Floats = NDArray[np.float32]
RIDGE = 1e-2  # of the mean squared length of the (unit) rows
LEAST_COSINE, MOST_DISAGREEING, MOST_LOST, MOST_UNKNOWN = 0.8, 0.05, 0.03, 0.1
# Fewer labeled texts say nothing about a loss of three points.
ENOUGH_LABELED = 100
KNOWN_ENOUGH = 0.5


@dataclass(frozen=True)
class Faith:
    """How near a student is to its teacher on held-out texts; shares in [0, 1]."""

    cosine: float
    teacher_agreement: float
    """How often the probe on the teacher's own vectors decides as the teacher's head: what can be reached."""
    student_agreement: float
    teacher_accuracy: float | None
    student_accuracy: float | None
    unknown_share: float
    """Texts of whose n-grams less than half were seen in distillation."""
    texts: int
    labeled: int

    def as_dict(self) -> dict[str, float | int | None]:
        return asdict(self)


@dataclass(frozen=True)
class Sides:
    """The same texts under both encoders [n, d], and the category that the teacher's head gives each [n]."""

    teacher: Floats
    student: Floats
    decided: NDArray[np.int64]


def measured(
    train: Sides, held_out: Sides, known: Floats, truth: NDArray[np.int64], *, categories: int
) -> Faith:  # fmt: skip
    """Compare on ``held_out``, by probes fitted to the decisions on ``train``. ``truth`` [n] is −1 where nobody has labeled."""
    answers = {
        side: probe(getattr(train, side), train.decided, categories)(getattr(held_out, side))
        for side in ("teacher", "student")
    }
    labeled = truth >= 0

    def right(side: str) -> float | None:
        return float((answers[side][labeled] == truth[labeled]).mean()) if labeled.any() else None

    return Faith(
        cosine=float((held_out.teacher * held_out.student).sum(axis=1).mean()),
        teacher_agreement=float((answers["teacher"] == held_out.decided).mean()),
        student_agreement=float((answers["student"] == held_out.decided).mean()),
        teacher_accuracy=right("teacher"), student_accuracy=right("student"),
        unknown_share=float((known < KNOWN_ENOUGH).mean()), texts=len(known), labeled=int(labeled.sum()),
    )  # fmt: skip


def probe(x: Floats, y: NDArray[np.int64], categories: int) -> Callable[[Floats], NDArray[np.int64]]:
    """Ridge regression to the decisions: a function from vectors [n, d] to categories [n]."""
    mean = x.mean(axis=0)
    centred = (x - mean).astype(np.float64)
    gram = centred.T @ centred
    gram[np.diag_indices_from(gram)] += RIDGE * np.trace(gram) / len(gram)
    targets = np.eye(categories)[y]
    weights = np.linalg.solve(gram, centred.T @ (targets - targets.mean(axis=0)))
    return lambda rows: np.asarray(((rows - mean) @ weights + targets.mean(axis=0)).argmax(axis=1), np.int64)


def judge(faith: Faith) -> list[Result]:
    """The gates of a student, each with its number and a sentence."""
    lost = faith.teacher_agreement - faith.student_agreement
    return [
        Result("cosine", faith.cosine >= LEAST_COSINE, faith.cosine, LEAST_COSINE,
               f"its vectors lie at cosine {faith.cosine:.3f} to the teacher's on {faith.texts} held-out texts"),
        Result("agreement", lost <= MOST_DISAGREEING, lost, MOST_DISAGREEING,
               f"a probe decides as the teacher's head on {faith.student_agreement:.1%} of the texts, "
               f"on the teacher's own vectors {faith.teacher_agreement:.1%}"),
        _accuracy(faith),
        Result("out of domain", faith.unknown_share <= MOST_UNKNOWN, faith.unknown_share, MOST_UNKNOWN,
               f"of {faith.unknown_share:.1%} of the held-out texts less than half is known"),
    ]  # fmt: skip


def _accuracy(faith: Faith) -> Result:
    if faith.teacher_accuracy is None or faith.student_accuracy is None or faith.labeled < ENOUGH_LABELED:
        said = f"{faith.labeled} held-out texts are labeled, too few to tell ({ENOUGH_LABELED} are needed)"
        return Result("accuracy", True, None, MOST_LOST, said)
    lost = faith.teacher_accuracy - faith.student_accuracy
    said = f"the same probe is right on {faith.student_accuracy:.1%}, on the teacher {faith.teacher_accuracy:.1%}"
    return Result("accuracy", lost <= MOST_LOST, lost, MOST_LOST, said)
