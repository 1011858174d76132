"""The whole path: inquiry → reply shown → thumbs through the API → job → gates → ONNX → another reply for the same meaning."""

from __future__ import annotations

import random

import pytest
from django.core.management import call_command

from feedback import jobs
from feedback.models import Event, Inquiry, Job, JobState, Reply
from feedback.problems import Problem
from feedback.services import add_reply
from labeling import comparing
from labeling.models import Comparison
from learning import comparisons, replies, reply_gates
from learning.core.preference import learners
from learning.core.preference.learners import Evidence
from learning.models import GateSettings
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


def compare(shop, annotator, count: int, better: str) -> int:
    """Have comparisons made, and answer them all in favour of one text."""
    jobs.run(comparisons.ask(project_id=shop.pk, count=count).pk)
    answered = 0
    while lease := comparing.claim(project_id=shop.pk, annotator_id=annotator.pk, seconds=600):
        seen = comparing.payload(comparison_id=lease.task_id, annotator_id=annotator.pk)
        said = "a" if seen["a"]["text"] == better else "b" if seen["b"]["text"] == better else "tie"
        comparing.answer(
            project_id=shop.pk, comparison_id=lease.task_id, annotator_id=annotator.pk, token=lease.token, said=said
        )
        answered += 1
    return answered


def test_comparisons_are_made_of_close_choices_once_per_inquiry_and_become_evidence(shop, post, annotator):
    with pytest.raises(Problem, match="nothing to compare"):
        comparisons.ask(project_id=shop.pk)
    learn(shop, start=True, exploration=0.5)
    for n in range(8):
        ask(post, n)
    assert compare(shop, annotator, 5, FULL) == 5
    assert compare(shop, annotator, 50, FULL) == 3  # the others of the eight
    version = PolicyVersion.objects.get()
    ids = tuple(Reply.objects.order_by("pk").values_list("pk", flat=True))
    pairs = collect(project_id=shop.pk, encoder_sha=version.encoder_sha, replies=ids).comparisons
    assert [Reply.objects.get(pk=ids[n]).text for n in set(pairs.chosen)] == [FULL]
    assert [Reply.objects.get(pk=ids[n]).text for n in set(pairs.rejected)] == [CURT]
    assert pairs.weight.tolist() == [1.0] * 8
    call_command("compare_replies", shop.slug, count=3)
    assert Comparison.objects.count() == 8


def test_where_customers_tell_nothing_apart_peoples_comparisons_decide_what_is_learned(
    shop, post, annotator, monkeypatch
):
    monkeypatch.setattr(policies, "_draws", random.Random(7))
    learn(shop, start=True, exploration=0.5)
    answers = [ask(post, n) for n in range(160)]
    # Both replies are praised alike: half of the time.
    vote(post, answers, lambda a: int(a["id"][-1], 16) % 2 == 0)
    version = PolicyVersion.objects.get()
    catalog = replies.catalogs(project_id=shop.pk)[0]

    def margin() -> float:
        found = collect(project_id=shop.pk, encoder_sha=version.encoder_sha, replies=catalog.ids)
        evidence = Evidence(
            found.x, catalog.replies, found.votes, found.weights, replies.first(catalog), comparisons=found.comparisons,
            logged=found.logged,
        )  # fmt: skip
        scores = learners.learn(learners.DEFAULT, evidence).scores(found.x).mean(axis=0)
        text = {o.id: o.text for o in catalog.offers}
        return float(sum(s * ((text[i] == FULL) - (text[i] == CURT)) for s, i in zip(scores, catalog.ids, strict=True)))

    before = margin()
    assert compare(shop, annotator, 60, FULL) == 60
    assert margin() > max(before, 0) + 0.3


def test_a_reply_that_wins_thumbs_and_sends_customers_to_people_stops_the_policy(shop, post, monkeypatch):
    monkeypatch.setattr(policies, "_draws", random.Random(7))
    # What is planted may raise escalations in all by more than the guard allows: that is not what is looked at here.
    monkeypatch.setitem(reply_gates.ALLOWED, "escalation rate", 1.0)
    monkeypatch.setitem(reply_gates.ALLOWED, "re-ask rate", 1.0)
    learn(shop, start=True, exploration=0.5)
    answers = [ask(post, n) for n in range(160)]
    vote(post, answers, lambda a: a["reply"]["text"] == FULL)
    for a in answers:
        if a["reply"]["text"] == FULL:
            assert post(f"inquiries/{a['id']}/escalate", {"reason": "still no money"}).status_code in (200, 201)
    run = learn(shop).result["runs"][0]
    assert run["state"] == "rejected", run
    tried = PolicyVersion.objects.order_by("-number").first()
    gate = next(g for g in tried.gates if g["name"] == "reward hacking")
    assert not gate["passed"]
    assert gate["value"] > 0.2 > gate["threshold"]
    assert str(Reply.objects.get(text=FULL).pk) in gate["detail"]
    assert PolicyVersion.objects.get(stage="production").number == 1
    GateSettings.objects.create(project=shop, thresholds={"hacking": 1.0})
    assert learn(shop).result["runs"][0]["state"] == "promoted"


def test_where_no_reply_helps_a_person_is_asked_with_a_logged_probability(shop, post, monkeypatch):
    monkeypatch.setattr(policies, "_draws", random.Random(7))
    GateSettings.objects.create(project=shop, thresholds={"person_share": 0.6})
    learn(shop, start=True, exploration=0.5, ask_person_below=0.3)
    refunds = [ask(post, n) for n in range(120)]
    parcels = [ask(post, 200 + n, f"Where is my parcel number {n}?", customer=f"d{n // 3}") for n in range(80)]
    assert {a["decision"] for a in refunds + parcels} == {"auto"}
    vote(post, refunds, lambda a: a["reply"]["text"] == FULL)
    vote(post, parcels, lambda a: False)
    run = learn(shop).result["runs"][0]
    assert run["state"] == "promoted", run
    version = PolicyVersion.objects.get(stage="production")
    assert next(g for g in version.gates if g["name"] == "asks a person")["passed"]

    left = [ask(post, 400 + n, f"Where is my parcel number {n}?", customer=f"e{n}") for n in range(20)]
    handed = [a for a in left if a["decision"] == "human"]
    assert len(handed) > 5
    assert all(a["reply"] is None and a["reasons"][-1]["code"] == "no_reply" and a["escalation"] for a in handed)
    shown = ReplyShown.objects.get(inquiry_id=handed[0]["id"])
    assert shown.reply_id is None
    assert shown.propensity == pytest.approx(shown.candidates["0"], abs=1e-5)
    assert sum(shown.candidates.values()) == pytest.approx(1.0, abs=1e-4)
    assert {a["decision"] for a in (ask(post, 500 + n, customer=f"f{n}") for n in range(10))} == {"auto"}
    assert post("predict", {"text": "Where is my parcel number 3?"}).json()["decision"] in ("auto", "human")

    learn(shop, ask_person_below=0)
    assert PolicyVersion.objects.order_by("-number").first().gates[-1]["name"] != "asks a person"
