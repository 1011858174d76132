"""What people do with topics, over the API and the pages: each act, what it refuses, and what it leaves alone."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.utils import timezone

from feedback import jobs
from feedback.models import AuditEvent, Category, Fold, Inquiry, Project, Status
from feedback.services import NewInquiry, record_inquiry
from labeling.models import LabelTask, TaskKind
from labeling.services import import_label, open_task
from learning import topic_acts, topic_selectors
from learning.models import Topic, TopicMember
from serving.engine import to_bytes
from serving.models import Embedding
from tests.conftest import make_person

pytestmark = pytest.mark.django_db
SHA = "e" * 64


@pytest.fixture
def lead(project: Project, client: Client) -> Client:
    client.force_login(make_person(project, "lead", "lead"))
    return client


def ask(project: Project, text: str, fold: int = Fold.TRAIN) -> Inquiry:
    inquiry = record_inquiry(
        project_id=project.pk, app_id=None, new=NewInquiry(text=text, request_sha=b"0" * 32), status=Status.WAITING,
        category_id=None, reply_id=None,
    )  # fmt: skip
    Inquiry.objects.filter(pk=inquiry.pk).update(fold=fold)
    return inquiry


def make_topic(project: Project, number: int, texts: int = 0, **fields: Any) -> Topic:
    """A topic whose texts lie around one axis, the first nearest; every text is an inquiry for learning."""
    topic = Topic.objects.create(
        project=project,
        encoder_sha=SHA,
        number=number,
        keywords=["qr", "leaflet"],
        size=texts,
        born_at=timezone.now(),
        **fields,
    )
    for k in range(texts):
        add(topic, ask(project, f"Text {k} of topic {number}"), k / 100, side=k % 3)
    return topic


def add(topic: Topic, inquiry: Inquiry, distance: float = 0.0, side: int = 0) -> None:
    vector = np.eye(8, dtype=np.float32)[topic.number % 4 + (4 if side == 0 else 0)]
    Embedding.objects.create(inquiry=inquiry, encoder_sha=SHA, vector=to_bytes(vector))
    TopicMember.objects.create(
        project=topic.project, encoder_sha=SHA, inquiry=inquiry, topic=topic, said_at=timezone.now(), distance=distance,
        x=float(topic.number), y=distance,
    )  # fmt: skip


def send(client: Client, method: str, path: str, body: Any = None) -> Any:
    return client.generic(method, f"/api/v1/{path}?project=shop", json.dumps(body or {}), "application/json")


def test_a_name_and_an_owner_are_kept_told_and_audited(project: Project, lead: Client) -> None:
    topic = make_topic(project, 1)
    answer = send(lead, "PATCH", "topics/1", {"name": "Fake leaflets", "owner": "lead", "pinned": True})
    assert (answer.status_code, answer.json()["name"], answer.json()["owner"]) == (200, "Fake leaflets", "lead")
    again = send(lead, "PATCH", "topics/1", {"pinned": True})
    assert again.status_code == 200
    assert sorted(topic.events.values_list("kind", flat=True)) == ["note", "pin", "rename"]
    assert AuditEvent.objects.filter(kind="topic", object=str(topic.pk)).count() == 1
    assert [t["number"] for t in send(lead, "GET", "topics").json()["topics"]] == [1]


@pytest.mark.parametrize(
    ("body", "field"), [({"owner": "stranger"}, "owner"), ({"name": "x" * 121}, "name"), ({"colour": "red"}, "colour")]
)
def test_a_change_that_cannot_be_is_refused(project: Project, lead: Client, body: Any, field: str) -> None:
    make_topic(project, 1)
    answer = send(lead, "PATCH", "topics/1", body)
    assert answer.status_code == 422
    assert field in str(answer.json())


def test_a_merged_topic_gives_its_texts_to_its_heir_and_its_number_leads_there(project: Project, lead: Client) -> None:
    make_topic(project, 1, 2)
    make_topic(project, 2, 3)
    assert send(lead, "POST", "topics/1/merge", {"into": 2}).json()["size"] == 5
    assert send(lead, "GET", "topics/1").json()["number"] == 2
    assert lead.get("/p/shop/topics/1").headers["Location"] == "/p/shop/topics/2"
    for body in ({"into": 2}, {"into": 9}):
        assert send(lead, "POST", "topics/2/merge", body).status_code in (404, 422)


def test_a_split_parts_the_texts_and_tells_of_the_birth(project: Project, lead: Client) -> None:
    topic = make_topic(project, 1, 15, name="Leaflets", notes="seen in Cork")
    job = send(lead, "POST", "topics/1/split").json()
    jobs.run(job["id"])
    born = Topic.objects.get(number=2)
    assert (born.members.count(), topic.members.count()) == (5, 10)
    assert (born.notes, born.name) == ("seen in Cork", "")
    assert [(e.kind, e.others) for e in born.events.all()] == [("split", [1])]
    jobs.run(job["id"])
    assert Topic.objects.count() == 2


def test_fifty_go_to_labeling_without_labels_audits_and_what_is_kept_for_testing(
    project: Project, lead: Client
) -> None:
    topic = make_topic(project, 1, 4)
    labeled, tested, audited = (
        ask(project, t, fold) for t, fold in (("l", Fold.TRAIN), ("t", Fold.TEST), ("a", Fold.TRAIN))
    )
    for inquiry in (labeled, tested, audited):
        add(topic, inquiry)
    import_label(inquiry=labeled, category_id=Category.objects.filter(project=project)[0].pk)
    audit = open_task(inquiry=audited, kind=TaskKind.AUDIT, overlap=1, priority=0.2, reason={}, propensity=0.1)
    known = Inquiry.objects.get(text="Text 0 of topic 1")
    waiting = open_task(inquiry=known, kind=TaskKind.SELECTION, overlap=1, priority=0.1, reason={"rule": "margin"})
    assert send(lead, "POST", "topics/1/label", {"count": 3}).json() == {"tasks": 3}
    sent = LabelTask.objects.filter(reason__rule="topic")
    assert sorted(sent.values_list("inquiry__text", flat=True)) == [f"Text {k} of topic 1" for k in range(3)]
    assert set(sent.values_list("priority", flat=True)) == {1.0}
    assert waiting.pk in sent.values_list("pk", flat=True)
    audit.refresh_from_db()
    assert audit.priority == 0.2
    assert send(lead, "POST", "topics/1/label", {"count": 0}).status_code == 422


def test_a_category_is_made_of_a_topic_without_any_of_its_texts(project: Project, lead: Client) -> None:
    make_topic(project, 1, 2)
    answer = send(lead, "POST", "topics/1/category", {"key": "leaflets", "name": "Leaflets"})
    made = Category.objects.get(project=project, key="leaflets")
    assert (answer.status_code, made.examples, made.description) == (201, [], "")
    assert LabelTask.objects.filter(reason__rule="topic").count() == 2
    assert send(lead, "POST", "topics/1/category", {"key": "leaflets", "name": "Again"}).status_code == 409
    assert send(lead, "POST", "topics/1/category", {"key": "no spaces", "name": "x"}).status_code == 422


def test_a_lasso_sends_its_texts_and_none_of_another_project(
    project: Project, other_project: Project, lead: Client
) -> None:
    mine, foreign = make_topic(project, 1, 2), make_topic(other_project, 1, 2)
    ids = ",".join(str(m.pk) for t in (mine, foreign) for m in t.members.all())
    assert lead.post("/p/shop/topics/label", {"members": ids}).status_code == 302
    assert set(LabelTask.objects.values_list("project_id", flat=True)) == {project.pk}
    assert LabelTask.objects.count() == 2


def test_unchanged_points_cost_a_304_and_an_act_changes_them(project: Project, lead: Client) -> None:
    make_topic(project, 1, 2)
    make_topic(project, 2, 1)
    first = lead.get("/p/shop/topics/points")
    assert lead.get("/p/shop/topics/points", headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
    topic_acts.merge(project_id=project.pk, number=2, into=1, by=None)
    changed = lead.get("/p/shop/topics/points", headers={"If-None-Match": first.headers["ETag"]})
    assert changed.status_code == 200
    body = changed.content
    assert (body[:4], int.from_bytes(body[8:12], "little")) == (b"ENTM", 3)
    assert np.frombuffer(body, "<u2", 3, 24 + 3 * 8).tolist() == [1, 1, 1]


def test_points_keep_their_place_to_a_thousandth_of_the_map() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=500) * 7 + 3, rng.normal(size=500)
    body = topic_selectors.packed(np.arange(500) + 2**33, x, y, np.ones(500), np.zeros(500))
    px, py = (np.frombuffer(body, "<u2", 500, 24 + 500 * at) / 65535 for at in (4, 6))
    assert np.frombuffer(body, "<f8", 1, 16)[0] == 2**33
    assert px - px.mean() == pytest.approx((x - x.mean()) / np.ptp(x), abs=1e-3)
    assert py - py.mean() == pytest.approx((y - y.mean()) / np.ptp(x), abs=1e-3)
