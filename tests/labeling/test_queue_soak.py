"""A million open tasks (`make soak`): next and the counters cost what they cost at ten thousand."""

from __future__ import annotations

from collections.abc import Callable

import psutil
import pytest
from django.db import connection

from benchmarks.open_tasks import fill
from feedback.models import Project, User
from labeling import counters, queue
from tests.labeling.test_queue_speed import answer_first, pages, plan_of

ROUNDS = 200


def cpu_ms(work: Callable[[], None]) -> float:
    """CPU time per round of this process and of the database's process that serves it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        both = (psutil.Process(), psutil.Process(cursor.fetchone()[0]))
    for _ in range(10):
        work()
    began = sum(t for p in both for t in p.cpu_times()[:2])
    for _ in range(ROUNDS):
        work()
    return 1000 * (sum(t for p in both for t in p.cpu_times()[:2]) - began) / ROUNDS


def next_and_back(project: Project, user: User) -> Callable[[], None]:
    def work() -> None:
        lease = queue.claim(project_id=project.pk, annotator_id=user.pk, roles=["annotator"], seconds=60)
        assert lease is not None
        queue.release(task_id=lease.task_id, annotator_id=user.pk, token=lease.token)

    return work


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.django_db(transaction=True)
def test_a_million_open_tasks_cost_at_most_twice_what_ten_thousand_cost(
    project: Project, other_project: Project, annotator: User, colleague: User
) -> None:
    with connection.cursor() as cursor:
        fill(cursor, project_id=project.pk, tasks=10_000, overlap=2)
        fill(cursor, project_id=other_project.pk, tasks=1_000_000, overlap=2)
    answer_first(other_project, annotator, 20_000)
    for person in (annotator, colleague):
        plan_of(other_project, person)  # the first one after the 20,000 marks what is gone
        assert pages(plan_of(other_project, person)) <= 2 * pages(plan_of(project, person))
        assert cpu_ms(next_and_back(other_project, person)) <= 2 * cpu_ms(next_and_back(project, person))
    large, small = (cpu_ms(lambda p=p: counters.read(p.pk) and None) for p in (other_project, project))
    assert large <= 2 * small + 0.5
    assert counters.read(other_project.pk)["slot:annotator:open"] == 1_980_000
