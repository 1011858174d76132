"""A reply policy on trial: who gets it, what ends it, and what everybody has afterwards."""

from __future__ import annotations

import uuid
from datetime import timedelta

import numpy as np
import pytest
from django.utils import timezone

from feedback.models import Category, Event, Inquiry, Reply
from feedback.problems import Problem
from feedback.services import add_reply
from labeling.services import open_escalation
from learning.core.preference.policy import ReplyPolicy, policy_graph
from serving import policies, policy_trials
from serving.artifacts import write_bundle
from serving.models import PolicyStage, PolicyTrial, PolicyVersion, ReplyShown, RolloutSettings
from serving.policy import GRAPH, KIND
from tests.browser.scene import inquire

pytestmark = pytest.mark.django_db
SHA = "e" * 64


@pytest.fixture
def replies(project) -> list[Reply]:
    category = Category.objects.get(project=project, key="refund")
    return [add_reply(category_id=category.pk, locale="en", text=f"Reply {n}", slot=n) for n in (1, 2)]


@pytest.fixture
def version(project, replies, settings):
    """`version(1.0)` registers a policy that prefers the first reply by this score."""

    def make(lead: float) -> PolicyVersion:
        graph = policy_graph(ReplyPolicy(np.zeros((3, 2), np.float32), np.array([lead, 0.0], np.float32)))
        meta = {
            "kind": KIND, "replies": [r.pk for r in replies], "encoder_sha256": SHA, "temperature": 1.0,
            "exploration": 0.1, "preprocessing": {}, "parent": None,
        }  # fmt: skip
        bundle = write_bundle(settings.ENSO_ARTIFACTS, {GRAPH: graph}, meta)
        return policies.register(project_id=project.pk, bundle=bundle, encoder_sha=SHA, gates=[])

    return make


@pytest.fixture
def trial(project, version) -> PolicyTrial:
    RolloutSettings.objects.create(project=project, mode="stepwise", minimum_per_arm=20)
    assert policy_trials.release(version_id=version(1.0).pk)  # nothing chose before: nothing to compare with
    assert not policy_trials.release(version_id=version(-1.0).pk)
    found = PolicyTrial.objects.get()
    PolicyTrial.objects.update(started_at=timezone.now() - timedelta(days=2))
    return found


def show(trial: PolicyTrial, arm: PolicyVersion, replies, n: int, *, down: int = 0, escalated: int = 0) -> None:
    for i in range(n):
        inquiry = inquire(trial.project, f"{arm.number} {i} {uuid.uuid4()}", waiting=False)
        Inquiry.objects.filter(pk=inquiry.pk).update(customer=f"{arm.number}-{uuid.uuid4()}")
        ReplyShown.objects.create(inquiry=inquiry, policy=arm, reply=replies[0], propensity=0.5, candidates={})
        if i < down:
            now = timezone.now()
            Event.objects.create(
                project=trial.project, inquiry_id=inquiry.pk, kind="thumbs", value=-1, weight=1, occurred_at=now,
                received_at=now,
            )  # fmt: skip
        if i < escalated:
            open_escalation(inquiry=inquiry, reasons=[{"code": "app", "detail": ""}])


def look(trial: PolicyTrial) -> str:
    return policy_trials.look(trial_id=trial.pk, now=timezone.now() + timedelta(minutes=2))


def test_a_policy_is_tried_on_a_tenth_of_the_customers_and_each_keeps_their_arm(project, trial) -> None:
    shelf = policies.shelf(project.pk, None)
    units = [f"customer {n}" for n in range(4000)]
    arms = {u: shelf.policy_for(SHA, u)[0] for u in units}
    share = sum(v == trial.candidate_id for v in arms.values()) / len(units)
    assert share == pytest.approx(0.1, abs=3 * (0.09 / len(units)) ** 0.5)
    assert {u: shelf.policy_for(SHA, u)[0] for u in units} == arms
    assert shelf.policy_for(SHA, "")[0] == trial.control_id


def test_whoever_has_the_candidate_keeps_it_when_more_customers_get_it(project, trial) -> None:
    units = [f"customer {n}" for n in range(500)]
    before = policies.shelf(project.pk, None)
    PolicyTrial.objects.update(step=1)
    after = policies.shelf(project.pk, before)
    had = [u for u in units if before.policy_for(SHA, u)[0] == trial.candidate_id]
    assert had
    assert all(after.policy_for(SHA, u)[0] == trial.candidate_id for u in had)


def test_without_harm_it_goes_from_step_to_step_and_then_chooses_for_everybody(trial, replies) -> None:
    states = []
    for _ in range(2):
        show(trial, trial.candidate, replies, 25, down=3)
        show(trial, trial.control, replies, 30, down=5)
        assert look(trial) == "advance"
        trial.refresh_from_db()
        states.append((trial.state, trial.course.percent))
        PolicyTrial.objects.update(looked_until=timezone.now() - timedelta(minutes=1))
        ReplyShown.objects.update(shown_at=timezone.now() - timedelta(days=1))
    assert states == [("running", 50), ("completed", 100)]
    trial.candidate.refresh_from_db()
    trial.control.refresh_from_db()
    assert (trial.candidate.stage, trial.control.stage) == (PolicyStage.PRODUCTION, PolicyStage.ARCHIVED)
    assert len(trial.history) == 2
    assert look(trial) == "over"


@pytest.mark.parametrize("harm", ["down", "escalated"])
def test_harm_ends_the_trial_and_the_version_says_why(harm, trial, replies) -> None:
    show(trial, trial.candidate, replies, 60, **{harm: 55})
    show(trial, trial.control, replies, 60, **{harm: 3})
    assert look(trial) == "rollback"
    trial.refresh_from_db()
    trial.candidate.refresh_from_db()
    assert (trial.state, trial.candidate.stage) == ("rolled_back", PolicyStage.REJECTED)
    assert trial.candidate.gates[-1]["name"] == "trial"
    assert {"down": "thumbs down", "escalated": "escalations"}[harm] in trial.candidate.gates[-1]["detail"]
    assert PolicyVersion.objects.get(stage=PolicyStage.PRODUCTION) == trial.control
    with pytest.raises(Problem):
        policies.promote(version_id=trial.candidate_id)


def test_too_few_customers_bring_no_step_and_no_row_is_counted_twice(trial, replies) -> None:
    show(trial, trial.candidate, replies, 8)
    show(trial, trial.control, replies, 9)
    assert [look(trial), look(trial)] == ["hold", "hold"]
    trial.refresh_from_db()
    assert (trial.customers, trial.course.percent) == (8, 10)
    assert trial.reason["code"] == "too little evidence"


def test_a_trial_whose_control_was_replaced_is_over(trial, version) -> None:
    policies.promote(version_id=version(2.0).pk)
    assert look(trial) == "abort"
    trial.refresh_from_db()
    assert trial.reason == {"code": "overtaken"}


def test_a_second_trial_waits_and_a_person_may_end_the_first(project, other_project, trial, version) -> None:
    later = version(3.0)
    assert not policy_trials.release(version_id=later.pk)
    with pytest.raises(Problem, match="on trial"):
        policy_trials.start(version_id=later.pk)
    with pytest.raises(Problem):
        policy_trials.abort(project_id=other_project.pk, trial_id=trial.pk)
    assert policy_trials.abort(project_id=project.pk, trial_id=trial.pk, by="lead").state == "aborted"
    assert policies.shelf(project.pk, None).trials == {}
    assert policy_trials.start(version_id=later.pk).course.percent == 10


def test_the_beat_looks_only_at_trials_that_are_due(trial, replies) -> None:
    assert policy_trials.look_at_trials() == 1
    show(trial, trial.candidate, replies, 3)
    PolicyTrial.objects.update(looked_until=timezone.now())
    assert policy_trials.look_at_trials() == 0
