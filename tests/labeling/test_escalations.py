"""Cases: opened once, changed by one at a time, and never hidden for good."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.utils import timezone

from feedback.models import Membership, OutboxEvent, Project, Role, User
from feedback.problems import Problem
from labeling import case_batches, case_resolving, escalations, services
from labeling.case_batches import Act
from labeling.case_models import CaseEntry, CaseFinding, EntryKind, ServiceLevel
from labeling.escalations import Hand
from labeling.models import Escalation, Label, LabelTask, TaskKind
from tests.browser.scene import close_case, inquire
from tests.conftest import make_person

Open = Callable[..., Escalation]
IN_A_MONTH, YESTERDAY = timezone.now() + timedelta(days=30), timezone.now() - timedelta(days=1)


@pytest.fixture
def agent(project: Project) -> User:
    return make_person(project, "agent", Role.AGENT)


@pytest.fixture
def second(project: Project) -> User:
    return make_person(project, "second", Role.AGENT)


@pytest.fixture
def open_case(project: Project) -> Open:
    def make(*codes: str, text: str = "Help!", metadata: dict[str, Any] | None = None, **more: Any) -> Escalation:
        inquiry = inquire(project, text)
        inquiry.metadata = metadata or {}
        return services.open_escalation(inquiry=inquiry, reasons=[{"code": c} for c in codes], **more)

    return make


def hand(case: Escalation, agent: User) -> Hand:
    return Hand(case.project_id, case.pk, case.version, agent.pk)


def events(kind: str) -> list[dict[str, Any]]:
    return list(OutboxEvent.objects.filter(kind=kind).order_by("pk").values_list("payload", flat=True))


class TestPersonalData:
    CARD = "4111 1111 1111 1111"

    def test_a_note_is_kept_without_it(self, open_case: Open, agent: User) -> None:
        case = open_case()
        text = f"She wrote from jo@example.com, card {self.CARD}"
        entry = escalations.note(project_id=case.project_id, case_id=case.pk, agent_id=agent.pk, text=text)
        entry.refresh_from_db()
        assert entry.text == "She wrote from [email], card [card *1111]"

    def test_a_reply_reaches_the_customer_as_written_but_for_payment_numbers(
        self, open_case: Open, agent: User
    ) -> None:
        case = open_case()
        case_resolving.reply(hand(case, agent), text=f"Write to help@shop.example. Your card {self.CARD} was refunded.")
        case.refresh_from_db()
        assert case.reply_text == "Write to help@shop.example. Your card [card *1111] was refunded."

    def test_a_proposed_guideline_is_kept_without_it(self, open_case: Open, agent: User) -> None:
        close_case(open_case(), agent, guideline="Letters from jo@example.com are refunds.")
        assert CaseFinding.objects.get(kind="guideline").text == "Letters from [email] are refunds."


class TestOpening:
    def test_the_level_follows_risk_anger_and_whoever_asked(self, open_case: Open) -> None:
        cases = [open_case("high_risk"), open_case("angry", sentiment=-0.8), open_case("app"), open_case("unsure")]
        assert [c.level for c in cases] == ["urgent", "high", "normal", "low"]
        assert [c.high_risk for c in cases] == [True, False, False, False]

    def test_a_valuable_customer_comes_before_another_one(self, project: Project, open_case: Open) -> None:
        ServiceLevel.objects.create(project=project, value_key="tier", value_tiers={"gold": 1.0})
        plain, gold = open_case("app"), open_case("app", metadata={"tier": "Gold"})
        assert list(Escalation.objects.order_by("standing")) == [gold, plain]
        assert gold.level == "high"

    def test_a_second_call_adds_its_reasons_to_the_open_case(self, open_case: Open) -> None:
        case = open_case("angry")
        again = services.open_escalation(
            inquiry=case.inquiry, reasons=[{"code": "angry"}, {"code": "app", "detail": "x"}]
        )
        assert again.pk == case.pk
        assert [r["code"] for r in Escalation.objects.get().reasons] == ["angry", "app"]
        assert len(events("escalation.opened")) == 1

    def test_opening_is_announced_with_ids_and_no_text(self, open_case: Open) -> None:
        case = open_case("high_risk", text="My very own secret")
        assert events("escalation.opened") == [
            {"escalation": case.pk, "inquiry": str(case.inquiry_id), "level": "urgent", "reasons": ["high_risk"]}
        ]

    def test_the_clocks_follow_the_projects_hours(self, project: Project, open_case: Open) -> None:
        weekdays = ["09:00–17:00"] * 5 + ["", ""]
        ServiceLevel.objects.create(project=project, hours=weekdays, zone="Europe/Berlin")
        with time_machine.travel("2026-05-01T16:50:00+02:00", tick=False):  # a Friday
            case = open_case("high_risk")
        assert case.first_due_at.isoformat() == "2026-05-04T07:20:00+00:00"  # Monday 9:20 in Berlin
        assert case.next_due_at == case.first_due_at

    def test_new_hours_move_the_clocks_of_open_cases(self, project: Project, open_case: Open, agent: User) -> None:
        case, done = open_case("app"), open_case("app")
        close_case(done, agent)
        before = case.first_due_at
        ServiceLevel.objects.create(project=project, targets={"normal": [5, 10]})
        assert escalations.reset_clocks(project_id=project.pk) == 1
        case.refresh_from_db()
        assert case.first_due_at < before


class TestHands:
    def test_the_second_of_two_agents_is_told_who_was_first(self, open_case: Open, agent: User, second: User) -> None:
        case = open_case("angry")
        mine, theirs = hand(case, agent), hand(case, second)
        escalations.assign(mine, to_id=agent.pk)
        with pytest.raises(Problem) as refused:
            escalations.assign(theirs, to_id=second.pk)
        assert (refused.value.status, refused.value.kind) == (409, "case-changed")
        assert refused.value.detail.startswith("agent has changed")
        case.refresh_from_db()
        assert case.assignee == agent

    def test_only_those_who_may_work_on_cases_get_one(self, open_case: Open, agent: User, annotator: User) -> None:
        with pytest.raises(Problem) as refused:
            escalations.assign(hand(open_case("app"), agent), to_id=annotator.pk)
        assert refused.value.field == "assignee"

    def test_a_snoozed_case_is_back_by_itself(self, open_case: Open, agent: User) -> None:
        from labeling.case_lists import View, in_view

        case = open_case("app")
        escalations.snooze(hand(case, agent), until=timezone.now() + timedelta(hours=1))
        ids = lambda view: [c.pk for c in in_view(case.project_id, agent.pk, view)]  # noqa: E731
        assert (ids(View.OPEN), ids(View.SNOOZED)) == ([], [case.pk])
        with time_machine.travel(timezone.now() + timedelta(hours=1, seconds=1)):
            assert (ids(View.OPEN), ids(View.SNOOZED)) == ([case.pk], [])

    @pytest.mark.parametrize("hours", [-1, 0, 24 * 91])
    def test_a_snooze_has_an_end_in_the_near_future(self, hours: int, open_case: Open, agent: User) -> None:
        with pytest.raises(Problem) as refused:
            escalations.snooze(hand(open_case("app"), agent), until=timezone.now() + timedelta(hours=hours))
        assert refused.value.field == "until"

    def test_a_level_moves_the_case_and_its_clocks(self, open_case: Open, agent: User) -> None:
        first, case = open_case("angry"), open_case("app")
        due = case.first_due_at
        case = escalations.set_level(hand(case, agent), level="urgent")
        assert list(Escalation.objects.order_by("standing")) == [case, first]
        assert case.first_due_at < due
        assert case.entries.get().data == {"from": "normal", "to": "urgent"}

    def test_a_note_is_taken_also_when_the_case_is_closed(self, open_case: Open, agent: User) -> None:
        case = close_case(open_case("app"), agent)
        escalations.note(project_id=case.project_id, case_id=case.pk, agent_id=agent.pk, text="They called again.")
        assert case.entries.last().text == "They called again."
        with pytest.raises(Problem):
            escalations.note(project_id=case.project_id, case_id=case.pk, agent_id=agent.pk, text="  ")

    def test_who_looks_is_seen_by_others_and_soon_forgotten(self, open_case: Open, agent: User, second: User) -> None:
        case = open_case("app")
        assert escalations.look_at(case=case, user_id=agent.pk) == []
        assert escalations.look_at(case=case, user_id=second.pk) == [agent]
        with time_machine.travel(timezone.now() + escalations.VIEWING * 2):
            assert escalations.look_at(case=case, user_id=second.pk) == []

    def test_a_case_of_another_project_does_not_exist(
        self, open_case: Open, outsider: User, other_project: Project
    ) -> None:
        case = open_case("app")
        foreign = Hand(other_project.pk, case.pk, case.version, outsider.pk)
        for act in (
            lambda: escalations.assign(foreign, to_id=None),
            lambda: escalations.set_level(foreign, level="low"),
            lambda: case_resolving.reply(foreign, text="Hello"),
            lambda: case_resolving.resolve(foreign, how=case_resolving.Resolution(category="refund", reply="Hello")),
            lambda: escalations.note(project_id=other_project.pk, case_id=case.pk, agent_id=outsider.pk, text="x"),
        ):
            with pytest.raises(Problem) as refused:
                act()
            assert refused.value.status == 404


class TestResolving:
    def test_a_resolution_is_a_label_a_reply_and_events(self, open_case: Open, agent: User) -> None:
        case = close_case(open_case("angry"), agent, reply="We are sorry.")
        entry = case.entries.get(kind=EntryKind.REPLY)
        assert (case.state, case.outcome, case.reply_text, case.assignee) == (
            "resolved",
            "answered",
            "We are sorry.",
            agent,
        )
        assert (Label.objects.get().category.key, Label.objects.get().source) == ("refund", "agent")
        common = {"escalation": case.pk, "inquiry": str(case.inquiry_id), "category": "refund", "outcome": "answered"}
        assert events("escalation.resolved") == [common | {"entry": entry.pk}]
        assert events("inquiry.resolved") == [{"inquiry": str(case.inquiry_id)}]
        assert len(events("label.resolved")) == 1
        assert "sorry" not in str(list(OutboxEvent.objects.values_list("payload", flat=True)))

    def test_only_one_of_two_resolutions_counts(self, open_case: Open, agent: User, second: User) -> None:
        case = open_case("angry")
        stale = hand(case, second)
        close_case(case, agent, reply="First.")
        with pytest.raises(Problem) as refused:
            case_resolving.resolve(stale, how=case_resolving.Resolution(category="fraud", reply="Second."))
        assert refused.value.kind == "case-resolved"
        assert [e.text for e in CaseEntry.objects.filter(kind=EntryKind.REPLY)] == ["First."]
        assert len(events("escalation.resolved")) == len(events("inquiry.resolved")) == 1

    @pytest.mark.parametrize(
        ("how", "field"),
        [({"category": "nothing"}, "category"), ({"reply": " "}, "reply"), ({"outcome": "won"}, "outcome"),
         ({"reply": "Dear {customer}"}, "reply"), ({"guideline": "\x00"}, "guideline"), ({"reply": "x" * 9000}, "reply")],
    )  # fmt: skip
    def test_a_resolution_that_does_not_fit_changes_nothing(
        self, how: dict[str, Any], field: str, open_case: Open, agent: User
    ) -> None:
        case = open_case("app")
        given = {"category": "refund", "reply": "Done.", **how}
        with pytest.raises(Problem) as refused:
            case_resolving.resolve(hand(case, agent), how=case_resolving.Resolution(**given))
        assert (refused.value.status, refused.value.field) == (422, field)
        case.refresh_from_db()
        assert (case.state, case.version) == ("open", 1)
        assert not CaseEntry.objects.exists()

    def test_no_reply_is_needed_where_the_outcome_says_so(self, open_case: Open, agent: User) -> None:
        case = close_case(open_case("app"), agent, reply="", outcome="no_reply")
        assert (case.outcome, case.reply_text, case.first_response_at) == ("no_reply", "", None)
        assert events("escalation.resolved")[0]["entry"] is None

    def test_a_better_reply_than_the_automatic_one_is_a_preference(
        self, project: Project, open_case: Open, agent: User
    ) -> None:
        from feedback.services import add_reply

        refund = project.categories.get(key="refund")
        automatic = add_reply(category_id=refund.pk, locale="en", text="Wait.")
        case = open_case("angry")
        case.inquiry.__class__.objects.filter(pk=case.inquiry_id).update(category=refund, reply=automatic)
        close_case(case, agent, reply="The money is on its way.")
        pair = CaseFinding.objects.get()
        assert (pair.entry.text, pair.rejected) == ("The money is on its way.", automatic)
        assert (
            events("reply.preferred")[0] | {"rejected": automatic.pk, "entry": pair.entry_id}
            == events("reply.preferred")[0]
        )

    def test_the_automatic_reply_itself_prefers_nothing(self, project: Project, open_case: Open, agent: User) -> None:
        from feedback.services import add_reply

        refund = project.categories.get(key="refund")
        automatic = add_reply(category_id=refund.pk, locale="en", text="Wait.")
        case = open_case("angry")
        case.inquiry.__class__.objects.filter(pk=case.inquiry_id).update(category=refund, reply=automatic)
        close_case(case, agent, reply="Wait. ")
        assert not CaseFinding.objects.exists()

    def test_a_guideline_and_a_bad_version_flow_back(self, open_case: Open, agent: User) -> None:
        case = close_case(open_case("app"), agent, guideline="Name the carrier.", block_model=True)
        assert set(CaseFinding.objects.values_list("kind", flat=True)) == {"guideline", "blocked"}
        assert events("guideline.proposed")[0]["category"] == "refund"
        assert events("model.blocked")[0]["inquiry"] == str(case.inquiry_id)

    def test_an_open_label_task_is_settled_but_an_audit_task_is_not(
        self, project: Project, open_case: Open, agent: User
    ) -> None:
        asked, drawn = open_case("app"), open_case("app")
        for case, kind in ((asked, TaskKind.SELECTION), (drawn, TaskKind.AUDIT)):
            chance = 0.1 if kind == TaskKind.AUDIT else None
            services.open_task(inquiry=case.inquiry, kind=kind, overlap=1, priority=1, reason={}, propensity=chance)
            close_case(case, agent)
        assert dict(LabelTask.objects.values_list("kind", "state")) == {"selection": "resolved", "audit": "open"}

    def test_a_reply_stops_the_first_clock_and_keeps_the_case_open(self, open_case: Open, agent: User) -> None:
        case = open_case("angry")
        assert case.next_due_at == case.first_due_at
        case = case_resolving.reply(hand(case, agent), text="We are looking into it.")
        assert (case.state, case.next_due_at) == ("open", case.resolve_due_at)
        first = case.first_response_at
        case = case_resolving.reply(hand(case, agent), text="Found it.")
        assert case.first_response_at == first
        assert [e["entry"] for e in events("escalation.replied")] == [e.pk for e in case.entries.order_by("pk")]


class TestBatches:
    def versions(self, *cases: Escalation) -> dict[int, int]:
        return {c.pk: c.version for c in cases}

    def test_a_batch_changes_what_nobody_has_touched_and_names_the_rest(
        self, project: Project, open_case: Open, agent: User, second: User
    ) -> None:
        one, two, touched = open_case("app"), open_case("app"), open_case("app")
        seen = self.versions(one, two, touched)
        escalations.assign(hand(touched, second), to_id=second.pk)
        done = case_batches.act_on(project_id=project.pk, agent_id=agent.pk, versions=seen, act=Act("assign"))
        assert (done.changed, done.left_alone) == ([one.pk, two.pk], [touched.pk])
        assert [c.assignee for c in Escalation.objects.order_by("pk")] == [agent, agent, second]

    @pytest.mark.parametrize("act", [Act("assign"), Act("level", level="urgent"), Act("snooze", until=IN_A_MONTH)])
    def test_taking_back_restores_every_field(self, act: Act, project: Project, open_case: Open, agent: User) -> None:
        case = open_case("app")
        before = Escalation.objects.values().get()
        done = case_batches.act_on(project_id=project.pk, agent_id=agent.pk, versions=self.versions(case), act=act)
        assert Escalation.objects.values().get() | {"version": 1} != before
        assert case_batches.undo(project_id=project.pk, agent_id=agent.pk, batch_id=done.batch.pk) == ([case.pk], [])
        assert Escalation.objects.values().get() | {"version": 1} == before
        with pytest.raises(Problem, match="already"):
            case_batches.undo(project_id=project.pk, agent_id=agent.pk, batch_id=done.batch.pk)

    def test_what_somebody_has_touched_since_is_not_taken_back(
        self, project: Project, open_case: Open, agent: User, second: User
    ) -> None:
        case = open_case("app")
        done = case_batches.act_on(
            project_id=project.pk, agent_id=agent.pk, versions=self.versions(case), act=Act("assign")
        )
        case.refresh_from_db()
        escalations.assign(hand(case, second), to_id=second.pk)
        assert case_batches.undo(project_id=project.pk, agent_id=agent.pk, batch_id=done.batch.pk) == ([], [case.pk])
        case.refresh_from_db()
        assert case.assignee == second

    @pytest.mark.parametrize("act", [Act("level", level="extreme"), Act("resolve"), Act("snooze", until=YESTERDAY)])
    def test_a_wrong_value_changes_nothing(self, act: Act, project: Project, open_case: Open, agent: User) -> None:
        case = open_case("app")
        with pytest.raises(Problem) as refused:
            case_batches.act_on(project_id=project.pk, agent_id=agent.pk, versions=self.versions(case), act=act)
        assert refused.value.status == 422
        case.refresh_from_db()
        assert case.version == 1

    def test_only_whoever_did_it_takes_it_back(
        self, project: Project, open_case: Open, agent: User, second: User
    ) -> None:
        case = open_case("app")
        done = case_batches.act_on(
            project_id=project.pk, agent_id=agent.pk, versions=self.versions(case), act=Act("assign")
        )
        with pytest.raises(Problem) as refused:
            case_batches.undo(project_id=project.pk, agent_id=second.pk, batch_id=done.batch.pk)
        assert refused.value.status == 404


@pytest.mark.django_db(transaction=True)
def test_of_many_agents_at_once_exactly_one_resolves() -> None:
    from feedback.services import create_project

    project = create_project(slug="race", name="Race", categories=[{"key": "refund", "name": "Refund"}])
    agents = [User.objects.create(username=f"agent{i}") for i in range(4)]
    for a in agents:
        Membership.objects.create(user=a, project=project, role=Role.AGENT)
    case = services.open_escalation(inquiry=inquire(project, "Help!"), reasons=[{"code": "app"}])
    barrier, results = threading.Barrier(4), []

    def run(agent: User) -> None:
        try:
            barrier.wait()
            case_resolving.resolve(
                hand(case, agent), how=case_resolving.Resolution(category="refund", reply=agent.username)
            )
            results.append("resolved")
        except Problem as problem:
            results.append(problem.kind)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(a,)) for a in agents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["case-resolved"] * 3 + ["resolved"]
    assert len(events("escalation.resolved")) == len(events("inquiry.resolved")) == 1
    assert CaseEntry.objects.filter(kind=EntryKind.REPLY).count() == 1
