"""The story of `make demo`, told headless at its quick pace by the real stack: what the database says came in which order."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from benchmarks.stack import Stack
from config.demo.script import NEW

PATIENCE = 540.0
FIRST = "SELECT min(promoted_at) FROM serving_modelversion WHERE promoted_at IS NOT NULL"
ALARM = f"SELECT min(created_at) FROM learning_driftreport WHERE state = 'critical' AND created_at > ({FIRST})"
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
# Inquiries that people found to be of the new kind, answered between two moments: how many, how many the model got right.
KNOWN = """
SELECT count(*), count(*) FILTER (WHERE d.category_id = l.category_id) FROM labeling_label l
JOIN feedback_category c ON c.id = l.category_id JOIN serving_decisionrecord d ON d.inquiry_id = l.inquiry_id
WHERE c.key = %s AND d.decided_at BETWEEN %s AND %s
"""
LONG_AGO, FAR = datetime(2000, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
ENOUGH = 10  # inquiries of the new kind, labeled, on either side of the recovery


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with pytest.MonkeyPatch.context() as patch:
        # The demo has a home of its own; with servers named by URL it would share the suite's database.
        for name in ("DATABASE_URL", "REDIS_URL"):
            patch.delenv(name, raising=False)
        assert os.environ["ENSO_ENCODERS"]
        with Stack(command=("demo", "--pace", "quick", "--seed", "7")) as told:
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


@pytest.mark.processes
@pytest.mark.usefixtures("tables")
@pytest.mark.timeout(600)
def test_alarm_topic_retraining_rollout_and_recovery_come_in_this_order(stack: Stack) -> None:
    found = waited_for(stack, lambda: stack.rows(RETRAINED), "a rollout of the new category")
    trained, rolled_out, completed = found[0]
    after = waited_for(stack, lambda: [r for r in stack.rows(KNOWN, NEW, completed, FAR) if r[0] >= ENOUGH], "recovery")
    alarm, (born, category) = value(stack, ALARM), stack.rows(TOPIC)[0]
    assert alarm < born < category <= trained < rolled_out < completed
    assert [p for (p,) in stack.rows(STEPS, completed)] == [0, 1, 5, 25, 50, 100]
    labeled, right = stack.rows(KNOWN, NEW, LONG_AGO, category)[0]
    assert labeled >= ENOUGH
    assert right == 0, "there was no such category"
    assert after[0][1] / after[0][0] > 0.6, "the version after knows it"
