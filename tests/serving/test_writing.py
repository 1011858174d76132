"""An inquiry and all that belongs to it by one statement: the same rows as one by one, all of them or none, whoever comes together."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction
from django.forms.models import model_to_dict
from django.test import Client

from feedback import outbox
from feedback import services as feedback_services
from feedback.models import Event, IdempotencyRecord, Inquiry, OutboxEvent, Project
from feedback.services import NewInquiry, add_reply, touch_project
from labeling import services as labeling_services
from labeling.models import LabelTask, Slot, TaskKind
from serving import services
from serving.models import DecisionRecord, Embedding, ReplyShown, ShadowAnswer
from serving.served import served
from tests.conftest import make_key

REFUND = "I want my money back, please refund the order."
TABLES = (Inquiry, LabelTask, Slot, DecisionRecord, Embedding, OutboxEvent)


def unsure(project: Project, **settings) -> Project:
    """Every inquiry becomes a task of two slots."""
    Project.objects.filter(pk=project.pk).update(confidence_threshold=1.0, **settings)
    touch_project(project_id=project.pk)
    served.refresh()
    return project


def counts() -> dict[str, int]:
    return {m.__name__: m.objects.count() for m in TABLES}


def columns(row, *but: str) -> dict:
    """What a row says, without what names it or when it was made."""
    return {f.column: getattr(row, f.attname) for f in row._meta.concrete_fields if f.column not in ("id", *but)}


@pytest.mark.django_db
def test_the_rows_are_those_that_each_table_gets_from_its_own_service(project, post):
    unsure(project, overlap=2)
    told = post("inquiries", {"text": REFUND, "locale": "en", "customer": "c1", "metadata": {"plan": "gold"}}).json()
    together = Inquiry.objects.get(pk=told["id"])
    task = LabelTask.objects.get(pk=told["task"])
    alone = feedback_services.record_inquiry(
        project_id=project.pk, app_id=together.app_id, status=together.status, category_id=together.category_id,
        reply_id=None, new=NewInquiry(
            text=REFUND, request_sha=bytes(together.request_sha), locale="en", customer="c1", metadata={"plan": "gold"}
        ), model=together.model,
    )  # fmt: skip
    other = labeling_services.open_task(
        inquiry=alone, kind=TaskKind.SELECTION, overlap=2, priority=task.priority, reason=task.reason,
        suggestion_id=task.suggestion_id,
    )  # fmt: skip
    assert columns(Inquiry.objects.get(pk=alone.pk), "received_at") == columns(together, "received_at")
    assert columns(other, "inquiry_id", "created_at") == columns(task, "inquiry_id", "created_at")
    slots = [list(Slot.objects.filter(task=t).order_by("number")) for t in (task, other)]
    assert len(slots[0]) == len(slots[1]) == 2
    for one, same in zip(*slots, strict=True):
        assert columns(one, "task_id", "priority") == columns(same, "task_id", "priority")
        assert one.priority == pytest.approx(same.priority, abs=1e-3)  # both age from the moment they were opened


@pytest.fixture
def full_disk():
    """PostgreSQL refuses to write the decision log, as it does when its disk is full; gone when the block ends."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$"
        )
        cursor.execute("CREATE TRIGGER full_disk BEFORE INSERT ON serving_decisionrecord EXECUTE FUNCTION disk_full()")
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER IF EXISTS full_disk ON serving_decisionrecord; DROP FUNCTION disk_full CASCADE")


@pytest.mark.django_db(transaction=True)
def test_a_full_disk_refuses_the_whole_inquiry_and_a_second_try_stores_it(project, post, full_disk):
    unsure(project)
    before = counts()
    answer = post("inquiries", {"text": REFUND, "external_id": "t-1"})
    assert (answer.status_code, answer["Retry-After"]) == (503, "2")
    assert counts() == before
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER full_disk ON serving_decisionrecord")
    assert post("inquiries", {"text": REFUND, "external_id": "t-1"}).status_code == 201
    assert {k: v - before[k] for k, v in counts().items()} == dict.fromkeys(before, 1)


@pytest.mark.django_db(transaction=True)
def test_after_postgresql_went_away_the_next_inquiry_is_stored_and_what_was_refused_is_not(project):
    unsure(project)
    send = sender(project)
    assert send("t-1") == 201
    with connection.cursor() as cursor:  # what a restart does to every connection of this process but this one
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    statuses = {name: send(name) for name in ("t-2", "t-3", "t-4")}
    assert set(statuses.values()) <= {201, 503}
    assert statuses["t-4"] == 201
    stored = set(Inquiry.objects.values_list("external_id", flat=True))
    assert {"t-1"} | {name for name, status in statuses.items() if status == 201} == stored


@pytest.mark.django_db(transaction=True)
def test_after_postgresql_went_away_a_full_pool_gives_a_living_connection_at_once(project):
    unsure(project)
    send, gate = sender(project), threading.Barrier(8)

    def borrow(worker: int) -> None:
        connection.ensure_connection()
        gate.wait()
        connection.close()

    assert send("t-1") == 201
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(borrow, range(8)))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    send("t-2")  # finds out, and may be refused
    connection.close()
    connection.ensure_connection()  # would give up after ten seconds among the dead


def sender(project: Project):
    secret = make_key(project)

    def send(external_id: str, **headers: str) -> int:
        answer = Client().post(
            "/api/v1/inquiries", {"text": REFUND, "external_id": external_id}, content_type="application/json",
            headers={"Authorization": f"Api-Key {secret}", **headers},
        )  # fmt: skip
        return answer.status_code

    return send


@pytest.mark.django_db(transaction=True)
def test_inquiries_that_come_together_each_get_their_own_task_slots_and_event(project):
    unsure(project, overlap=2)
    send, gate = sender(project), threading.Barrier(6)

    def many(worker: int) -> list[int]:
        try:
            gate.wait()
            return [send(f"t-{worker}-{n}") for n in range(5)]
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        statuses = [s for found in pool.map(many, range(6)) for s in found]
    assert statuses == [201] * 30
    assert Inquiry.objects.count() == LabelTask.objects.count() == DecisionRecord.objects.count() == 30
    assert sorted(Slot.objects.values_list("task__inquiry__external_id", "number")) == sorted(
        (f"t-{w}-{n}", number) for w in range(6) for n in range(5) for number in (1, 2)
    )
    told = OutboxEvent.objects.filter(kind="inquiry.decided").values_list("payload__inquiry", flat=True)
    assert sorted(told) == sorted(str(pk) for pk in Inquiry.objects.values_list("pk", flat=True))
    tasks = dict(DecisionRecord.objects.values_list("inquiry_id", "answer__task"))
    assert tasks == dict(LabelTask.objects.values_list("inquiry_id", "pk"))  # the id that was told is the one that is


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_hangs_holds_up_one_request_and_not_those_that_come_after_it(project, monkeypatch):
    unsure(project)
    send, hanging, back = sender(project), threading.Event(), threading.Event()

    def hang(*args, **options) -> None:
        if not hanging.is_set():
            hanging.set()
            assert back.wait(30)

    monkeypatch.setattr("feedback.tasks.send_quietly", hang)
    monkeypatch.setattr(outbox, "_last_nudge", [0.0])  # making the project woke the relay just now

    def one(external_id: str) -> int:
        try:
            return send(external_id)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        held = pool.submit(one, "t-1")
        try:
            assert hanging.wait(30)
            assert pool.submit(one, "t-2").result(10) == 201
            assert not held.done()
        finally:
            back.set()
        assert held.result(30) == 201


@pytest.mark.django_db
def test_no_index_that_is_written_with_an_inquiry_is_the_beginning_of_another():
    tables = [m._meta.db_table for m in (Inquiry, Embedding, DecisionRecord, ReplyShown, Slot, ShadowAnswer)]
    with connection.cursor() as cursor:
        cursor.execute(
            """WITH whole AS (
                SELECT indrelid, indexrelid, indexrelid::regclass::text AS name, indisunique, indkey::text || ' ' AS columns
                FROM pg_index WHERE indrelid = ANY(%s::regclass[]) AND indpred IS NULL AND indexprs IS NULL
            )
            SELECT a.name, b.name FROM whole a JOIN whole b ON a.indrelid = b.indrelid AND a.indexrelid <> b.indexrelid
            WHERE NOT a.indisunique AND starts_with(b.columns, a.columns)""",
            [tables],
        )
        assert cursor.fetchall() == []


@pytest.mark.django_db
def test_a_crash_before_the_key_is_kept_leaves_neither_the_inquiry_nor_the_key(project, post, monkeypatch):
    unsure(project)

    def killed(self, status, body):
        raise RuntimeError("the process ends here")

    monkeypatch.setattr("feedback.idempotency.Key.keep", killed)
    before = counts()
    with transaction.atomic():
        assert post("inquiries", {"text": REFUND}, Idempotency_Key="k-1").status_code == 500
    assert counts() == before
    assert not IdempotencyRecord.objects.exists()
    monkeypatch.undo()
    assert post("inquiries", {"text": REFUND}, Idempotency_Key="k-1").status_code == 201


@pytest.mark.django_db
def test_events_that_came_before_their_inquiry_belong_to_it(project, post):
    Project.objects.filter(pk=project.pk).update(confidence_threshold=0.0)
    add_reply(category_id=project.categories.get(key="refund").pk, locale="en", text="It is on its way.")
    post("feedback", {"inquiry": "t-1", "type": "thumbs", "value": "up"})
    made = post("inquiries", {"text": REFUND, "external_id": "t-1"}).json()
    assert str(Event.objects.get().inquiry_id) == made["id"]


@pytest.mark.django_db
def test_personal_data_is_sealed_in_the_same_statement(project, post):
    made = post("inquiries", {"text": "Write to me at kim@example.com about my refund."}).json()
    inquiry = Inquiry.objects.get(pk=made["id"])
    assert "kim@example.com" not in inquiry.text
    assert model_to_dict(inquiry)["text"] == inquiry.text
    assert inquiry.original.sealed


@pytest.mark.django_db
def test_a_common_inquiry_takes_one_statement(project, post, django_assert_num_queries):
    Project.objects.filter(pk=project.pk).update(confidence_threshold=0.0)
    touch_project(project_id=project.pk)
    post("inquiries", {"text": REFUND})
    new = NewInquiry(text=REFUND, request_sha=b"0" * 32, locale="en")
    with django_assert_num_queries(0):  # what Django sees: the statement itself goes past it
        services.predict(project_id=project.pk, texts=[new.text], locales=["en"])
    with django_assert_num_queries(0):
        services.answer_inquiry(project_id=project.pk, app_id=None, new=new)
