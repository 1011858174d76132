"""What the desk asks for beyond next and answer: prefetch, skip, flag, escalate, undo, status."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from feedback.models import Membership, OutboxEvent, Project, Role, Status, User
from labeling import queue, services
from labeling.models import Annotation, Escalation, Flag, Label, LabelTask, Skip, Slot, SlotState, TaskKind, TaskState
from tests.browser.scene import close_case, inquire

Call = Callable[..., Any]


def open_task(
    project: Project, text: str, *, priority: float = 0.5, overlap: int = 1, kind: str = TaskKind.SELECTION
) -> LabelTask:
    return services.open_task(
        inquiry=inquire(project, text), kind=TaskKind(kind), overlap=overlap, priority=priority, reason={"rule": "random"},
        propensity=0.1 if kind == TaskKind.AUDIT else None,
    )  # fmt: skip


@pytest.fixture
def three(project: Project) -> list[LabelTask]:
    return [open_task(project, f"Inquiry {i}", priority=1.0 - i / 10) for i in range(3)]


@pytest.fixture
def call(client: Client) -> Call:
    """`call(annotator, "queue/next", {...})` posts as that person; returns the response."""

    def send(user: User, path: str, body: dict[str, Any] | None = None) -> Any:
        client.force_login(user)
        return client.post(f"/api/v1/{path}", body or {}, content_type="application/json")

    return send


def take(call: Call, user: User, **body: Any) -> dict[str, Any]:
    response = call(user, "queue/next", body)
    assert response.status_code == 200, response.content
    return dict(response.json())


def token_of(item: dict[str, Any]) -> dict[str, Any]:
    return {"token": item["lease"]["token"]}


def give(call: Call, user: User, item: dict[str, Any], category: str = "refund") -> Any:
    return call(user, f"tasks/{item['task']['id']}/annotations", {**token_of(item), "category": category})


class TestPrefetch:
    def test_it_reserves_the_item_after_the_one_in_hand(
        self, call: Call, annotator: User, three: list[LabelTask]
    ) -> None:
        first, after = take(call, annotator), take(call, annotator, prefetch=True)
        assert [first["task"]["id"], after["task"]["id"]] == [three[0].pk, three[1].pk]
        assert after["lease"]["expires_in"] <= queue.RESERVE_SECONDS < first["lease"]["expires_in"]

    def test_asking_again_gives_the_same_reservation(self, call: Call, annotator: User, three: list[LabelTask]) -> None:
        take(call, annotator)
        assert (
            take(call, annotator, prefetch=True)["lease"]["token"]
            == take(call, annotator, prefetch=True)["lease"]["token"]
        )

    def test_nobody_else_gets_a_reserved_item(
        self, call: Call, annotator: User, colleague: User, three: list[LabelTask]
    ) -> None:
        take(call, annotator)
        take(call, annotator, prefetch=True)
        assert take(call, colleague)["task"]["id"] == three[2].pk

    def test_answering_puts_the_reserved_item_in_hand(
        self, call: Call, annotator: User, three: list[LabelTask]
    ) -> None:
        first, after = take(call, annotator), take(call, annotator, prefetch=True)
        answered = give(call, annotator, first).json()
        assert answered["next"]["task"] == after["task"]["id"]
        assert answered["next"]["expires_in"] > queue.RESERVE_SECONDS
        assert take(call, annotator)["lease"]["token"] == after["lease"]["token"]

    def test_a_heartbeat_also_renews_the_reservation(self, call: Call, annotator: User, three: list[LabelTask]) -> None:
        first, after = take(call, annotator), take(call, annotator, prefetch=True)
        Slot.objects.filter(task=after["task"]["id"]).update(lease_expires_at="2020-01-01T00:00Z")
        assert call(annotator, f"tasks/{first['task']['id']}/heartbeat", token_of(first)).status_code == 200
        assert take(call, annotator, prefetch=True)["lease"]["token"] == after["lease"]["token"]

    def test_an_expired_reservation_goes_back_to_the_queue(
        self, call: Call, annotator: User, colleague: User, three: list[LabelTask]
    ) -> None:
        take(call, annotator)
        after = take(call, annotator, prefetch=True)
        Slot.objects.filter(task=after["task"]["id"]).update(lease_expires_at="2020-01-01T00:00Z")
        assert take(call, colleague)["task"]["id"] == after["task"]["id"]


class TestRelease:
    def test_a_page_that_is_opened_again_keeps_its_item(
        self, call: Call, annotator: User, three: list[LabelTask]
    ) -> None:
        before = take(call, annotator)
        take(call, annotator)  # the page was loaded anew, and the release of the closed one arrives late
        body = {**token_of(before), "known_until": before["lease"]["expires_at"]}
        assert call(annotator, f"tasks/{three[0].pk}/release", body).status_code == 409
        assert Slot.objects.get(task=three[0]).state == SlotState.LEASED

    def test_a_page_that_is_closed_gives_its_item_back(
        self, call: Call, annotator: User, three: list[LabelTask]
    ) -> None:
        item = take(call, annotator)
        body = {**token_of(item), "known_until": item["lease"]["expires_at"]}
        assert call(annotator, f"tasks/{three[0].pk}/release", body).status_code == 204
        assert Slot.objects.get(task=three[0]).state == SlotState.OPEN


class TestSkip:
    def test_a_skipped_item_does_not_come_back(
        self, call: Call, annotator: User, colleague: User, three: list[LabelTask]
    ) -> None:
        first = take(call, annotator)
        body = {**token_of(first), "reason": "unclear"}
        assert call(annotator, f"tasks/{three[0].pk}/skip", body).status_code == 200
        assert take(call, annotator)["task"]["id"] == three[1].pk
        assert take(call, colleague)["task"]["id"] == three[0].pk
        assert Skip.objects.get().reason == "unclear"

    def test_the_same_skip_twice_is_one(self, call: Call, annotator: User, three: list[LabelTask]) -> None:
        first = take(call, annotator)
        for _ in range(2):
            assert call(annotator, f"tasks/{three[0].pk}/skip", token_of(first)).status_code == 200
        assert Skip.objects.count() == 1

    def test_an_unknown_reason_is_refused(self, call: Call, annotator: User, three: list[LabelTask]) -> None:
        first = take(call, annotator)
        response = call(annotator, f"tasks/{three[0].pk}/skip", {**token_of(first), "reason": "bored"})
        assert response.status_code == 422
        assert response.json()["field"] == "reason"

    def test_an_answered_item_cannot_be_skipped(self, call: Call, annotator: User, three: list[LabelTask]) -> None:
        first = take(call, annotator)
        give(call, annotator, first)
        assert call(annotator, f"tasks/{three[0].pk}/skip", token_of(first)).status_code == 409


def test_a_flag_is_set_and_taken_back(call: Call, annotator: User, three: list[LabelTask]) -> None:
    take(call, annotator)
    call(annotator, f"tasks/{three[0].pk}/flag", {"on": True})
    call(annotator, f"tasks/{three[0].pk}/flag", {"on": True})
    assert Flag.objects.count() == 1
    assert take(call, annotator)["task"]["flagged"]
    call(annotator, f"tasks/{three[0].pk}/flag", {"on": False})
    assert Flag.objects.count() == 0


def test_an_escalated_item_waits_for_an_agent(call: Call, annotator: User, three: list[LabelTask]) -> None:
    first = take(call, annotator)
    body = {**token_of(first), "detail": "threatens to go to court"}
    assert call(annotator, f"tasks/{three[0].pk}/escalate", body).status_code == 201
    case = Escalation.objects.get()
    assert case.inquiry_id == three[0].inquiry_id
    assert case.reasons == [{"code": "annotator", "detail": "threatens to go to court"}]
    assert case.inquiry.status == Status.WAITING
    assert take(call, annotator)["task"]["id"] == three[1].pk


class TestUndo:
    def undo(self, call: Call, user: User, task: LabelTask) -> Any:
        return call(user, f"tasks/{task.pk}/undo")

    def test_it_withdraws_the_label_and_hands_the_item_back(
        self, call: Call, annotator: User, three: list[LabelTask]
    ) -> None:
        give(call, annotator, take(call, annotator))
        response = self.undo(call, annotator, three[0]).json()
        assert response["task"]["id"] == three[0].pk
        assert LabelTask.objects.get(pk=three[0].pk).state == TaskState.OPEN
        assert Label.objects.get().category is None
        assert OutboxEvent.objects.filter(kind="label.withdrawn").count() == 1
        assert give(call, annotator, response, "delivery").status_code == 201
        label = Label.objects.select_related("category").get()
        assert label.category is not None
        assert (label.category.key, label.revision) == ("delivery", 3)

    def test_what_was_in_hand_waits_behind_it(self, call: Call, annotator: User, three: list[LabelTask]) -> None:
        give(call, annotator, take(call, annotator))
        held = take(call, annotator)
        take(call, annotator, prefetch=True)
        undone = self.undo(call, annotator, three[0]).json()
        assert take(call, annotator)["lease"]["token"] == undone["lease"]["token"]
        assert take(call, annotator, prefetch=True)["lease"]["token"] == held["lease"]["token"]
        assert Slot.objects.filter(state=SlotState.OPEN).count() == 1

    def test_a_dispute_that_it_caused_is_over(
        self, call: Call, annotator: User, colleague: User, project: Project
    ) -> None:
        task = open_task(project, "Both", overlap=2)
        give(call, annotator, take(call, annotator))
        give(call, colleague, take(call, colleague), "delivery")
        assert LabelTask.objects.get(pk=task.pk).state == TaskState.DISPUTED
        self.undo(call, colleague, task)
        task.refresh_from_db()
        assert task.state == TaskState.OPEN
        assert Slot.objects.filter(task=task).count() == 2

    def test_it_is_refused_once_an_expert_looks_at_the_item(
        self, call: Call, annotator: User, colleague: User, expert: User, project: Project
    ) -> None:
        task = open_task(project, "Both", overlap=2)
        give(call, annotator, take(call, annotator))
        give(call, colleague, take(call, colleague), "delivery")
        take(call, expert)
        assert self.undo(call, colleague, task).status_code == 409
        assert Annotation.objects.count() == 2

    def test_an_expert_can_take_back_a_decision(
        self, call: Call, annotator: User, colleague: User, expert: User, project: Project
    ) -> None:
        task = open_task(project, "Both", overlap=2)
        give(call, annotator, take(call, annotator))
        give(call, colleague, take(call, colleague), "delivery")
        give(call, expert, take(call, expert), "fraud")
        self.undo(call, expert, task)
        task.refresh_from_db()
        assert (task.state, Label.objects.get().category) == (TaskState.DISPUTED, None)
        assert take(call, expert)["task"]["id"] == task.pk

    def test_the_eleventh_last_answer_stays(self, call: Call, annotator: User, project: Project) -> None:
        tasks = [open_task(project, f"Item {i}", priority=1 - i / 100) for i in range(11)]
        for _ in tasks:
            give(call, annotator, take(call, annotator))
        assert self.undo(call, annotator, tasks[0]).status_code == 409
        assert self.undo(call, annotator, tasks[1]).status_code == 200

    def test_a_skip_is_taken_back(self, call: Call, annotator: User, three: list[LabelTask]) -> None:
        first = take(call, annotator)
        call(annotator, f"tasks/{three[0].pk}/skip", token_of(first))
        assert self.undo(call, annotator, three[0]).json()["task"]["id"] == three[0].pk
        assert take(call, annotator)["task"]["id"] == three[0].pk

    def test_a_skip_is_taken_back_without_the_item_when_others_have_it(
        self, call: Call, annotator: User, colleague: User, three: list[LabelTask]
    ) -> None:
        call(annotator, f"tasks/{three[0].pk}/skip", token_of(take(call, annotator)))
        take(call, colleague)
        assert self.undo(call, annotator, three[0]).json()["lease"] is None

    def test_another_persons_answer_is_not_mine_to_undo(
        self, call: Call, annotator: User, colleague: User, three: list[LabelTask]
    ) -> None:
        give(call, annotator, take(call, annotator))
        assert self.undo(call, colleague, three[0]).status_code == 404
        assert Annotation.objects.count() == 1


class TestAgents:
    def test_what_an_agent_resolved_needs_no_annotator(
        self, call: Call, annotator: User, three: list[LabelTask]
    ) -> None:
        first = take(call, annotator)
        case = services.open_escalation(inquiry=three[0].inquiry, reasons=[], priority=1.0)
        close_case(case, annotator)
        assert LabelTask.objects.get(pk=three[0].pk).resolution == "agent"
        assert give(call, annotator, first).json()["extra"]

    def test_an_audit_task_still_has_to_be_answered_blind(self, call: Call, annotator: User, project: Project) -> None:
        task = open_task(project, "Drawn", kind=TaskKind.AUDIT)
        case = services.open_escalation(inquiry=task.inquiry, reasons=[], priority=1.0)
        close_case(case, annotator)
        assert take(call, annotator)["task"]["id"] == task.pk


def test_the_status_counts_the_persons_own_day(
    client: Client, call: Call, annotator: User, colleague: User, three: list[LabelTask]
) -> None:
    give(call, colleague, take(call, colleague))
    item = take(call, annotator)
    call(annotator, f"tasks/{item['task']['id']}/annotations", {**token_of(item), "category": "refund", "seconds": 4})
    client.force_login(annotator)
    status = client.get("/api/v1/queue/status").json()
    assert (status["today"], status["median_seconds"], status["waiting"]) == (1, 4.0, 1)
    assert [r["category"] for r in status["recent"]] == ["refund"]


def test_an_expert_sees_the_answers_without_names(
    call: Call, annotator: User, colleague: User, expert: User, project: Project
) -> None:
    open_task(project, "Both", overlap=2)
    give(call, annotator, take(call, annotator))
    give(call, colleague, take(call, colleague), "delivery")
    shown = take(call, expert, role="expert")["task"]
    assert {a["category"] for a in shown["answers"]} == {"refund", "delivery"}
    assert {a["letter"] for a in shown["answers"]} == {"A", "B"}
    assert "annotator" not in str(shown)


def test_an_annotator_cannot_ask_for_an_experts_items(call: Call, annotator: User) -> None:
    response = call(annotator, "queue/next", {"role": "expert"})
    assert response.status_code == 403
    assert "expert" in response.json()["detail"]


@pytest.mark.parametrize("path", ["skip", "flag", "escalate", "undo", "heartbeat", "release", "annotations"])
def test_a_task_of_another_project_does_not_exist(
    path: str, call: Call, outsider: User, three: list[LabelTask]
) -> None:
    body = {"token": str(uuid.uuid4()), "category": "refund"} if path == "annotations" else {"token": str(uuid.uuid4())}
    body = {"on": True} if path == "flag" else {} if path == "undo" else body
    assert call(outsider, f"tasks/{three[0].pk}/{path}", body).status_code == 404


def test_an_agent_without_a_labeling_role_cannot_skip(call: Call, project: Project, three: list[LabelTask]) -> None:
    agent = User.objects.create(username="agent")
    Membership.objects.create(user=agent, project=project, role=Role.AGENT)
    assert call(agent, f"tasks/{three[0].pk}/skip", {"token": str(uuid.uuid4())}).status_code == 403
