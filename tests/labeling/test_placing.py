"""The place of open tasks: only what changes is written, and whoever claims or answers meanwhile loses nothing."""

from __future__ import annotations

import threading

import pytest
from django.db import connection, connections

from feedback.models import Project, User
from labeling import placing
from labeling.models import LabelTask, Slot, SlotState, TaskState
from tests.conftest import make_person
from tests.labeling.test_queue import add_task, answer, claim


def versions() -> dict[str, str]:
    """The transaction that wrote each row last."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 't' || id, xmin::text FROM labeling_labeltask UNION SELECT 's' || id, xmin::text FROM labeling_slot"
        )
        return dict(cursor.fetchall())


@pytest.mark.django_db(transaction=True)
def test_what_has_its_place_and_reason_already_is_not_written(project: Project) -> None:
    tasks = [add_task(project, f"text {n}", overlap=2) for n in range(6)]
    places, reasons = {t.pk: t.pk / 1e6 for t in tasks}, {t.pk: {"rule": "margin"} for t in tasks}
    assert (placing.reprioritise(priorities=places), placing.explain(reasons=reasons)) == (6, 6)
    before = versions()
    assert (placing.reprioritise(priorities=places), placing.explain(reasons=reasons)) == (0, 0)
    assert versions() == before
    assert placing.reprioritise(priorities={**places, tasks[2].pk: 0.9}) == 1
    moved = {name for name, version in versions().items() if before[name] != version}
    own = {f"s{pk}" for pk in Slot.objects.filter(task=tasks[2]).values_list("pk", flat=True)}
    assert moved == {f"t{tasks[2].pk}", *own}


@pytest.mark.django_db
def test_slots_follow_their_task_with_its_risk_and_age(project: Project, annotator: User) -> None:
    first, second = add_task(project, priority=0.9), add_task(project, priority=0.1)
    LabelTask.objects.filter(pk=second.pk).update(risk=0.5)
    placing.reprioritise(priorities={first.pk: 0.5, second.pk: 0.2})
    assert claim(project, annotator).task_id == second.pk


@pytest.mark.django_db
def test_settled_tasks_and_answered_slots_stay_as_they_are(project: Project, annotator: User) -> None:
    half = add_task(project, overlap=2)
    answer(project, annotator, claim(project, annotator))
    done = add_task(project, priority=0.3)
    LabelTask.objects.filter(pk=done.pk).update(state=TaskState.RETIRED)
    before = Slot.objects.get(task=half, state=SlotState.DONE).priority
    assert placing.reprioritise(priorities={half.pk: 0.9, done.pk: 0.9, 10**9: 0.9}) == 1
    assert Slot.objects.get(task=half, state=SlotState.DONE).priority == before
    assert LabelTask.objects.get(pk=done.pk).priority == 0.3


@pytest.mark.django_db(transaction=True)
def test_people_who_work_while_a_long_queue_is_ranked_anew_lose_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placing, "AT_ONCE", 10)
    tasks = [add_task(project, f"text {n}") for n in range(80)]
    people = [make_person(project, f"annotator{n}", "annotator") for n in range(3)]
    answered: list[int] = []
    failed: list[BaseException] = []

    def work(person: User) -> None:
        try:
            for _ in range(12):
                lease = claim(project, person)
                answer(project, person, lease)
                answered.append(lease.task_id)
        except BaseException as error:
            failed.append(error)
        finally:
            connections.close_all()

    workers = [threading.Thread(target=work, args=(p,)) for p in people]
    for worker in workers:
        worker.start()
    for turn in range(6):
        placing.reprioritise(priorities={t.pk: (t.pk * (turn + 7) % 83) / 83 for t in tasks})
    for worker in workers:
        worker.join()
    assert not failed
    assert len(set(answered)) == len(answered) == 36
    assert LabelTask.objects.filter(state=TaskState.RESOLVED).count() == 36
    # A slot that was handed out meanwhile keeps the place that it had; what is open stands where its task does.
    open_slots = Slot.objects.filter(state=SlotState.OPEN).select_related("task").order_by("-priority", "id")
    worth = [s.task.priority - (s.task.created_at.timestamp()) / 86_400 / 7 for s in open_slots]
    assert worth == sorted(worth, reverse=True)
