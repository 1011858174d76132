"""A queue that no memory should have to hold, picked from in parts (`make soak`; ENSO_SOAK_TASKS says how long it is)."""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path

import numpy as np
import psycopg
import pytest
from django.conf import settings
from django.db import connection

from benchmarks.open_tasks import fill
from feedback import jobs
from feedback.models import Project
from labeling.models import LabelTask
from learning import selecting
from learning.models import Selection, SelectionState
from serving.served import served

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.soak]
TASKS = int(os.environ.get("ENSO_SOAK_TASKS", "200000"))
WIDTH = 384


def store_vectors(project: Project) -> None:
    """Random unit vectors by COPY, as many as there are inquiries."""
    sha, rng = served.encoder_for("a")[0].sha256, np.random.default_rng(0)
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM feedback_inquiry WHERE project_id = %s", [project.pk])
        ids = [pk for (pk,) in cursor.fetchall()]
        statement = "COPY serving_embedding (inquiry_id, encoder_sha, vector) FROM STDIN"
        assert isinstance(cursor.connection, psycopg.Connection)
        with cursor.connection.cursor() as raw, raw.copy(statement) as copy:
            for start in range(0, len(ids), 10_000):
                part = ids[start : start + 10_000]
                x = rng.standard_normal((len(part), WIDTH), dtype=np.float32)
                x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype("<f2")
                for pk, row in zip(part, x, strict=True):
                    copy.write_row((pk, sha, row.tobytes()))
        cursor.execute("ANALYZE serving_embedding")


def timed(project: Project) -> tuple[Selection, dict[str, float]]:
    began, cpu = time.perf_counter(), time.process_time()
    (found,) = selecting.begin(project_id=project.pk)
    spent = {"begin_s": time.perf_counter() - began}
    for part in found.parts.order_by("number").select_related("job"):
        jobs.run_to_end(part.job)
    found.refresh_from_db()
    spent["parts_s"] = time.perf_counter() - began - spent["begin_s"]
    jobs.run_to_end(found.picker)
    found.refresh_from_db()
    spent |= {"all_s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu}
    spent["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found, spent


@pytest.mark.parametrize("strategy", ["herding", "msal"])
def test_a_long_queue_is_picked_from_and_what_is_known_is_not_read_again(desk: Project, strategy: str) -> None:
    Project.objects.filter(pk=desk.pk).update(strategy=strategy)
    with connection.cursor() as cursor:
        fill(cursor, project_id=desk.pk, tasks=TASKS, overlap=1)
    store_vectors(desk)
    for look in ("first", "second"):
        found, spent = timed(desk)
        measured = {k: round(v, 1) for k, v in spent.items()}
        sys.stdout.write(f"\n{strategy}, {TASKS:,} tasks, {look} look: {measured} {found.result}\n")
        assert (found.state, found.result["looked_at"]) == (SelectionState.DONE, TASKS)
        assert found.result["exact"] > 0
    size = sum(p.stat().st_size for p in Path(settings.ENSO_POOLS).rglob("vectors.f16"))
    assert size == TASKS * WIDTH * 2
    assert LabelTask.objects.filter(project=desk, priority__gt=0).count() == selecting.TOP
    assert found.result["moved"] == 0
