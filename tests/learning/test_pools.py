"""The pool on disk: what it holds, what leaves it, and what is read again."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import settings

from feedback import jobs
from feedback.models import Inquiry, Job, Project
from labeling.models import LabelTask, TaskState
from learning import pools
from learning.core.pool_file import UNFINISHED
from learning.erasure import erase_customer
from learning.models import SelectionState as State
from serving.models import Embedding
from tests.learning.queues import TASKS, add_tasks, begun, order, run_all

pytestmark = pytest.mark.django_db(transaction=True)


def test_answered_tasks_leave_the_pool_and_only_new_ones_are_read(
    queue: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_all(begun(queue))
    closed = list(LabelTask.objects.order_by("pk")[:7])
    LabelTask.objects.filter(pk__in=[t.pk for t in closed]).update(state=TaskState.RETIRED)
    new = add_tasks(queue, 5, seed=9)
    read: list[int] = []
    fetched = pools._fetched
    monkeypatch.setattr(pools, "_fetched", lambda sha, ids, d: (read.extend(ids.tolist()), fetched(sha, ids, d))[1])
    found = begun(queue)
    for part in found.parts.all():
        jobs.run(part.job_id)
    assert sorted(read) == [t.pk for t in new]
    assert held_vectors(closed) == []
    assert len(held_vectors(new)) == 5


def held_vectors(tasks: list[LabelTask]) -> list[int]:
    """Those whose vector lies in some file of a pool."""
    content = b"".join(p.read_bytes() for p in Path(settings.ENSO_POOLS).rglob("*") if p.is_file())
    rows = Embedding.objects.filter(inquiry__task__in=tasks).values_list("inquiry__task__id", "vector")
    return [pk for pk, v in rows if bytes(v) in content]


def test_the_vectors_of_an_erased_customer_are_deleted_at_once(queue: Project) -> None:
    some = list(LabelTask.objects.order_by("pk")[10:14])
    Inquiry.objects.filter(task__in=some).update(customer="Quorra-17")
    run_all(begun(queue))
    vectors = [bytes(v) for v in Embedding.objects.filter(inquiry__task__in=some).values_list("vector", flat=True)]
    assert len(held_vectors(some)) == 4
    jobs.run(erase_customer(project_id=queue.pk, customer="Quorra-17").pk)
    content = b"".join(p.read_bytes() for p in Path(settings.ENSO_POOLS).rglob("*") if p.is_file())
    assert len(vectors) == 4
    assert not any(v in content for v in vectors)
    assert len(held_vectors(list(LabelTask.objects.all()))) == TASKS - 4


def test_a_segment_that_was_left_half_written_is_read_again(queue: Project) -> None:
    run_all(begun(queue))
    before = order(queue)
    segments = [p.parent for p in Path(settings.ENSO_POOLS).rglob("ids.npy")]
    (segments[0] / UNFINISHED).touch()
    (segments[1] / "vectors.f16").write_bytes(b"rubbish")
    (segments[2] / pools.NEAREST).write_bytes(b"rubbish")
    assert run_all(begun(queue)).state == State.DONE
    assert order(queue) == before


def test_a_vector_of_another_width_is_named(queue: Project) -> None:
    wrong = Embedding.objects.order_by("pk").first()
    Embedding.objects.filter(pk=wrong.pk).update(vector=b"\0\0")
    found = begun(queue)
    run_all(found)
    assert any("do not have 384 numbers" in e for j in Job.objects.filter(kind="select_part") for e in j.errors)
