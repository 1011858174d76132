"""The story of `make demo`, told headless at its quick pace by the real stack: what the database says came in which order."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from benchmarks.stack import Stack
from config.demo.script import NEW, PACES, Truth

PATIENCE = 800.0
FIRST = "SELECT min(promoted_at) FROM serving_modelversion WHERE promoted_at IS NOT NULL"
# Now and then a check before the change is critical by chance: that rate is what its threshold is calibrated to.
ALARM = "SELECT min(created_at) FROM learning_driftreport WHERE state = 'critical' AND created_at > %s"
# The training that taught the new category, the rollout of the version that came of it, and the topic's birth.
RETRAINED = """
SELECT j.started_at, r.created_at, r.ended_at FROM serving_rollout r
JOIN learning_trainingrun t ON t.model_id = r.candidate_id JOIN feedback_job j ON j.id = t.job_id
WHERE r.state = 'completed' AND j.started_at >= (SELECT min(at) FROM learning_topicevent WHERE kind = 'category')
ORDER BY r.ended_at LIMIT 1
"""
STEPS = """
SELECT s.percent FROM serving_rolloutstep s JOIN serving_rollout r ON r.id = s.rollout_id
WHERE r.ended_at = %s ORDER BY s.number
"""
TOPIC = """
SELECT t.born_at, e.at FROM learning_topic t JOIN learning_topicevent e ON e.topic_id = t.id WHERE e.kind = 'category'
"""
ANSWERS = """
SELECT i.text, d.decided_at, c.key FROM serving_decisionrecord d JOIN feedback_inquiry i ON i.id = d.inquiry_id
LEFT JOIN feedback_category c ON c.id = d.category_id ORDER BY d.decided_at
"""
SEED = 7
ENOUGH = 40  # inquiries of the new kind that the recovered model has answered


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with pytest.MonkeyPatch.context() as patch:
        # The demo has a home of its own; with servers named by URL it would share the suite's database.
        for name in ("DATABASE_URL", "REDIS_URL"):
            patch.delenv(name, raising=False)
        assert os.environ["ENSO_ENCODERS"]
        with Stack(command=("demo", "--pace", "quick", "--seed", str(SEED))) as told:
            yield told


def value(stack: Stack, sql: str, *parameters: Any) -> Any:
    found = stack.rows(sql, *parameters)
    return found[0][0] if found else None


def waited_for(stack: Stack, so: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := so()):
        assert time.monotonic() < deadline, f"{what} did not happen: {stack.tail()}"
        time.sleep(0.5)
    return found


def answered(stack: Stack) -> list[tuple[datetime, bool, bool]]:
    """When each inquiry was answered, whether it was of the new kind, and whether the answer was right: the seed knows."""
    truth = Truth(SEED, PACES["quick"].locales)
    return [(at, truth.of(text) == NEW, truth.of(text) == said) for text, at, said in stack.rows(ANSWERS)]


def right(answers: list[tuple[datetime, bool, bool]], *, new: bool | None = None) -> float:
    hits = [hit for _, kind, hit in answers if new is None or kind == new]
    return sum(hits) / len(hits)


@pytest.mark.processes
@pytest.mark.usefixtures("tables")
@pytest.mark.timeout(900)
def test_alarm_topic_retraining_rollout_and_recovery_come_in_this_order(stack: Stack) -> None:
    found = waited_for(stack, lambda: stack.rows(RETRAINED), "a rollout of the new category")
    trained, rolled_out, completed = found[0]
    waited_for(stack, lambda: sum(new for at, new, _ in answered(stack) if at > completed) >= ENOUGH, "recovery")
    answers = answered(stack)
    onset = min(at for at, new, _ in answers if new)
    alarm, (born, category) = value(stack, ALARM, onset), stack.rows(TOPIC)[0]
    assert alarm is not None
    assert alarm < born < category <= trained < rolled_out < completed
    assert [p for (p,) in stack.rows(STEPS, completed)] == [0, 1, 5, 25, 50]
    usual, during, after = (
        [a for a in answers if begin < a[0] <= end]
        for begin, end in ((value(stack, FIRST), onset), (onset, category), (completed, answers[-1][0]))
    )
    assert right(during, new=True) == 0  # there was no such category
    assert right(during) < right(usual) - 0.1
    assert right(after, new=True) > 0.6
    assert right(after) > right(during) + 0.1
