from __future__ import annotations

import threading
import uuid
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from feedback.models import Inquiry
from feedback.problems import Problem
from feedback.services import NewInquiry, record_inquiry
from labeling import actions, placing, queue, services
from labeling.models import Annotation, Label, LabelTask, Slot, SlotState, TaskKind, TaskState
from tests.conftest import make_person


def add_task(project, text="Where is it?", *, overlap=1, priority=0.5) -> LabelTask:
    new = NewInquiry(text=text, request_sha=b"0" * 32)
    inquiry = record_inquiry(
        project_id=project.pk, app_id=None, new=new, status="waiting", category_id=None, reply_id=None
    )
    return services.open_task(inquiry=inquiry, kind=TaskKind.SELECTION, overlap=overlap, priority=priority, reason={})


def claim(project, user, *roles, seconds=600.0):
    return queue.claim(project_id=project.pk, annotator_id=user.pk, roles=roles or ["annotator"], seconds=seconds)


def answer(project, user, lease, category="refund", token=None):
    given = services.Answer(lease.task_id, user.pk, token or lease.token, category)
    return services.annotate(project_id=project.pk, answer=given)


@pytest.mark.django_db
def test_the_best_task_comes_first(project, annotator):
    add_task(project, priority=0.1)
    best = add_task(project, priority=0.9)
    assert claim(project, annotator).task_id == best.pk


@pytest.mark.django_db
def test_the_best_task_comes_first_across_languages_also_behind_the_item_in_hand(project, annotator):
    """The second slot of the item in hand heads its lane, and must not speak for the lane."""
    tasks = [add_task(project, f"text {n}", overlap=2, priority=1 - n / 10) for n in range(3)]
    for task, language in zip(tasks, ("en", "ja", "en"), strict=True):
        Slot.objects.filter(task=task).update(language=language)
    assert claim(project, annotator).task_id == tasks[0].pk
    reserved = queue.claim(
        project_id=project.pk, annotator_id=annotator.pk, roles=["annotator"], seconds=60, reserve=True
    )
    assert reserved.task_id == tasks[1].pk


@pytest.mark.django_db
def test_asking_twice_gives_the_same_lease(project, annotator):
    add_task(project)
    add_task(project)
    first, again = claim(project, annotator), claim(project, annotator)
    assert (again.slot_id, again.token) == (first.slot_id, first.token)


@pytest.mark.django_db
def test_two_people_never_hold_the_same_slot(project, annotator, colleague):
    add_task(project)
    assert claim(project, annotator)
    assert claim(project, colleague) is None


@pytest.mark.django_db
def test_one_person_never_gets_both_slots_of_a_task(project, annotator, colleague):
    task = add_task(project, overlap=2)
    answer(project, annotator, claim(project, annotator))
    assert claim(project, annotator) is None
    assert claim(project, colleague).task_id == task.pk


@pytest.mark.django_db
def test_a_lease_that_ran_out_goes_to_somebody_else_and_the_late_answer_is_kept_but_not_counted(
    project, annotator, colleague
):
    task = add_task(project)
    late = claim(project, annotator)
    Slot.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    fresh = claim(project, colleague)
    assert fresh.task_id == task.pk
    assert answer(project, annotator, late, "delivery").extra
    answer(project, colleague, fresh, "refund")
    task.refresh_from_db()
    assert task.category.key == "refund"


@pytest.mark.django_db
def test_an_answer_with_a_wrong_token_does_not_use_up_the_slot(project, annotator):
    task = add_task(project)
    lease = claim(project, annotator)
    assert answer(project, annotator, lease, token=uuid.uuid4()).extra
    task.refresh_from_db()
    assert task.state == TaskState.OPEN


@pytest.mark.django_db
def test_the_same_answer_twice_is_one(project, annotator):
    add_task(project)
    lease = claim(project, annotator)
    assert answer(project, annotator, lease).pk == answer(project, annotator, lease).pk
    assert Annotation.objects.count() == 1
    assert Label.objects.get().revision == 1


@pytest.mark.django_db
def test_another_answer_to_the_same_task_is_refused(project, annotator):
    add_task(project)
    lease = claim(project, annotator)
    answer(project, annotator, lease)
    with pytest.raises(Problem, match="already answered"):
        answer(project, annotator, lease, "delivery")


@pytest.mark.django_db
def test_two_who_agree_settle_the_label(project, annotator, colleague):
    task = add_task(project, overlap=2)
    for user in (annotator, colleague):
        answer(project, user, claim(project, user), "delivery")
    task.refresh_from_db()
    assert (task.state, task.resolution, task.category.key) == ("resolved", "agreed", "delivery")
    assert Inquiry.objects.get().status == "resolved"


@pytest.mark.django_db
def test_two_who_differ_call_the_expert_whose_word_is_final(project, annotator, colleague, expert):
    task = add_task(project, overlap=2)
    answer(project, annotator, claim(project, annotator), "delivery")
    answer(project, colleague, claim(project, colleague), "refund")
    task.refresh_from_db()
    assert task.state == TaskState.DISPUTED
    assert not Label.objects.exists()
    answer(project, expert, claim(project, expert, "expert"), "fraud")
    task.refresh_from_db()
    assert (task.state, task.resolution, task.category.key) == ("resolved", "expert", "fraud")


@pytest.mark.django_db
def test_an_annotator_is_never_handed_a_dispute(project, annotator, colleague, expert):
    add_task(project, overlap=2)
    answer(project, annotator, claim(project, annotator), "delivery")
    answer(project, colleague, claim(project, colleague), "refund")
    third = make_person(project, "third", "annotator")
    assert claim(project, third) is None


@pytest.mark.django_db
def test_a_released_task_is_open_again_for_the_same_person(project, annotator):
    task = add_task(project)
    lease = claim(project, annotator)
    assert queue.release(task_id=task.pk, annotator_id=annotator.pk, token=lease.token)
    assert claim(project, annotator).task_id == task.pk


@pytest.mark.django_db
def test_a_heartbeat_keeps_a_lease_and_a_lost_one_cannot_be_kept(project, annotator):
    task = add_task(project)
    lease = claim(project, annotator, seconds=5)
    assert queue.extend(task_id=task.pk, annotator_id=annotator.pk, token=lease.token, seconds=600) > lease.expires_at
    assert queue.extend(task_id=task.pk, annotator_id=annotator.pk, token=uuid.uuid4(), seconds=600) is None


@pytest.mark.django_db
def test_the_database_itself_refuses_a_second_holder_and_an_answer_beyond_the_overlap(project, annotator, colleague):
    task = add_task(project)
    slot = Slot.objects.get()
    with pytest.raises(IntegrityError), transaction.atomic():
        Slot.objects.create(task=task, project=project, number=1)
    answer(project, annotator, claim(project, annotator))
    with pytest.raises(IntegrityError), transaction.atomic():
        Annotation.objects.create(
            task=task, slot=slot, annotator=colleague, category=project.categories.first(), token=uuid.uuid4()
        )
    with pytest.raises(IntegrityError), transaction.atomic():
        Annotation.objects.create(
            task=task, annotator=colleague, category=project.categories.first(), token=uuid.uuid4()
        )


@pytest.mark.django_db
def test_an_audit_task_keeps_no_suggestion_and_is_never_moved(project):
    new = NewInquiry(text="Hello", request_sha=b"0" * 32)
    inquiry = record_inquiry(
        project_id=project.pk, app_id=None, new=new, status="waiting", category_id=None, reply_id=None
    )
    category = project.categories.first()
    task = services.open_task(
        inquiry=inquiry,
        kind=TaskKind.AUDIT,
        overlap=1,
        priority=0.3,
        reason={},
        suggestion_id=category.pk,
        propensity=0.05,
    )
    assert task.suggestion is None
    assert placing.reprioritise(priorities={task.pk: 0.9}) == 0


@pytest.mark.django_db
def test_new_priorities_move_open_slots(project, annotator):
    first, second = add_task(project, priority=0.9), add_task(project, priority=0.1)
    assert placing.reprioritise(priorities={first.pk: 0.2, second.pk: 0.8}) == 2
    assert claim(project, annotator).task_id == second.pk


@pytest.mark.django_db(transaction=True)
def test_many_annotators_at_once_share_the_queue_without_a_double_hand_out(project):
    people = [make_person(project, f"annotator{n}", "annotator") for n in range(6)]
    for n in range(30):
        add_task(project, f"text {n}", overlap=2)
    handed: list[tuple[int, int]] = []

    def work(user):
        try:
            while lease := claim(project, user):
                handed.append((lease.task_id, user.pk))
                answer(project, user, lease)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(p,)) for p in people]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(handed) == len(set(handed)) == 60
    assert Annotation.objects.filter(extra=False).count() == 60
    assert not LabelTask.objects.exclude(state=TaskState.RESOLVED).exists()
    assert not Slot.objects.exclude(state=SlotState.DONE).exists()


def reserve(project, user):
    return queue.claim(project_id=project.pk, annotator_id=user.pk, roles=["annotator"], seconds=600.0, reserve=True)


@pytest.mark.django_db
def test_giving_back_the_item_in_hand_gives_back_the_prefetched_one_too(project, annotator):
    first, _ = add_task(project, priority=0.9), add_task(project, priority=0.1)
    lease = claim(project, annotator)
    assert reserve(project, annotator).task_id != first.pk
    actions.release(project_id=project.pk, task_id=first.pk, annotator_id=annotator.pk, token=lease.token)
    assert not Slot.objects.filter(state=SlotState.LEASED).exists()
    assert claim(project, annotator).task_id == first.pk


@pytest.mark.django_db
def test_a_prefetch_that_comes_after_the_item_was_given_back_is_in_hand(project, annotator):
    first, _ = add_task(project, priority=0.9), add_task(project, priority=0.1)
    assert reserve(project, annotator).task_id == first.pk
    assert claim(project, annotator).task_id == first.pk
    assert Slot.objects.filter(state=SlotState.LEASED).count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_page_that_opens_while_the_closed_one_gives_its_item_back_gets_that_item(project, annotator):
    first, _ = add_task(project, priority=0.9), add_task(project, priority=0.1)
    lease = claim(project, annotator)
    claimed: list[int] = []

    def open_again():
        try:
            claimed.append(claim(project, annotator).task_id)
        finally:
            connection.close()

    page = threading.Thread(target=open_again)
    with transaction.atomic():
        actions.release(project_id=project.pk, task_id=first.pk, annotator_id=annotator.pk, token=lease.token)
        page.start()
        wait_until_somebody_waits_or(lambda: not page.is_alive())
    page.join()
    assert claimed == [first.pk]


def wait_until_somebody_waits_or(done) -> None:
    """Until another connection waits for a lock that this one holds, or `done`."""
    with connection.cursor() as cursor:
        while not done():
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return


@pytest.mark.django_db
def test_a_skip_that_was_taken_back_bars_nobody_from_an_answer_that_was_taken_back_later(project, annotator, colleague):
    task = add_task(project, overlap=2)
    mine, theirs = claim(project, annotator), claim(project, colleague)
    actions.skip(project_id=project.pk, task_id=task.pk, annotator_id=colleague.pk, token=theirs.token)
    answer(project, annotator, mine)
    for person in (colleague, annotator):
        lease = actions.undo(project_id=project.pk, task_id=task.pk, annotator_id=person.pk, seconds=600)
        queue.release(task_id=task.pk, annotator_id=person.pk, token=lease.token)
    assert [s.barred for s in Slot.objects.all()] == [[], []]
