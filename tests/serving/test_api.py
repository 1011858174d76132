from __future__ import annotations

import threading
import uuid

import pytest
from django.db import connection
from django.test import Client

from feedback.models import IdempotencyRecord, Inquiry, OutboxEvent, Project
from feedback.services import add_reply, touch_project
from labeling.models import Escalation, LabelTask
from serving.models import DecisionRecord, Embedding
from serving.served import served
from tests.conftest import make_key

REFUND = "I want my money back, please refund the order."
FRAUD = "Somebody stole my card and is paying with it."


def settle(project: Project, **settings) -> None:
    """Change settings as `configure` does."""
    Project.objects.filter(pk=project.pk).update(**settings)
    touch_project(project_id=project.pk)
    served.refresh()


@pytest.mark.django_db
def test_an_inquiry_is_answered_before_the_first_label(post, project):
    answer = post("inquiries", {"text": REFUND}).json()
    assert answer["category"] == "refund"
    assert answer["model"] == "category-texts"
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=0.01)
    assert -1 <= answer["sentiment"] <= 1


@pytest.mark.django_db
def test_a_sure_inquiry_gets_the_reply_of_its_category_and_nobody_is_asked(post, project):
    settle(project, confidence_threshold=0.0)
    add_reply(category_id=project.categories.get(key="refund").pk, locale="en", text="Your refund is on its way.")
    answer = post("inquiries", {"text": REFUND, "locale": "en"}).json()
    assert answer["decision"] == "auto"
    assert answer["reply"]["text"] == "Your refund is on its way."
    assert (answer["task"], answer["escalation"]) == (None, None)
    assert not LabelTask.objects.exists()
    assert Inquiry.objects.get().status == "answered"


@pytest.mark.django_db
def test_a_reply_with_a_gap_is_filled_or_a_person_writes_and_is_told_why(post, project):
    settle(project, confidence_threshold=0.0)
    add_reply(category_id=project.categories.get(key="refund").pk, locale="en", text="Order {order} is refunded.")
    given = {"text": REFUND, "locale": "en"}
    sent = post("inquiries", given | {"metadata": {"order": "A-7"}}).json()
    assert (sent["decision"], sent["reply"]["text"]) == ("auto", "Order A-7 is refunded.")
    left = post("inquiries", given | {"metadata": {"order": ["A-7"]}}).json()
    assert (left["decision"], left["reply"], left["task"]) == ("human", None, None)
    assert [r["code"] for r in left["reasons"]] == ["gap"]
    assert Escalation.objects.get(pk=left["escalation"]).reasons == left["reasons"]
    assert Inquiry.objects.get(pk=left["id"]).status == "waiting"
    rehearsed = post("inquiries", given | {"metadata": {"order": "A-7"}, "dry_run": True}).json()
    assert rehearsed["reply"] == sent["reply"]


@pytest.mark.django_db
def test_an_unsure_inquiry_becomes_a_label_task_that_says_why(post, project):
    settle(project, confidence_threshold=1.0)
    answer = post("inquiries", {"text": REFUND}).json()
    assert answer["decision"] == "human"
    assert [r["code"] for r in answer["reasons"]] == ["unsure"]
    task = LabelTask.objects.get(pk=answer["task"])
    assert task.suggestion.key == "refund"
    assert task.reason["between"][0]["category"] == "refund"
    assert Inquiry.objects.get().status == "waiting"


@pytest.mark.django_db
def test_a_risky_category_is_escalated_and_not_queued_for_labels(post, project):
    answer = post("inquiries", {"text": FRAUD}).json()
    assert answer["category"] == "fraud"
    assert answer["task"] is None
    assert Escalation.objects.get(pk=answer["escalation"]).reasons[0]["code"] == "high_risk"


@pytest.mark.django_db
def test_an_angry_customer_is_escalated(post, project):
    text = "This is outrageous, I am furious, your terrible service is a disgrace!"
    answer = post("inquiries", {"text": text}).json()
    assert "angry" in [r["code"] for r in answer["reasons"]]
    assert answer["escalation"]


@pytest.mark.django_db
def test_an_audited_inquiry_gets_exactly_what_it_would_have_got_and_a_blind_task(post, project):
    settle(project, confidence_threshold=0.0)
    plain = post("inquiries", {"text": REFUND}).json()
    settle(project, confidence_threshold=0.0, audit_rate=1.0)
    audited = post("inquiries", {"text": REFUND}).json()
    assert audited | {"id": None} == plain | {"id": None}
    task = LabelTask.objects.get()
    assert (task.kind, task.suggestion, task.propensity) == ("audit", None, 1.0)
    assert DecisionRecord.objects.get(audit=True).propensity == 1.0


@pytest.mark.django_db
def test_everything_that_was_decided_is_on_record(post, project):
    answer = post("inquiries", {"text": REFUND, "metadata": {"plan": "gold"}}).json()
    inquiry = Inquiry.objects.get(pk=answer["id"])
    assert inquiry.metadata == {"plan": "gold"}
    assert inquiry.decision.answer == answer
    assert len(bytes(Embedding.objects.get(inquiry=inquiry).vector)) == 384 * 2
    assert OutboxEvent.objects.filter(kind="inquiry.decided", payload={"inquiry": answer["id"]}).exists()


@pytest.mark.django_db
def test_a_japanese_inquiry_is_read_by_the_n_gram_encoder(post, project):
    post("inquiries", {"text": "荷物がまだ届きません。"})
    post("inquiries", {"text": REFUND})
    shas = set(Embedding.objects.values_list("encoder_sha", flat=True))
    assert len(shas) == 2


@pytest.mark.django_db
def test_the_same_external_id_and_body_gets_the_same_answer(post, project):
    body = {"text": REFUND, "external_id": "t-1"}
    first, second = post("inquiries", body), post("inquiries", body)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert Inquiry.objects.count() == 1


@pytest.mark.django_db
def test_the_same_external_id_with_another_body_is_a_conflict(post, project):
    post("inquiries", {"text": REFUND, "external_id": "t-1"})
    answer = post("inquiries", {"text": FRAUD, "external_id": "t-1"})
    assert answer.status_code == 409
    assert answer.json()["field"] == "external_id"
    assert Inquiry.objects.count() == 1


@pytest.mark.django_db
def test_an_idempotency_key_gives_the_same_answer_and_keeps_it(post, project):
    first = post("inquiries", {"text": REFUND}, Idempotency_Key="k-1")
    second = post("inquiries", {"text": REFUND}, Idempotency_Key="k-1")
    assert first.content == second.content
    assert Inquiry.objects.count() == IdempotencyRecord.objects.count() == 1
    assert post("inquiries", {"text": FRAUD}, Idempotency_Key="k-1").status_code == 409


@pytest.mark.django_db(transaction=True)
def test_twins_that_arrive_together_are_stored_once(project):
    secret = make_key(project)
    statuses: list[int] = []
    barrier = threading.Barrier(4)

    def send():
        try:
            barrier.wait()
            answer = Client().post(
                "/api/v1/inquiries", {"text": REFUND, "external_id": "t-1"}, content_type="application/json",
                headers={"Authorization": f"Api-Key {secret}"},
            )  # fmt: skip
            statuses.append(answer.status_code)
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert Inquiry.objects.count() == 1
    assert statuses.count(201) == 1
    assert set(statuses) <= {201, 200, 409}


@pytest.mark.django_db
def test_predict_and_dry_run_answer_without_storing(post, project):
    for answer in (post("predict", {"text": REFUND}), post("inquiries", {"text": REFUND, "dry_run": True})):
        assert answer.status_code == 200
        assert answer.json()["category"] == "refund"
    assert not Inquiry.objects.exists()


@pytest.mark.django_db
def test_a_batch_is_answered_in_its_order_whatever_the_languages(post, project):
    texts = [REFUND, "荷物がまだ届きません。", FRAUD]
    answer = post("predict/batch", {"inquiries": [{"text": t} for t in texts]}).json()
    single = [post("predict", {"text": t}).json() for t in texts]
    assert [p["category"] for p in answer["predictions"]] == [p["category"] for p in single]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"not json", 400, None),
        (b"", 400, None),
        ({}, 422, "text"),
        ({"text": ""}, 422, "text"),
        ({"text": " \n "}, 422, "text"),
        ({"text": "x" * 8001}, 422, "text"),
        ({"text": "\x00\x01\x02"}, 422, "text"),
        ({"text": 5}, 422, "text"),
        ({"text": "x", "colour": "red"}, 422, "colour"),
        ({"text": "x", "locale": "not a locale"}, 422, "locale"),
        ({"text": "x", "external_id": ""}, 422, "external_id"),
        ({"text": "x", "metadata": {"k": "v" * 5000}}, 422, "metadata"),
        ({"text": "x", "metadata": [1]}, 422, "metadata"),
        ({"text": "x", "metadata": {"k": "\x00"}}, 422, "metadata"),
        ({"text": "x", "project": "bank"}, 404, "project"),
        ({"text": "x", "dry_run": "yes"}, 422, "dry_run"),
        ([{"text": "x"}], 422, None),
    ],
)
def test_bad_input_is_refused_naming_the_field_and_changes_nothing(post, project, body, status, field):
    answer = post("inquiries", body)
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json().get("field") == field
    assert not Inquiry.objects.exists()
    assert not OutboxEvent.objects.filter(kind="inquiry.decided").exists()


@pytest.mark.django_db
@pytest.mark.parametrize("count", [0, 1001])
def test_a_batch_has_one_to_a_thousand_inquiries(post, project, count):
    answer = post("predict/batch", {"inquiries": [{"text": "x"}] * count})
    assert answer.status_code == 422
    assert answer.json()["field"] == "inquiries"


@pytest.mark.django_db
def test_the_story_of_an_inquiry_can_be_read_again(post, client, key, project):
    made = post("inquiries", {"text": FRAUD, "external_id": "t-9"}).json()
    found = client.get(f"/api/v1/inquiries/{made['id']}", headers={"Authorization": f"Api-Key {key}"}).json()
    assert found["status"] == "waiting"
    assert found["decision"] == made
    assert [h["what"] for h in found["history"]] == ["received", "decided: human", "escalated"]


@pytest.mark.django_db
def test_an_inquiry_of_another_project_does_not_exist(post, client, project, other_project):
    made = post("inquiries", {"text": REFUND}).json()
    secret = make_key(other_project)
    for path in (f"/api/v1/inquiries/{made['id']}", f"/api/v1/inquiries/{uuid.uuid4()}"):
        assert client.get(path, headers={"Authorization": f"Api-Key {secret}"}).status_code == 404


@pytest.mark.django_db
def test_an_app_can_ask_for_a_person_once(post, project):
    settle(project, confidence_threshold=0.0)
    made = post("inquiries", {"text": REFUND}).json()
    first = post(f"inquiries/{made['id']}/escalate", {"reason": "The customer asked for it."})
    second = post(f"inquiries/{made['id']}/escalate", b"")
    assert first.json() == second.json()
    assert Escalation.objects.count() == 1
    assert Inquiry.objects.get().status == "waiting"


@pytest.mark.django_db
def test_when_the_database_is_away_the_caller_is_told_to_send_again(post, project, monkeypatch):
    from django.db import OperationalError

    from serving import services

    def broken(**kwargs):
        raise OperationalError("server closed the connection")

    monkeypatch.setattr(services, "answer_inquiry", broken)
    answer = post("inquiries", {"text": REFUND})
    assert answer.status_code == 503
    assert answer["Retry-After"]
