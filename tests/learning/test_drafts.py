"""The whole path of a draft: preferences → adapter → gates → graph → a draft that an agent sees, and a customer only once sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from feedback import jobs
from feedback.erasure import inquiries_of
from feedback.models import Inquiry, Job, JobState, Project, Role
from feedback.services import NewInquiry, add_reply, record_inquiry
from labeling import case_resolving, comparing, drafts, services
from labeling.case_resolving import Resolution
from labeling.escalations import Hand
from labeling.models import Draft, DraftState, Escalation
from learning import draft_material, draft_tuning
from learning.core.language import base as bases
from learning.core.language.export import ADAPTER
from learning.core.language.tuning import State
from learning.draft_tasks import schedule_drafts
from learning.erasure import erase_customer
from serving import language
from serving.drafter import TEMPLATES
from serving.models import LanguageVersion
from tests.conftest import make_person
from tests.learning.core.language.tiny import save_tiny

pytestmark = [
    pytest.mark.django_db, pytest.mark.skipif(bases.missing() is not None, reason=str(bases.missing())),
]  # fmt: skip
CURT, FULL = "See the help page.", "Your money is on its way back."
KNOBS = {"epochs": 6, "learning_rate": 1e-2, "rank": 8, "batch": 8, "limit": 128}
PROMPT = "Inquiry: {inquiry}\nReply:"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("base"))


def inquire(project: Project, n: int) -> Inquiry:
    new = NewInquiry(
        text=f"I want my money back, {n}", request_sha=b"0" * 32, external_id=f"q{n}", customer=f"c{n}", locale="en"
    )
    refund = project.categories.get(key="refund").pk
    return record_inquiry(
        project_id=project.pk, app_id=None, new=new, status="resolved", category_id=refund, reply_id=None
    )


@pytest.fixture
def compared(project: Project) -> Project:
    """A shop whose annotator found one of two replies better each time: 80 inquiries that train, 32 that judge."""
    refund = project.categories.get(key="refund")
    curt = add_reply(category_id=refund.pk, locale="en", text=CURT)
    full = add_reply(category_id=refund.pk, locale="en", text=FULL, slot=2)
    judge, left = make_person(project, "judge", Role.ANNOTATOR), {False: 80, True: 32}
    n = 0
    while any(left.values()):
        inquiry, n = inquire(project, n), n + 1
        if left[draft_material.judges(inquiry.pk)]:
            left[draft_material.judges(inquiry.pk)] -= 1
            wanted = comparing.Wanted(inquiry.pk, (curt.pk, full.pk), 0.5, {})
            comparing.open_comparisons(project_id=project.pk, wanted=[wanted], overlap=1)
    while lease := comparing.claim(project_id=project.pk, annotator_id=judge.pk, seconds=600):
        seen = comparing.payload(comparison_id=lease.task_id, annotator_id=judge.pk)
        comparing.answer(
            project_id=project.pk, comparison_id=lease.task_id, annotator_id=judge.pk, token=lease.token,
            said="a" if seen["a"]["text"] == FULL else "b",
        )  # fmt: skip
    language.add_template(project_id=project.pk, text=PROMPT)
    return project


def tune(project: Project, base: Path | str, **params: object) -> Job:
    job = jobs.enqueue(kind="tune_drafts", project_id=project.pk, params={"base": str(base), **KNOBS, **params})
    jobs.run(job.pk)
    job.refresh_from_db()
    return job


def write(project: Project) -> Job:
    job = jobs.enqueue(kind="draft_replies", project_id=project.pk)
    jobs.run(job.pk)
    job.refresh_from_db()
    assert job.state == JobState.DONE, job.errors
    return job


def open_case(project: Project, n: int) -> Escalation:
    return services.open_escalation(inquiry=inquire(project, n), reasons=[{"code": "app"}])


def test_preferences_end_in_a_draft_that_an_agent_approves_before_the_customer_sees_it(
    compared: Project, base: Path, client
) -> None:
    job = tune(compared, base)
    assert job.state == JobState.DONE, job.errors
    version = LanguageVersion.objects.get()
    assert job.result["state"] == "promoted", version.gates
    assert {g["name"] for g in version.gates} == {
        "preferences it has not seen", "replies that people liked", "parity", "drafts that end",
    }  # fmt: skip
    assert {ADAPTER, TEMPLATES} <= language.open_bundle(version).manifest["files"].keys()
    assert version.lineage["templates"][0]["text"] == PROMPT
    case, agent = open_case(compared, 9000), make_person(compared, "agent", Role.AGENT)
    assert schedule_drafts() == 1
    assert write(compared).result == {"drafts": 1, "version": 1}
    draft = Draft.objects.get()
    assert (draft.text, draft.source, draft.state) == (FULL, "d1", DraftState.WAITING)
    case.refresh_from_db()
    assert (case.reply_text, case.entries.count(), case.inquiry.reply) == ("", 0, None)
    client.force_login(agent)
    page = client.get(f"/p/{compared.slug}/cases/{case.pk}").content.decode()
    assert FULL in page
    client.post(
        f"/p/{compared.slug}/cases/{case.pk}/resolve",
        {"version": case.version, "category": "refund", "outcome": "answered", "reply": draft.text},
    )
    case.refresh_from_db()
    draft.refresh_from_db()
    assert (case.state, case.reply_text, draft.state, draft.decided_by) == (
        "resolved",
        FULL,
        DraftState.APPROVED,
        agent,
    )
    assert schedule_drafts() == 0
    # An erased customer's words leave with the version that read them.
    trained = next(i for i in compared.inquiries.order_by("pk") if str(i.pk) in version.lineage["inquiries"])
    jobs.run(erase_customer(project_id=compared.pk, customer=trained.customer).pk)
    assert not inquiries_of(project_id=compared.pk, customer=trained.customer).exists()
    version.refresh_from_db()
    assert (version.stage, bool(version.barred)) == ("archived", True)
    assert language.in_production(project_id=compared.pk) is None


class Killed(Exception): ...


def test_a_killed_tuning_goes_on_and_what_has_learned_nothing_is_rejected_with_its_reason(
    compared: Project, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []

    def tuned(model, rows, config, *, state, keep, report):
        begun.append(0 if state is None else state.step)

        def keep_and_die(kept: State) -> None:
            keep(kept)
            if len(begun) == 1:
                raise Killed

        return tune_really(model, rows, config, state=state, keep=keep_and_die, report=report)

    tune_really = draft_tuning.tune
    monkeypatch.setattr(draft_tuning, "tune", tuned)
    job = tune(compared, base, epochs=1, keep_every=4, learning_rate=1e-12)
    assert (job.state, job.attempt) == (JobState.FAILED, 1)
    jobs.run(job.pk)
    job.refresh_from_db()
    assert (job.state, begun) == (JobState.DONE, [0, 4])
    version = LanguageVersion.objects.get()
    assert (job.result["state"], version.stage) == ("rejected", "rejected")
    assert job.result["why"]
    open_case(compared, 9000)
    assert schedule_drafts() == 0


def test_without_a_base_or_anything_to_learn_from_the_job_says_what_is_missing(
    project: Project, base: Path, settings
) -> None:
    def complaint(base: Path | str, **params: object) -> str:
        job = tune(project, base, **params)
        jobs.cancel(job.pk)  # else the next one would join it
        return str(job.errors[0])

    settings.ENSO_LANGUAGE_MODEL = ""
    assert "base: name the directory" in complaint("")
    assert "config.json is missing" in complaint(base.parent / "none")
    assert "nothing to learn from" in complaint(base)
    assert "method: 'ppo'" in complaint(base, method="ppo")
    assert not LanguageVersion.objects.exists()


def test_what_agents_do_with_drafts_is_learned_from_and_names_are_masked(project: Project) -> None:
    agent = make_person(project, "agent", Role.AGENT)
    sent = ["It is on its way.", "It is on its way to you.", "Write to kim@example.com, please."]
    for n, text in enumerate(sent):
        case = open_case(project, n)
        drafts.propose(project_id=project.pk, case_id=case.pk, text=sent[0], source="d1")
        how = Resolution(category="refund", reply=text)
        case_resolving.resolve(Hand(project.pk, case.pk, case.version, agent.pk), how=how)
    dismissed = open_case(project, 9)
    drafts.propose(project_id=project.pk, case_id=dismissed.pk, text="No.", source="d1")
    drafts.dismiss(project_id=project.pk, case_id=dismissed.pk, agent_id=agent.pk)
    found = draft_material.collect(project_id=project.pk)
    assert {(a, b) for _, a, b, _ in found.pairs} == {(sent[1], sent[0]), ("Write to [email], please.", sent[0])}
    assert {(text, liked) for _, text, liked, _ in found.opinions} >= {(sent[0], True), ("No.", False)}
    assert "kim" not in str(found)
