"""The whole path: inquiry → reply shown → thumbs through the API → job → gates → ONNX → another reply for the same meaning."""

from __future__ import annotations

import random

import pytest

from feedback import jobs
from feedback.models import Event, Inquiry, Job, JobState, Reply
from feedback.services import add_reply
from learning.preferences import collect
from serving import policies, policies_api
from serving.models import PolicyVersion, ReplyShown
from serving.served import served

pytestmark = pytest.mark.django_db
CURT, FULL = "See the help page.", "Your money is on its way back; it takes three working days."
ASKED = ("I want my money back", "Please refund me", "Give me a refund for this order", "Can I get my money back?")


@pytest.fixture
def shop(project):
    project.confidence_threshold = 0.0
    project.anger_threshold = -1.0
    project.save()
    for category in project.categories.filter(key__in=["refund", "delivery"]):
        add_reply(category_id=category.pk, locale="en", text=CURT if category.key == "refund" else "It is on its way.")
        add_reply(
            category_id=category.pk, locale="en", text=FULL if category.key == "refund" else "Look it up.", slot=2
        )
    return project


def learn(project, **params) -> Job:
    job = jobs.enqueue(kind="learn_replies", project_id=project.pk, params=params)
    jobs.run(job.pk)
    job.refresh_from_db()
    assert job.state == JobState.DONE, job.errors
    served.refresh()
    return job


def ask(post, n, text=None, **more):
    answer = post("inquiries", {"text": text or ASKED[n % 4], "customer": f"c{n // 3}", "external_id": f"q{n}", **more})
    assert answer.status_code == 201, answer.content
    return answer.json()


def vote(post, answers, liked):
    events = [{"inquiry": a["id"], "type": "thumbs", "value": "up" if liked(a) else "down"} for a in answers]
    assert post("feedback", events).status_code in (200, 201, 202)


def test_without_a_policy_the_first_reply_is_sent_and_nothing_is_logged(shop, post):
    assert {ask(post, n)["reply"]["text"] for n in range(3)} == {CURT}
    learn(shop)
    assert not PolicyVersion.objects.exists()
    assert not ReplyShown.objects.exists()


def test_thumbs_through_the_api_end_in_another_reply_for_the_same_meaning(shop, post, monkeypatch):
    # Customers ask again here whatever they are shown; a share of draws would blame that on the new reply by chance.
    monkeypatch.setattr(policies, "_draws", random.Random(7))
    learn(shop, start=True, exploration=0.5)
    answers = [ask(post, n) for n in range(160)]
    assert {a["reply"]["text"] for a in answers} == {CURT, FULL}
    shown = ReplyShown.objects.get(inquiry_id=answers[0]["id"])
    assert shown.propensity == pytest.approx(shown.candidates[str(shown.reply_id)], abs=1e-5)
    assert post("predict", {"text": "I would like a refund"}).json()["reply"]["text"] == CURT
    vote(post, answers, lambda a: a["reply"]["text"] == FULL)
    run = learn(shop).result["runs"][0]
    assert run["state"] == "promoted", run
    assert [v.stage for v in PolicyVersion.objects.order_by("number")] == ["archived", "production"]
    assert post("predict", {"text": "I would like a refund"}).json()["reply"]["text"] == FULL
    assert [r["approval"] for r in policies_api.received(project_id=shop.pk)] == [0.0, 1.0]
    policies.rollback(project_id=shop.pk, encoder_sha=PolicyVersion.objects.first().encoder_sha)
    served.refresh()
    assert post("predict", {"text": "I would like a refund"}).json()["reply"]["text"] == CURT


def test_votes_that_say_nothing_leave_the_policy_in_service_and_say_why(shop, post):
    learn(shop, start=True, exploration=0.5)
    answers = [ask(post, n) for n in range(12)]
    vote(post, answers, lambda a: True)
    learn(shop)
    kept, tried = PolicyVersion.objects.order_by("number")
    assert (kept.stage, tried.stage) == ("production", "rejected")
    assert "votes' worth of evidence" in tried.gates[0]["detail"]
    assert tried.screening["too_dirty"] == tried.gates[0]["detail"]


def test_what_anonymous_pages_send_is_no_preference_and_a_customers_thumb_is(shop, post):
    learn(shop, start=True, exploration=0.5)
    first, second = ask(post, 0), ask(post, 3)
    vote(post, [first, second], lambda a: True)
    Event.objects.filter(inquiry_id=first["id"]).update(weight=0.2)
    version = PolicyVersion.objects.get()
    ids = tuple(Reply.objects.order_by("pk").values_list("pk", flat=True))
    found = collect(project_id=shop.pk, encoder_sha=version.encoder_sha, replies=ids)
    assert len(found.votes) == 1
    assert found.voters == ("customer c1",)
    assert found.votes.propensity[0] == pytest.approx(ReplyShown.objects.get(inquiry_id=second["id"]).propensity)


def test_a_policy_that_cannot_be_read_leaves_customers_the_first_reply(shop, post, settings):
    learn(shop, start=True, exploration=1.0)
    sha = PolicyVersion.objects.get().manifest_sha
    (settings.ENSO_ARTIFACTS / sha / "policy.onnx").write_bytes(b"broken")
    served.forget()  # as a process that starts now
    assert {ask(post, n)["reply"]["text"] for n in range(4)} == {CURT}
    assert not ReplyShown.objects.exists()


def test_a_new_reply_joins_the_policy_and_a_gap_without_a_value_keeps_a_reply_out(shop, post):
    learn(shop, start=True, exploration=1.0)
    refund = shop.categories.get(key="refund")
    made = add_reply(category_id=refund.pk, locale="en", text="{name}, we pay you back.", slot=3)
    learn(shop)
    assert PolicyVersion.objects.get(stage="production").replies == 5
    bare = [ask(post, n)["reply"]["id"] for n in range(12)]
    assert made.pk not in bare
    named = [ask(post, 50 + n, metadata={"name": "Kim"})["reply"]["text"] for n in range(25)]
    assert "Kim, we pay you back." in named
    assert Inquiry.objects.count() == 37
