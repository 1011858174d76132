"""A draft waits for an agent, becomes a reply only where one sends it, and keeps what was made of it."""

from __future__ import annotations

import pytest
from django.test import Client

from feedback.models import Project, Role, User
from feedback.problems import Problem
from labeling import case_resolving, drafts, services
from labeling.case_resolving import Resolution
from labeling.escalations import Hand
from labeling.models import Draft, DraftState, Escalation
from tests.browser.scene import inquire
from tests.conftest import make_person

pytestmark = pytest.mark.django_db
TEXT = "Your money is on its way back."


@pytest.fixture
def agent(project: Project, client: Client) -> User:
    person = make_person(project, "agent", Role.AGENT)
    client.force_login(person)
    return person


@pytest.fixture
def case(project: Project) -> Escalation:
    return services.open_escalation(inquiry=inquire(project, "Help!"), reasons=[{"code": "app"}])


def propose(case: Escalation, text: str = TEXT) -> Draft | None:
    return drafts.propose(project_id=case.project_id, case_id=case.pk, text=text, source="d1")


def test_a_draft_changes_nothing_of_its_case_and_is_proposed_once(case: Escalation) -> None:
    assert propose(case) is not None
    assert propose(case, "Another one.") is None
    case.refresh_from_db()
    assert (case.version, case.reply_text, case.entries.count()) == (1, "", 0)
    assert not drafts.without_one(project_id=case.project_id).exists()


@pytest.mark.parametrize(
    ("sent", "state"),
    [(TEXT, DraftState.APPROVED), ("Your money is on its way back to you.", DraftState.EDITED), ("No.", DraftState.REPLACED)],
)  # fmt: skip
def test_what_an_agent_sends_says_what_became_of_the_draft(
    sent: str, state: str, case: Escalation, agent: User
) -> None:
    propose(case)
    hand = Hand(case.project_id, case.pk, 1, agent.pk)
    case_resolving.resolve(hand, how=Resolution(category="refund", reply=sent))
    draft = Draft.objects.get()
    assert (draft.state, draft.decided_by, draft.sent.text) == (state, agent, sent)


def test_only_the_first_reply_judges_a_draft(case: Escalation, agent: User) -> None:
    propose(case)
    case_resolving.reply(Hand(case.project_id, case.pk, 1, agent.pk), text=TEXT)
    case_resolving.resolve(Hand(case.project_id, case.pk, 2, agent.pk), how=Resolution(category="refund", reply="Bye."))
    assert Draft.objects.get().state == DraftState.APPROVED


def test_a_case_that_was_answered_gets_no_draft(case: Escalation, agent: User) -> None:
    case_resolving.reply(Hand(case.project_id, case.pk, 1, agent.pk), text="We look into it.")
    assert propose(case) is None


def test_a_text_that_cannot_be_sent_is_never_shown_and_not_asked_for_again(
    case: Escalation, agent: User, client: Client
) -> None:
    propose(case, "  ")
    assert Draft.objects.get().state == DraftState.NONE
    assert not drafts.without_one(project_id=case.project_id).exists()
    assert "draft-title" not in client.get(f"/p/shop/cases/{case.pk}").content.decode()


def test_personal_data_in_a_draft_is_masked(case: Escalation) -> None:
    propose(case, "Write to kim@example.com.")
    assert Draft.objects.get().text == "Write to [email]."


def test_the_page_offers_the_draft_beside_the_form_and_sends_nothing_of_it(
    case: Escalation, agent: User, client: Client
) -> None:
    propose(case)
    page = client.get(f"/p/shop/cases/{case.pk}").content.decode()
    assert f'data-macro="{TEXT}"' in page
    assert f"{TEXT}</textarea>" not in page


def test_an_agent_dismisses_a_draft_once(case: Escalation, agent: User, client: Client) -> None:
    propose(case)
    assert client.post(f"/p/shop/cases/{case.pk}/draft/dismiss", {"version": 1}).status_code == 302
    assert Draft.objects.get().state == DraftState.DISMISSED
    assert client.post(f"/p/shop/cases/{case.pk}/draft/dismiss", {"version": 1}).status_code == 409
    assert "draft-title" not in client.get(f"/p/shop/cases/{case.pk}").content.decode()


def test_a_draft_of_another_project_is_not_there(case: Escalation, agent: User) -> None:
    propose(case)
    with pytest.raises(Problem) as refused:
        drafts.dismiss(project_id=case.project_id + 1, case_id=case.pk, agent_id=agent.pk)
    assert refused.value.status == 404
    assert Draft.objects.get().state == DraftState.WAITING


def test_an_annotator_sees_no_draft(case: Escalation, project: Project, client: Client) -> None:
    propose(case)
    client.force_login(make_person(project, "annotator", Role.ANNOTATOR))
    assert client.post(f"/p/shop/cases/{case.pk}/draft/dismiss", {"version": 1}).status_code == 403
