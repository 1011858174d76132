"""The console's pages without a browser: what a form may send, hours and targets, and what flows to leads."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.utils import translation

from feedback.models import Category, Project, Role, User
from feedback.services import add_reply
from labeling import services
from labeling.case_forms import macros_for, pauses
from labeling.case_models import CaseFinding, ServiceLevel
from labeling.escalation import Calendar, parse_hours
from labeling.hours import ServiceLevelForm
from labeling.models import Escalation
from tests.browser.scene import close_case, inquire
from tests.conftest import make_person


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    with translation.override("en"):
        yield


@pytest.fixture
def lead(project: Project, client: Client) -> User:
    person = make_person(project, "lead", Role.LEAD)
    client.force_login(person)
    return person


@pytest.fixture
def agent(project: Project, client: Client) -> User:
    person = make_person(project, "agent", Role.AGENT)
    client.force_login(person)
    return person


@pytest.fixture
def case(project: Project) -> Escalation:
    return services.open_escalation(inquiry=inquire(project, "Help!"), reasons=[{"code": "app"}])


def test_an_agent_cannot_take_a_model_out_of_service(client: Client, agent: User, case: Escalation) -> None:
    body = {"version": 1, "category": "refund", "outcome": "answered", "reply": "Done.", "block_model": "on"}
    assert client.post(f"/p/shop/cases/{case.pk}/resolve", body).status_code == 403
    case.refresh_from_db()
    assert case.state == "open"


@pytest.mark.parametrize(
    ("action", "body"),
    [("snooze", {"until": "never"}), ("priority", {"level": "extreme"}), ("note", {"text": " "}), ("assign", {"version": "x"}),
     ("assign", {"version": "9" * 40}), ("resolve", {"version": "-1", "category": "refund", "reply": "x", "outcome": "answered"})],
)  # fmt: skip
def test_whatever_a_form_sends_is_an_answer_and_no_error(
    action: str, body: dict[str, Any], client: Client, agent: User, case: Escalation
) -> None:
    response = client.post(f"/p/shop/cases/{case.pk}/{action}", {"version": 1, **body})
    assert response.status_code in (302, 409, 422)
    case.refresh_from_db()
    assert (case.state, case.assignee, case.level) == ("open", None, "normal")


@pytest.mark.parametrize(
    "query", ["view=nothing", "page=0", "page=-1", "page=x", "batch=x", "batch=99", "page=999999999999"]
)
def test_a_strange_address_shows_the_console(query: str, client: Client, agent: User, case: Escalation) -> None:
    assert client.get(f"/p/shop/cases?{query}").status_code == 200


@pytest.mark.parametrize(
    "body", [{}, {"act": "assign"}, {"act": "x", "case": "1:1"}, {"act": "assign", "case": ["a:b", "1"]}]
)
def test_a_batch_of_nothing_changes_nothing(
    body: dict[str, Any], client: Client, agent: User, case: Escalation
) -> None:
    page = client.post("/p/shop/cases/batch", body, follow=True).content.decode()
    assert "Choose the cases" in page


def test_unchanged_counts_cost_a_304(client: Client, agent: User, case: Escalation) -> None:
    for path in ("views", f"{case.pk}/presence?version=1"):
        first = client.get(f"/p/shop/cases/{path}")
        again = client.get(f"/p/shop/cases/{path}", headers={"If-None-Match": first.headers["ETag"]})
        assert (first.status_code, again.status_code, again.content) == (200, 304, b"")


def test_macros_of_the_customers_language_and_category_come_first_with_their_gaps_filled(
    project: Project, agent: User, case: Escalation, client: Client
) -> None:
    from labeling.access import Visitor

    keys = {c.key: c for c in Category.objects.filter(project=project)}
    for key, locale in (("delivery", "en"), ("refund", "ja"), ("refund", "en")):
        add_reply(category_id=keys[key].pk, locale=locale, text=f"{key} {locale} {{customer}} {{order}} {{unknown}}")
    inquiry = case.inquiry
    inquiry.category, inquiry.metadata, inquiry.customer = keys["refund"], {"order": 77, "customer": "forged"}, "c-1"
    found = macros_for(case, Visitor(agent, project, frozenset({Role.AGENT})))
    assert [m.text for m in found] == [
        "refund en c-1 77 {unknown}", "refund ja c-1 77 {unknown}", "delivery en c-1 77 {unknown}",
    ]  # fmt: skip


def test_a_morning_begins_when_the_desk_opens() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    calendar = Calendar(berlin, (*[parse_hours("08:30-17:00")] * 5, (), ()))
    friday = datetime(2026, 10, 23, 12, tzinfo=UTC)
    moments = {p.key: p.until.astimezone(berlin).isoformat() for p in pauses(calendar, friday)}
    assert (
        moments["tomorrow"] == moments["monday"] == "2026-10-26T08:30:00+01:00"
    )  # over the weekend and the change of the clock
    always = Calendar(berlin, (((0, 1440),),) * 7)
    assert {p.key: p.until.astimezone(berlin).hour for p in pauses(always, friday)}["tomorrow"] == 9


class TestHours:
    def filled(self, **changes: Any) -> dict[str, Any]:
        return ServiceLevelForm.of(ServiceLevel()).initial | {"zone": "Asia/Tokyo"} | changes

    def test_saving_moves_the_clocks_of_open_cases(self, client: Client, lead: User, case: Escalation) -> None:
        client.post(
            "/p/shop/cases/hours",
            self.filled(normal_first=5, holidays="2027-01-01\n2027-01-01", value_tiers="Gold = 0.8"),
        )
        row = ServiceLevel.objects.get()
        assert (row.zone, row.minutes("normal")[0], len(row.holidays), row.value_tiers) == (
            "Asia/Tokyo",
            5,
            1,
            {"gold": 0.8},
        )
        before = case.first_due_at
        case.refresh_from_db()
        assert case.first_due_at < before

    @pytest.mark.parametrize(
        ("name", "value"),
        [("zone", "Mars/Base"), ("day0", "9 to 5"), ("day1", "18:00-09:00"), ("holidays", "1 May"), ("urgent_first", 0),
         ("urgent_last", 1), ("value_tiers", "gold"), ("value_tiers", "gold = 7"), ("alert_emails", "nobody")],
    )  # fmt: skip
    def test_a_fault_names_its_field_and_saves_nothing(
        self, name: str, value: Any, client: Client, lead: User, project: Project
    ) -> None:
        response = client.post("/p/shop/cases/hours", self.filled(**{name: value}))
        assert response.status_code == 422
        assert f'id="fault-{name}"' in response.content.decode()
        assert not ServiceLevel.objects.exists()

    def test_a_desk_that_never_opens_is_refused(self, client: Client, lead: User, project: Project) -> None:
        closed = self.filled(**{f"day{i}": "" for i in range(7)})
        assert client.post("/p/shop/cases/hours", closed).status_code == 422


class TestProposals:
    def test_what_an_agent_proposes_becomes_the_guideline_once(
        self, client: Client, lead: User, case: Escalation, project: Project
    ) -> None:
        close_case(case, lead, guideline="Name the carrier.")
        found = CaseFinding.objects.get()
        assert "Name the carrier." in client.get("/p/shop/proposals").content.decode()
        for _ in range(2):
            client.post(f"/p/shop/proposals/{found.pk}", {"act": "accept"})
        assert project.categories.get(key="refund").guideline == "Name the carrier."

    def test_a_dismissed_one_changes_nothing(
        self, client: Client, lead: User, case: Escalation, project: Project
    ) -> None:
        close_case(case, lead, guideline="Nonsense.")
        client.post(f"/p/shop/proposals/{CaseFinding.objects.get().pk}", {"act": "dismiss"})
        assert project.categories.get(key="refund").guideline == ""
        assert "Nonsense." not in client.get("/p/shop/proposals").content.decode()
