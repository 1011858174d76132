"""The page of replies: what leads write, retire and ask for there."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from feedback import jobs
from feedback.models import Inquiry, Job, Reply, Role
from labeling.models import Comparison
from serving.models import PolicyTrial, PolicyVersion
from tests.browser import reply_scene, scene
from tests.conftest import make_person

pytestmark = pytest.mark.django_db


@pytest.fixture
def page(project, client):
    client.force_login(make_person(project, "lead", Role.LEAD))

    def send(**fields):
        fields = {"category": scene.category(project, "refund").pk, "locale": "en", **fields}
        return client.post(reverse("replies", args=[project.slug]), fields)

    return send


def act(client, project, name, number=""):
    return client.post(reverse("reply-act", args=[project.slug, name]), {"number": number}, follow=True)


def test_a_reply_is_written_versioned_and_retired(project, page, client):
    assert page(text="Order {order} is refunded.").status_code == 302
    assert page(text="Refunded.", slot=1, expires_on="2099-12-31").status_code == 302
    old, new = Reply.objects.order_by("version")
    assert (old.active, new.active, new.version, new.slot) == (False, True, 2, 1)
    assert new.expires_at.isoformat() == "2100-01-01T00:00:00+00:00"
    assert "Retired." in act(client, project, "retire", new.pk).content.decode()
    assert not Reply.objects.filter(active=True).exists()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"text": "Order {Order No} is on its way."}, "{Order No} is no gap"),
        ({"text": "Order {order is on its way."}, "is no gap"),
        ({"text": "Fine.", "expires_on": "2001-01-01"}, "That day has passed."),
        ({"text": "Fine.", "locale": "English"}, "Write the language as"),
        ({"text": "Fine.", "category": 0}, "Select a valid choice"),
        ({"text": "  "}, "required"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_nothing_is_saved(page, fields, said):
    answer = page(**fields)
    assert answer.status_code == 422
    assert said in answer.content.decode().replace("&#x27;", "'")
    assert not Reply.objects.exists()


def test_a_category_of_another_project_is_no_choice(page, other_project):
    assert page(text="Fine.", category=scene.category(other_project, "refund").pk).status_code == 422


def test_a_gap_that_no_inquiry_fills_is_pointed_out(project, page, client):
    page(text="Dear {customer}, order {order} comes on {day}.")
    Inquiry.objects.filter(pk=scene.inquire(project, "When?").pk).update(metadata={"order": "A-7"})
    shown = client.get(reverse("replies", args=[project.slug])).content.decode()
    assert "No inquiry of late brought day:" in shown


def test_without_a_policy_nothing_is_compared_and_with_one_a_job_is_asked_for(project, page, client):
    page(text="One.")
    assert "nothing to compare" in act(client, project, "compare", 50).content.decode()
    reply_scene.compare_replies(project)
    act(client, project, "compare", 7)
    assert Job.objects.get(kind="compare_replies").params == {"count": 7}
    assert Comparison.objects.count() == 3


def test_a_lead_ends_a_trial_and_an_unknown_act_or_number_does_nothing(project, page, client):
    page(text="One.")
    reply_scene.compare_replies(project)
    act(client, project, "abort", PolicyTrial.objects.get().pk)
    trial = PolicyTrial.objects.get()
    assert (trial.state, trial.reason["by"]) == ("aborted", "lead")
    for name, number in (("abort", 0), ("retire", 10**8), ("rollback", 99), ("else", 1), ("retire", "x")):
        assert act(client, project, name, number).status_code == 200
    assert Reply.objects.filter(active=True).count() == 2
    assert PolicyVersion.objects.get(stage="production").number == 1


def test_only_leads_see_it(project, client):
    client.force_login(make_person(project, "annotator", Role.ANNOTATOR))
    assert client.get(reverse("replies", args=[project.slug])).status_code == 403


def test_comparisons_are_made_over_the_api_by_leads_alone(project, client):
    client.force_login(make_person(project, "annotator", Role.ANNOTATOR))
    assert client.get("/api/v1/comparisons").json()["asked"] == 0
    assert client.post("/api/v1/comparisons", {}, content_type="application/json").status_code == 403
    client.force_login(make_person(project, "lead", Role.LEAD))
    assert client.post("/api/v1/comparisons", {"count": 501}, content_type="application/json").status_code == 422
    assert client.post("/api/v1/comparisons", {}, content_type="application/json").status_code == 409
    assert jobs.last_begun(project_id=project.pk, kind="compare_replies") is None


def test_a_version_that_expires_is_shown_as_expired_afterwards(project, page, client):
    page(text="Summer sale.")
    Reply.objects.update(expires_at=timezone.now() - timedelta(days=1))
    assert "expired" in client.get(reverse("replies", args=[project.slug])).content.decode()
