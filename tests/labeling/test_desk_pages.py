"""The desk's and the console's pages: who may open them, and what they say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.utils import translation

from feedback.models import Membership, Project, Role, User
from labeling import services
from labeling.models import Escalation, Slot, TaskKind
from labeling.wording import case_reasons, why
from tests.browser.scene import inquire

pytestmark = pytest.mark.django_db
ALLOWED = {
    "/p/shop/label": {Role.ANNOTATOR},
    "/p/shop/adjudicate": {Role.EXPERT},
    "/p/shop/cases": {Role.AGENT, Role.LEAD, Role.ADMIN},
    "/p/shop/loop": set(Role.values),
}


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    """A request leaves its language behind in the thread; tests begin in English."""
    with translation.override("en"):
        yield


@pytest.mark.parametrize("path", list(ALLOWED))
@pytest.mark.parametrize("role", Role.values)
def test_a_page_opens_for_its_roles_and_names_them_to_others(
    path: str, role: str, client: Client, project: Project
) -> None:
    person = User.objects.create(username="somebody")
    Membership.objects.create(user=person, project=project, role=role)
    client.force_login(person)
    response = client.get(path)
    if role in ALLOWED[path]:
        assert response.status_code == 200
    else:
        assert response.status_code == 403
        assert any(str(Role(r).label) in response.content.decode() for r in ALLOWED[path])


@pytest.mark.parametrize("path", [*ALLOWED, "/p/shop/"])
def test_a_project_of_others_looks_like_none(path: str, client: Client, project: Project, outsider: User) -> None:
    client.force_login(outsider)
    foreign, missing = client.get(path), client.get(path.replace("shop", "no-such-project"))
    assert foreign.status_code == missing.status_code
    assert foreign.status_code in (404, 302)
    assert "Shop" not in foreign.content.decode()


def test_opening_the_desk_takes_nothing_from_the_queue(client: Client, annotator: User, project: Project) -> None:
    services.open_task(inquiry=inquire(project, "?"), kind=TaskKind.SELECTION, overlap=1, priority=1, reason={})
    client.force_login(annotator)
    client.get("/p/shop/label")
    assert not Slot.objects.exclude(state="open").exists()


def test_categories_stand_on_the_desk_in_the_readers_language(
    client: Client, annotator: User, project: Project
) -> None:
    project.categories.filter(key="refund").update(names={"ja": "返金"})
    client.force_login(annotator)
    client.cookies["django_language"] = "ja"
    page = client.get("/p/shop/label").content.decode()
    data = json.loads(re.search(r'id="categories-data"[^>]*>(.*?)</script>', page, re.S)[1])  # type: ignore[index]
    assert data[0]["name"] == "返金"


class TestWhy:
    names = {"refund": "Refund", "delivery": "Delivery"}

    def of(self, reason: Any, kind: str = TaskKind.SELECTION) -> Any:
        return why(kind, reason, self.names)

    def test_it_names_no_category_before_the_suggestion_was_asked_for(self) -> None:
        reason = {
            "rule": "margin",
            "between": [{"category": "refund", "share": 0.48}, {"category": "delivery", "share": 0.46}],
        }
        words = self.of(reason)
        assert "48\u00a0%" in words.blind
        assert "Refund" not in words.blind
        assert words.seen == "The model wavers: 48\u00a0% Refund, 46\u00a0% Delivery."

    @pytest.mark.parametrize(
        "reason",
        [{}, {"rule": "margin"}, {"rule": "margin", "between": [{}]}, {"rule": "margin", "between": "?"}, [], None, "text",
         {"rule": "margin", "between": [{"category": "a", "share": "x"}, {"category": "b", "share": 1}]}],
    )  # fmt: skip
    def test_malformed_reasons_still_give_a_sentence(self, reason: Any) -> None:
        assert self.of(reason).blind.endswith(".")

    def test_an_unknown_rule_is_named(self) -> None:
        assert "submodular" in self.of({"rule": "submodular"}).blind

    def test_the_default_strategy_is_told_as_what_it_does(self) -> None:
        assert self.of({"rule": "default"}) == self.of({"rule": "herding"})
        assert "rule" not in self.of({"rule": "default"}).blind

    def test_an_audit_task_tells_nothing_of_the_model(self) -> None:
        words = self.of({"rule": "margin", "between": [{"category": "refund", "share": 0.9}] * 2}, kind=TaskKind.AUDIT)
        assert "Refund" not in words.seen
        assert "90" not in words.seen

    def test_it_speaks_japanese(self) -> None:
        with translation.override("ja"):
            assert "無作為" in self.of({"rule": "random"}).blind


def test_reasons_of_a_case_are_sentences_and_unknown_ones_stay_readable() -> None:
    given = [
        {"code": "angry", "detail": "x"},
        {"code": "app", "detail": "asked twice"},
        {"code": "new-code"},
        "junk",
        {},
    ]
    assert case_reasons(given) == [
        "The customer sounds angry",
        "The app asks for a person: asked twice",
        "new-code",
        "No reason given",
    ]
    assert case_reasons(None) == []


class TestConsole:
    @pytest.fixture
    def agent(self, project: Project, client: Client) -> User:
        person = User.objects.create(username="agent")
        Membership.objects.create(user=person, project=project, role=Role.AGENT)
        client.force_login(person)
        return person

    @pytest.fixture
    def case(self, project: Project) -> Escalation:
        return services.open_escalation(inquiry=inquire(project, "Help!"), reasons=[{"code": "angry"}], priority=0.9)

    def test_a_case_of_another_project_does_not_exist(
        self, agent: User, client: Client, other_project: Project
    ) -> None:
        foreign = services.open_escalation(inquiry=inquire(other_project, "Secret"), reasons=[], priority=1)
        for path in (f"cases/{foreign.pk}", f"inquiries/{foreign.inquiry_id}/decision"):
            assert client.get(f"/p/shop/{path}").status_code == 404
        for path in ("resolve", "assign", "snooze", "priority", "note"):
            assert client.post(f"/p/shop/cases/{foreign.pk}/{path}").status_code == 404

    def test_a_case_is_taken_and_given_back(self, agent: User, client: Client, case: Escalation) -> None:
        for owner, to in ((agent, ""), (None, "nobody")):
            client.post(f"/p/shop/cases/{case.pk}/assign", {"version": case.version, "to": to})
            case.refresh_from_db()
            assert case.assignee == owner

    def test_only_the_pane_comes_when_the_list_is_there(self, agent: User, client: Client, case: Escalation) -> None:
        whole = client.get(f"/p/shop/cases/{case.pk}").content.decode()
        pane = client.get(f"/p/shop/cases/{case.pk}", headers={"HX-Target": "case"}).content.decode()
        assert "<html" in whole
        assert "<html" not in pane
        assert "Help!" in pane

    def test_views_hold_what_they_say(self, agent: User, client: Client, case: Escalation) -> None:
        def listed(view: str) -> int:
            return client.get(f"/p/shop/cases?view={view}").content.decode().count("row-link")

        assert {v: listed(v) for v in ("open", "mine", "unassigned", "high-risk")} == {
            "open": 1, "mine": 0, "unassigned": 1, "high-risk": 0,
        }  # fmt: skip
        client.post(f"/p/shop/cases/{case.pk}/assign", {"version": case.version})
        assert (listed("mine"), listed("unassigned")) == (1, 0)

    def test_an_empty_console_says_when_a_case_comes(self, agent: User, client: Client) -> None:
        assert "A case is opened when" in client.get("/p/shop/cases").content.decode()
