"""kill -9 while replies are learned: the policy in service goes on choosing, and another process ends with one version."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from feedback import jobs
from feedback.models import Job, JobState, Project
from serving import policies
from serving.artifacts import load_bundle
from serving.models import PolicyVersion
from serving.served import served
from tests.learning.killed import process
from tests.learning.test_kills import blocked, held, until
from tests.learning.test_replies import FULL, ask, learn, shop, vote

__all__ = ["shop"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]
PROJECT = "SELECT 1 FROM feedback_project FOR NO KEY UPDATE"
PRODUCTION = "SELECT 1 FROM serving_policyversion WHERE stage = 'production' FOR NO KEY UPDATE"


def chosen(post: Callable[..., Any]) -> str:
    served.refresh()
    return str(post("predict", {"text": "I would like a refund"}).json()["reply"]["text"])


def test_a_learning_killed_before_it_registers_or_promotes_is_ended_by_another_with_one_policy(
    shop: Project,
    post: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
) -> None:
    monkeypatch.setattr(policies, "_draws", random.Random(7))
    learn(shop, start=True, exploration=0.5)
    answers = [ask(post, n) for n in range(160)]
    vote(post, answers, lambda a: a["reply"]["text"] == FULL)
    before = chosen(post)

    for statement in (PROJECT, PRODUCTION):  # nothing of it registered; registered, and about to be promoted
        with held(statement), process("learn_replies", shop.slug) as child:
            until(blocked, child)
            assert PolicyVersion.objects.count() == 1  # what is half done is nobody's yet
            assert chosen(post) == before
        Job.objects.filter(state=JobState.RUNNING).update(heartbeat_at=timezone.now() - 2 * jobs.LOST_AFTER)
        jobs.sweep()

    killed = Job.objects.get(kind="learn_replies", state=JobState.FAILED)
    assert killed.attempt == 2
    with process("learn_replies", shop.slug) as child:
        child.join()
        assert child.exitcode == 0
    killed.refresh_from_db()
    assert (killed.state, killed.attempt) == (JobState.DONE, 3)
    first, second = PolicyVersion.objects.order_by("number")
    assert (first.stage, second.stage) == ("archived", "production")
    assert chosen(post) == FULL != before
    load_bundle(settings.ENSO_ARTIFACTS / second.manifest_sha, second.manifest_sha)


def test_a_variant_that_is_done_is_not_learned_again_after_a_kill(shop: Project, post: Callable[..., Any]) -> None:
    learn(shop, start=True, exploration=0.5)
    job = jobs.enqueue(kind="learn_replies", project_id=shop.pk)
    sha = PolicyVersion.objects.get().encoder_sha
    done = {sha: {"encoder": sha, "state": "promoted", "version": 1, "votes": 9}}
    Job.objects.filter(pk=job.pk).update(checkpoint={"done": done})
    jobs.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.result["runs"]) == (JobState.DONE, [done[sha]])
    assert PolicyVersion.objects.count() == 1
