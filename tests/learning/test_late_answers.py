"""What a new version has become sure of is answered late and asked of nobody; whatever somebody has touched stays theirs."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test import Client
from django.utils import timezone

from feedback.models import Category, Inquiry, OutboxEvent, Project, Reply, Role, Status, User
from feedback.services import touch_project
from feedback.webhooks import inquiry_resolved
from labeling import actions, counters, retiring
from labeling.models import Label, LabelTask, Slot, TaskKind, TaskState
from learning import selectors
from serving import late, services
from serving.models import DecisionRecord, LateAnswer, ModelVersion
from serving.served import served
from tests.conftest import make_person
from tests.databases import failure_of
from tests.labeling.test_placing import versions
from tests.labeling.test_queue import answer, claim
from tests.learning.sureness import key_of, sure_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("small_heads")]


def test_what_it_is_sure_of_is_answered_told_and_asked_of_nobody(shop: Project, waiting: list[LabelTask]) -> None:
    category = Category.objects.get(project=shop, key=key_of(shop))
    reply = Reply.objects.create(project=shop, category=category, locale="en", text="It is on its way.", version=1)
    touch_project(project_id=shop.pk)
    served.refresh()
    assert sure_of(shop, waiting[:3]) == [t.pk for t in waiting[:3]]
    first = LabelTask.objects.select_related("inquiry").get(pk=waiting[0].pk)
    version = ModelVersion.objects.get(stage="production")
    assert (first.state, first.inquiry.status, first.inquiry.category) == (TaskState.RETIRED, Status.ANSWERED, category)
    assert first.reason["retired"] == {"model": f"v{version.number}", "category": category.key, "confidence": 0.95}
    assert not Slot.objects.filter(task=first).exists()
    assert counters.read(shop.pk)["task:open"] == 5
    told = LateAnswer.objects.get(inquiry=first.inquiry)
    assert (told.model, told.answer["reply"]) == (version, {"id": reply.pk, "text": "It is on its way."})
    assert DecisionRecord.objects.get(inquiry=first.inquiry).decision == "human"  # what was decided on arrival stays
    event = OutboxEvent.objects.filter(kind="inquiry.resolved", payload__inquiry=str(first.inquiry_id)).get()
    notice = inquiry_resolved(event)
    assert (notice.category, notice.by, notice.reply) == (category.key, "model", reply.pk)
    assert not Label.objects.filter(inquiry=first.inquiry).exists()  # nothing learns from its own answers


def test_again_changes_nothing(shop: Project, waiting: list[LabelTask]) -> None:
    assert len(sure_of(shop, waiting)) == 8
    assert sure_of(shop, waiting) == []
    assert LateAnswer.objects.count() == OutboxEvent.objects.filter(kind="inquiry.resolved").count() == 8


def test_the_loop_page_counts_those_who_waited_and_got_a_late_answer(shop: Project, waiting: list[LabelTask]) -> None:
    sure_of(shop, waiting[:3])
    LateAnswer.objects.filter(inquiry=waiting[0].inquiry).update(answered_at=timezone.now() - timedelta(hours=25))
    lead = make_person(shop, "lead", Role.LEAD)
    client = Client()
    client.force_login(lead)
    page = client.get(f"/p/{shop.slug}/loop").content.decode()
    assert "2 inquiries that waited for a person got their answer from a later version" in page
    assert selectors.answered_late(project_id=shop.pk) == 2


@pytest.mark.parametrize("what", ["unsure", "high risk", "angry", "unread"])
def test_what_a_person_would_be_asked_on_arrival_stays_with_people(
    shop: Project,
    waiting: list[LabelTask],
    what: str,
) -> None:
    confidence = 0.5 if what == "unsure" else 0.95
    key = key_of(shop)
    if what == "high risk":
        Category.objects.filter(key=key).update(high_risk=True)
    elif what == "angry":
        DecisionRecord.objects.update(sentiment=-0.9)
    elif what == "unread":
        DecisionRecord.objects.update(sentiment=None)
    touch_project(project_id=shop.pk)
    served.refresh()
    assert sure_of(shop, waiting, 0, confidence) == []
    assert LabelTask.objects.filter(state=TaskState.OPEN).count() == 8


def test_whatever_somebody_has_touched_stays_theirs(shop: Project, waiting: list[LabelTask]) -> None:
    person, other = make_person(shop, "annotator0", "annotator"), make_person(shop, "annotator1", "annotator")
    held = claim(shop, person)
    LabelTask.objects.filter(pk__in=[t.pk for t in waiting if t.pk != held.task_id]).update(overlap=1)
    skipped = claim(shop, other)
    actions.skip(project_id=shop.pk, task_id=skipped.task_id, annotator_id=other.pk, token=skipped.token)
    rest = [t for t in waiting if t.pk not in (held.task_id, skipped.task_id)]
    flagged, escalated, imported = rest[:3]
    actions.flag(project_id=shop.pk, task_id=flagged.pk, annotator_id=other.pk, on=True)
    services.escalate(project_id=shop.pk, inquiry_id=escalated.inquiry_id, reason="please")
    LabelTask.objects.filter(pk=imported.pk).update(kind=TaskKind.IMPORTED)
    assert sure_of(shop, waiting) == [t.pk for t in rest[3:]]
    answer(shop, person, held, key_of(shop))
    assert Label.objects.get(inquiry__task=held.task_id).category.key == key_of(shop)


def test_an_audit_is_never_retired(shop: Project, waiting: list[LabelTask]) -> None:
    LabelTask.objects.update(suggestion=None)
    LabelTask.objects.filter(pk=waiting[0].pk).update(kind=TaskKind.AUDIT, propensity=0.5)
    assert waiting[0].pk not in sure_of(shop, waiting)


def test_without_a_version_in_production_nothing_is_answered(shop: Project, waiting: list[LabelTask]) -> None:
    ModelVersion.objects.update(stage="archived")
    touch_project(project_id=shop.pk)
    served.refresh()
    assert sure_of(shop, waiting) == []


def test_people_who_claim_and_answer_meanwhile_and_the_model_never_have_the_same_task(
    shop: Project,
    waiting: list[LabelTask],
) -> None:
    people = [make_person(shop, f"annotator{n}", "annotator") for n in range(3)]
    gate, done, failed = threading.Barrier(4), list[int](), list[BaseException]()

    def work(person: User) -> None:
        try:
            gate.wait()
            while lease := claim(shop, person):
                answer(shop, person, lease, key_of(shop))
                done.append(lease.task_id)
        except BaseException as error:
            failed.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=(p,)) for p in people]
    for thread in threads:
        thread.start()
    gate.wait()
    retired = [pk for t in waiting for pk in sure_of(shop, [t])]
    for thread in threads:
        thread.join()
    assert not failed
    assert sorted(done + retired) == [t.pk for t in waiting]
    assert LateAnswer.objects.count() == len(retired)
    assert Label.objects.filter(inquiry__task__in=waiting).count() == len(done)


def test_one_whose_connection_is_cut_between_answer_and_retirement_leaves_nothing_half_done(
    shop: Project, waiting: list[LabelTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late, "AT_ONCE", 3)
    batches: list[int] = []
    retire = retiring.retire

    def cut(why: dict[int, dict[str, Any]], tasks: list[LabelTask]) -> None:
        batches.append(len(tasks))
        if len(batches) == 2:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        retire(why, tasks)

    monkeypatch.setattr(retiring, "retire", cut)
    assert failure_of(lambda: sure_of(shop, waiting)) is not None
    monkeypatch.setattr(retiring, "retire", retire)
    closed = set(LabelTask.objects.filter(state=TaskState.RETIRED).values_list("inquiry_id", flat=True))
    assert (batches, len(closed)) == ([3, 3], 3)
    assert set(LateAnswer.objects.values_list("inquiry_id", flat=True)) == closed
    assert set(Inquiry.objects.filter(task__in=waiting, status=Status.ANSWERED).values_list("pk", flat=True)) == closed
    assert len(sure_of(shop, waiting)) == 5


def test_a_retired_task_can_be_asked_again(shop: Project, waiting: list[LabelTask]) -> None:
    person = make_person(shop, "annotator0", "annotator")
    sure_of(shop, waiting)
    assert claim(shop, person) is None
    with transaction.atomic():
        assert retiring.ask_again(task_ids=[waiting[2].pk], priority=1.0) == [waiting[2].pk]
    assert claim(shop, person).task_id == waiting[2].pk
    assert "retired" not in LabelTask.objects.get(pk=waiting[2].pk).reason
    with transaction.atomic():
        assert retiring.ask_again(task_ids=[waiting[2].pk], priority=1.0) == []


def test_what_somebody_sent_for_a_topic_is_answered_and_still_asked(shop: Project, waiting: list[LabelTask]) -> None:
    LabelTask.objects.filter(pk=waiting[0].pk).update(reason={"rule": "topic", "topic": 1})
    assert sure_of(shop, waiting) == [t.pk for t in waiting[1:]]
    assert LateAnswer.objects.count() == 8
    assert LabelTask.objects.get(pk=waiting[0].pk).state == TaskState.OPEN


def test_what_is_to_be_asked_all_the_same_is_answered_once_and_stays_open(
    shop: Project, waiting: list[LabelTask]
) -> None:
    kept = [waiting[1].pk, waiting[4].pk]
    assert sure_of(shop, waiting, keep=kept) == [t.pk for t in waiting if t.pk not in kept]
    before = versions()
    assert sure_of(shop, waiting, keep=kept) == []
    assert versions() == before
    assert LateAnswer.objects.count() == 8


def test_a_case_that_an_app_opens_at_this_moment_stays_with_people(shop: Project, waiting: list[LabelTask]) -> None:
    asked, let_go = threading.Event(), threading.Event()

    def ask() -> None:
        try:
            with transaction.atomic():
                services.escalate(project_id=shop.pk, inquiry_id=waiting[0].inquiry_id, reason="please")
                asked.set()
                let_go.wait(30)
        finally:
            connections.close_all()

    def look() -> None:
        try:
            found.extend(sure_of(shop, waiting))
        finally:
            connections.close_all()

    found: list[int] = []
    app, version = threading.Thread(target=ask), threading.Thread(target=look)
    app.start()
    assert asked.wait(30)
    version.start()
    version.join(5)
    let_go.set()
    app.join()
    version.join()
    assert found == [t.pk for t in waiting[1:]]
    assert Inquiry.objects.get(pk=waiting[0].inquiry_id).status == Status.WAITING
