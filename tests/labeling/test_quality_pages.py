"""What people see of their own work, and leads of everybody's: pages and endpoints."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from feedback.models import Category, Project, Role, User
from labeling import services
from labeling.models import Annotation, LabelTask, Qualification, Slot, TaskKind
from tests.browser.scene import inquire
from tests.conftest import make_person
from tests.labeling.test_queue import add_task, answer, claim

pytestmark = pytest.mark.django_db


@pytest.fixture
def lead(project: Project) -> User:
    return make_person(project, "lead", Role.LEAD)


@pytest.fixture
def answered(project: Project, annotator: User, colleague: User) -> LabelTask:
    task = add_task(project, "Where is my parcel?", overlap=2)
    for person in (annotator, colleague):
        answer(project, person, claim(project, person), "delivery")
    return task


def call(client: Client, user: User, method: str, path: str, body: Any = None) -> Any:
    client.force_login(user)
    return getattr(client, method)(f"/api/v1/{path}", body, content_type="application/json")


def test_a_person_pages_through_their_own_answers(client: Client, project: Project, annotator: User) -> None:
    for n in range(3):
        add_task(project, f"text {n}")
        answer(project, annotator, claim(project, annotator))
    first = call(client, annotator, "get", "queue/history?limit=2").json()
    rest = call(client, annotator, "get", f"queue/history?limit=2&before={first['next']}").json()
    assert [a["text"] for a in first["answers"] + rest["answers"]] == ["text 2", "text 1", "text 0"]
    assert rest["next"] is None


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "before=-1", "limit=9999"])
def test_a_page_that_cannot_be_is_refused_naming_the_field(
    client: Client, project: Project, annotator: User, query: str
) -> None:
    response = call(client, annotator, "get", f"queue/history?{query}")
    assert (response.status_code, response.json()["field"]) == (422, query.split("=")[0])


def test_statistics_count_answers_skips_and_times_and_undo_takes_them_out(
    client: Client, project: Project, annotator: User
) -> None:
    for n in range(2):
        add_task(project, f"text {n}")
    lease = claim(project, annotator)
    call(
        client,
        annotator,
        "post",
        f"tasks/{lease.task_id}/annotations",
        {"token": str(lease.token), "category": "refund", "seconds": 4},
    )
    other = claim(project, annotator)
    call(client, annotator, "post", f"tasks/{other.task_id}/skip", {"token": str(other.token)})
    found = call(client, annotator, "get", "queue/statistics").json()
    assert (found["answers"], found["skips"], found["median_seconds"]) == (1, 1, 4)
    for task in (lease.task_id, other.task_id):
        call(client, annotator, "post", f"tasks/{task}/undo", {})
    found = call(client, annotator, "get", "queue/statistics").json()
    assert (found["answers"], found["skips"]) == (0, 0)


def test_a_lead_takes_back_what_one_person_holds(
    client: Client, project: Project, annotator: User, colleague: User, lead: User
) -> None:
    for n in range(2):
        add_task(project, f"text {n}")
    mine, theirs = claim(project, annotator), claim(project, colleague)
    response = call(client, lead, "post", "queue/clear-leases", {"project": "shop", "person": "annotator"})
    assert response.json() == {"cleared": 1}
    assert answer(project, annotator, mine).extra
    assert not answer(project, colleague, theirs).extra


def test_only_a_lead_or_admin_may(client: Client, project: Project, annotator: User, outsider: User) -> None:
    assert call(client, annotator, "post", "queue/clear-leases", {"project": "shop"}).status_code == 403
    assert call(client, outsider, "post", "queue/clear-leases", {"project": "shop"}).status_code == 404
    client.force_login(annotator)
    assert client.get("/p/shop/quality").status_code == 403
    assert client.post("/p/shop/quality/clear-leases").status_code == 403


def test_agreement_says_why_it_knows_nothing_and_what_the_policy_waits_for(
    client: Client, project: Project, annotator: User
) -> None:
    found = call(client, annotator, "get", "agreement").json()
    assert found["kappa"] is None
    assert found["why"] == found["fleiss"]["why"] == "No item was labeled by two people."
    assert found["policy"] == {"band": "disagreements", "batch": None, "doubles": 0, "missing": 50}


def test_agreement_names_people_by_number_only(
    client: Client, project: Project, annotator: User, answered: LabelTask
) -> None:
    response = call(client, annotator, "get", "agreement")
    assert response.json()["pairs"][0]["annotators"] == [1, 2]
    assert b"colleague" not in response.content
    assert response.json()["policy"]["missing"] == 49


def test_a_settled_task_becomes_a_known_item_and_nothing_sent_to_an_annotator_tells_it_apart(
    client: Client, project: Project, lead: User, answered: LabelTask
) -> None:
    Project.objects.update(gold_rate=1.0)
    assert call(client, lead, "post", "gold", {"project": "shop", "task": answered.pk}).status_code == 200
    third = make_person(project, "third", Role.ANNOTATOR)
    known = call(client, third, "post", "queue/next", {}).json()
    assert (known["task"]["id"], known["task"]["state"]) == (answered.pk, "open")
    Project.objects.update(gold_rate=0.0)
    add_task(project, "an open one")
    fourth = make_person(project, "fourth", Role.ANNOTATOR)
    usual = call(client, fourth, "post", "queue/next", {}).json()
    assert known["task"].keys() == usual["task"].keys()
    assert known["lease"].keys() == usual["lease"].keys()
    body = {"token": known["lease"]["token"], "category": "fraud"}
    given = call(client, third, "post", f"tasks/{answered.pk}/annotations", body).json()
    assert given["extra"] is False
    assert Annotation.objects.get(annotator=third).right is False
    people = call(client, lead, "get", "reliability?project=shop").json()["annotators"]
    assert [(p["person"], p["right"], p["total"]) for p in people if p["category"] is None] == [("third", 0, 1)]


def test_an_open_task_cannot_be_a_known_item(client: Client, project: Project, lead: User) -> None:
    task = add_task(project)
    response = call(client, lead, "post", "gold", {"project": "shop", "task": task.pk})
    assert (response.status_code, response.json()["field"]) == (422, "task")


def test_a_lead_says_who_may_label_what(client: Client, project: Project, annotator: User, lead: User) -> None:
    body = {"project": "shop", "person": "annotator", "languages": ["ja"], "categories": ["fraud"]}
    assert call(client, lead, "put", "qualifications", body).json()["categories"] == ["fraud"]
    assert Qualification.objects.get().languages == ["ja"]
    bad = call(client, lead, "put", "qualifications", {**body, "categories": ["unknown"]})
    assert (bad.status_code, bad.json()["field"]) == (422, "categories")
    assert call(client, lead, "get", "qualifications?project=shop").json()["qualifications"][0]["languages"] == ["ja"]


def test_a_restricted_category_makes_a_lane_of_its_own(project: Project) -> None:
    fraud = Category.objects.get(project=project, key="fraud")
    Category.objects.filter(pk=fraud.pk).update(restricted=True, overlap=3)
    task = services.open_task(
        inquiry=inquire(project, "My card!", locale="ja-JP"), kind=TaskKind.SELECTION, overlap=1, priority=0.5, reason={},
        suggestion_id=fraud.pk,
    )  # fmt: skip
    slots = Slot.objects.filter(task=task)
    assert {(s.skill, s.language, s.overlap) for s in slots} == {(fraud.pk, "ja", 3)}
    assert slots.count() == 3


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_pages_show_what_is_there(
    client: Client, project: Project, annotator: User, lead: User, answered: LabelTask, language: str
) -> None:
    client.cookies["django_language"] = language
    client.force_login(annotator)
    mine = client.get("/p/shop/my-work")
    assert mine.status_code == 200
    assert "Where is my parcel?" in mine.content.decode()
    add_task(project, "another")
    claim(project, annotator)
    client.force_login(lead)
    seen = client.get("/p/shop/quality").content.decode()
    assert "annotator" in seen
    assert "NaN" not in seen
    assert client.post("/p/shop/quality/clear-leases").status_code == 302
    assert not Slot.objects.filter(state="leased").exists()
