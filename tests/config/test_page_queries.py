"""The pages with lists ask the database as often for twenty rows as for three."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from feedback import keys
from feedback.models import ClientApp, Job, Membership, Notice, Project, Role, User, Webhook
from feedback.services import add_reply
from labeling import escalations, services
from labeling.escalations import Hand
from labeling.models import LabelTask
from serving.models import ModelVersion, Stage
from tests.browser import drift_scene, scene

MOST = 40  # of any page, whatever it shows: sessions, roles and the bar included


def cases(shop: Project, people: dict[str, User], n: int) -> None:
    for i in range(n):
        inquiry = scene.inquire(shop, f"Case {i} of {n}", shares={"refund": 0.5, "delivery": 0.3})
        case = services.open_escalation(inquiry=inquiry, reasons=[{"code": "angry", "detail": ""}], priority=0.5)
        escalations.assign(Hand(shop.pk, case.pk, 1, people["lead"].pk), to_id=people["lead"].pk)


def proposals(shop: Project, people: dict[str, User], n: int) -> None:
    for i in range(n):
        inquiry = scene.inquire(shop, f"Proposal {i} of {n}", shares={"refund": 0.5})
        case = services.open_escalation(inquiry=inquiry, reasons=[{"code": "angry"}])
        scene.close_case(case, people["lead"], "fraud", "Done.", guideline=f"Rule {i} of {n}.")


def members(shop: Project, people: dict[str, User], n: int) -> None:
    for i in range(n):
        somebody = User.objects.create_user(f"somebody-{i}-{n}")
        for role in (Role.ANNOTATOR, Role.EXPERT):
            Membership.objects.create(project=shop, user=somebody, role=role)


def categories(shop: Project, people: dict[str, User], n: int) -> None:
    rows = [{"key": f"c-{i}-{n}", "name": f"Category {i} of {n}", "description": ""} for i in range(n)]
    scene.services_add(project_id=shop.pk, categories=rows)


def replies(shop: Project, people: dict[str, User], n: int) -> None:
    for i in range(n):
        add_reply(
            category_id=scene.category(shop, "refund").pk, locale="en", slot=100 * n + i, text=f"Reply {i} of {n}"
        )


def app_keys(shop: Project, people: dict[str, User], n: int) -> None:
    for i in range(n):
        app = ClientApp.objects.create(project=shop, name=f"app-{i}-{n}")
        keys.create_key(app=app, scopes=["labels:read"])


def notices(shop: Project, people: dict[str, User], n: int) -> None:
    hook, _ = Webhook.objects.get_or_create(project=shop, url="https://hooks.hanabi.example", kinds=["label.resolved"])
    for i in range(n):
        Notice.objects.create(
            webhook=hook, event=f"e-{i}-{n}", kind="label.resolved", body="{}", due_at=timezone.now(), state="dead"
        )  # fmt: skip


def answers(shop: Project, people: dict[str, User], n: int) -> None:
    first = LabelTask.objects.count()
    for i in range(n):
        text = f"Item {first + i}"
        task = scene.ask(shop, text, "en", "refund", "delivery", priority=9.0)
        scene.answer(task, people["lead"], "refund")
        scene.answer(task, people["colleague"], "refund")


def jobs(shop: Project, people: dict[str, User], n: int) -> None:
    for _ in range(n):
        Job.objects.create(kind="import_labels", project=shop, state="done", progress=1.0)


def versions(shop: Project, people: dict[str, User], n: int) -> None:
    parent = None
    first = ModelVersion.objects.count()
    for i in range(n):
        parent = ModelVersion.objects.create(
            project=shop, number=first + i + 1, encoder_sha="e" * 64, manifest_sha="d" * 64, kind="linear", parent=parent,
            stage=Stage.REJECTED, lineage={"labels": 5, "data": "a" * 64}, metrics={}, gates=[],
        )  # fmt: skip


def checks(shop: Project, people: dict[str, User], n: int) -> None:
    drift_scene.grow(shop, n)


def projects(shop: Project, people: dict[str, User], n: int) -> None:
    for i in range(n):
        other = Project.objects.create(slug=f"p-{i}-{n}", name=f"Project {i} of {n}")
        Membership.objects.create(user=people["lead"], project=other, role=Role.LEAD)


def topics(shop: Project, people: dict[str, User], n: int) -> None:
    scene.make_topics(shop, people["lead"], topics=n)


Grow = Callable[[Project, "dict[str, User]", int], None]
LISTS: dict[str, tuple[str, Grow]] = {
    "cases": ("/p/shop/cases", cases),
    "proposals": ("/p/shop/proposals", proposals),
    "people": ("/p/shop/people", members),
    "categories": ("/p/shop/categories", categories),
    "category": ("/p/shop/categories/FIRST", replies),
    "replies": ("/p/shop/replies", replies),
    "keys": ("/p/shop/keys", app_keys),
    "webhooks": ("/p/shop/webhooks", notices),
    "quality": ("/p/shop/quality", answers),
    "my-work": ("/p/shop/my-work", answers),
    "audit": ("/p/shop/audit", answers),
    "exchange": ("/p/shop/exchange", jobs),
    "loop": ("/p/shop/loop", versions),
    "drift": ("/p/shop/drift", checks),
    "models": ("/p/shop/models", versions),
    "models-compare": ("/p/shop/models/compare", versions),
    "topics": ("/p/shop/topics", topics),
    "topic": ("/p/shop/topics/1", topics),
    "projects": ("/projects", projects),
}


def queries(client: Client, path: str) -> list[str]:
    client.get(path)  # what is read once and kept, such as category names, is not the page's own
    with CaptureQueriesContext(connection) as seen:
        assert client.get(path).status_code == 200
    return [q["sql"] for q in seen.captured_queries]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", list(LISTS))
def test_a_list_of_twenty_costs_no_more_queries_than_one_of_three(name: str) -> None:
    path, grow = LISTS[name]
    shop = scene.make_shop()
    people = scene.make_people(shop)
    path = path.replace("FIRST", str(scene.category(shop, "refund").pk))
    client = Client()
    client.force_login(people["lead"])
    grow(shop, people, 3)
    few = queries(client, path)
    grow(shop, people, 17)
    many = queries(client, path)
    assert len(many) <= len(few), "\n".join(q for q in many if q not in few)
    assert len(many) <= MOST
