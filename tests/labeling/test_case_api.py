"""Cases over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from feedback.models import Project, Role, User
from labeling import services
from labeling.models import Escalation
from tests.browser.scene import close_case, inquire
from tests.conftest import make_key, make_person

Call = Callable[..., Any]
BODIES: dict[str, dict[str, Any]] = {
    "assign": {}, "snooze": {"until": None}, "priority": {"level": "high"}, "reply": {"text": "We are on it."},
    "resolve": {"category": "refund", "reply": "Done."},
}  # fmt: skip


@pytest.fixture
def agent(project: Project) -> User:
    return make_person(project, "agent", Role.AGENT)


@pytest.fixture
def case(project: Project) -> Escalation:
    return services.open_escalation(inquiry=inquire(project, "A secret of mine"), reasons=[{"code": "app"}])


@pytest.fixture
def call(client: Client) -> Call:
    def send(user: User, path: str, body: dict[str, Any] | None = None) -> Any:
        client.force_login(user)
        if body is None:
            return client.get(f"/api/v1/{path}")
        return client.post(f"/api/v1/{path}", body, content_type="application/json")

    return send


def test_the_most_urgent_case_comes_first_and_pages_follow_without_gaps(
    project: Project, agent: User, call: Call
) -> None:
    codes = ["app", "high_risk", "unsure", "angry", "app"]
    cases = [
        services.open_escalation(inquiry=inquire(project, f"{i}"), reasons=[{"code": c}]) for i, c in enumerate(codes)
    ]
    seen: list[int] = []
    cursor = ""
    while cursor is not None:
        page = call(agent, f"escalations?limit=2&cursor={cursor}").json()
        seen += [c["id"] for c in page["escalations"]]
        cursor = page["next"]
    assert seen == [cases[i].pk for i in (1, 3, 0, 4, 2)]


def test_a_resolved_case_is_listed_with_its_outcome(case: Escalation, agent: User, call: Call) -> None:
    close_case(case, agent)
    (found,) = call(agent, "escalations?state=resolved").json()["escalations"]
    assert (found["outcome"], found["category"], found["reply"]) == ("answered", "refund", "Done.")
    assert call(agent, "escalations").json()["escalations"] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [("state=closed", "state"), ("level=extreme", "level"), ("limit=0", "limit"), ("limit=1e3", "limit"), ("cursor=xx", "cursor"),
     ("cursor=bm90fGE=", "cursor")],
)  # fmt: skip
def test_a_wrong_query_names_its_field(query: str, field: str, agent: User, call: Call) -> None:
    response = call(agent, f"escalations?{query}")
    assert (response.status_code, response.json()["field"]) == (422, field)


@pytest.mark.parametrize("action", list(BODIES))
def test_an_action_answers_with_the_case_and_a_stale_one_with_409(
    action: str, case: Escalation, agent: User, call: Call
) -> None:
    path, body = f"escalations/{case.pk}/{action}", BODIES[action] | {"version": case.version}
    first = call(agent, path, body)
    assert first.status_code in (200, 201)
    assert first.json()["version"] == case.version + 1
    second = call(agent, path, body)
    assert second.status_code == 409
    assert second["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("action", [*BODIES, "note"])
def test_an_action_is_for_agents_of_the_project_alone(
    action: str, case: Escalation, annotator: User, outsider: User, project: Project, call: Call, client: Client
) -> None:
    path, body = f"escalations/{case.pk}/{action}", BODIES.get(action, {"text": "x"}) | {"version": 1}
    assert call(annotator, path, body).status_code == 403
    assert call(outsider, path, body).status_code == 404
    client.logout()
    headers = {"Authorization": f"Api-Key {make_key(project)}"}
    assert client.post(f"/api/v1/{path}", body, content_type="application/json", headers=headers).status_code == 403
    case.refresh_from_db()
    assert case.version == 1


def test_a_case_goes_to_a_named_agent_and_back_to_nobody(
    case: Escalation, agent: User, annotator: User, call: Call
) -> None:
    path = f"escalations/{case.pk}/assign"
    assert call(agent, path, {"version": 1, "assignee": "annotator"}).json()["field"] == "assignee"
    assert call(agent, path, {"version": 1, "assignee": "nobody-here"}).json()["field"] == "assignee"
    assert call(agent, path, {"version": 1, "assignee": "agent"}).json()["assignee"] == "agent"
    assert call(agent, path, {"version": 2, "assignee": None}).json()["assignee"] is None


def test_an_unknown_field_is_an_error(case: Escalation, agent: User, call: Call) -> None:
    response = call(agent, f"escalations/{case.pk}/snooze", {"version": 1, "until": None, "unitl": 3})
    assert (response.status_code, response.json()["field"]) == (422, "unitl")


def test_an_app_reads_the_reply_but_no_note(
    case: Escalation, agent: User, call: Call, client: Client, project: Project, other_project: Project
) -> None:
    call(agent, f"escalations/{case.pk}/note", {"text": "Careful, knows the boss."})
    call(agent, f"escalations/{case.pk}/reply", {"version": 1, "text": "We are on it."})
    assert len(call(agent, f"escalations/{case.pk}").json()["entries"]) == 2
    client.logout()
    read = lambda p, path: client.get(f"/api/v1/{path}", headers={"Authorization": f"Api-Key {make_key(p)}"})  # noqa: E731
    own = read(project, f"escalations/{case.pk}").json()
    assert ([e["text"] for e in own["entries"]], own["reply"]) == (["We are on it."], "We are on it.")
    assert read(other_project, f"escalations/{case.pk}").status_code == 404
    assert read(project, f"inquiries/{case.inquiry_id}").json()["reply"] == {"id": None, "text": "We are on it."}


def test_an_annotator_does_not_see_the_list(annotator: User, case: Escalation, call: Call) -> None:
    assert call(annotator, "escalations").status_code == 403
