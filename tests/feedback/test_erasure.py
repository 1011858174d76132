from __future__ import annotations

import pytest
from django.db.models import Sum

import feedback.erasure
import labeling.erasure
import serving.erasure
from feedback.models import Event, Inquiry, InquiryScore, Original, OutboxEvent, ScoreCell
from feedback.score_fold import fold_project
from feedback.totals import Totals
from labeling import escalations
from labeling.exchange.files import keep_file
from labeling.exchange.models import ExchangeFile
from labeling.models import Escalation, Label, LabelSource, LabelTask
from labeling.services import settle_label
from serving.models import DecisionRecord, Embedding
from tests.feedback.test_privacy import everything_stored

pytestmark = pytest.mark.django_db
APPS = (serving.erasure, labeling.erasure, feedback.erasure)


def erase_all(project, customer):
    return [app.erase(project_id=project.pk, customer=customer) for app in APPS]


@pytest.fixture
def told(post, project):
    """Two customers who wrote, clicked and commented; the first one's case is labeled and escalated."""
    ids = {}
    for customer in ("gone", "stays"):
        made = post(
            "inquiries", {"text": f"Somebody stole my card, says {customer}, jo@example.com", "customer": customer}
        ).json()
        ids[customer] = made["id"]
        post("feedback", {"inquiry": made["id"], "type": "click", "customer": customer})
        post(
            "feedback",
            {"inquiry": "not yet here", "type": "comment", "text": f"Words of {customer}", "customer": customer},
        )
    category = project.categories.get(key="fraud")
    settle_label(inquiry=Inquiry.objects.get(pk=ids["gone"]), category_id=category.pk, source=LabelSource.SINGLE)
    return ids


def test_every_app_forgets_the_customer_and_nobody_else(told, project):
    before = everything_stored()
    assert "says gone" in before
    erase_all(project, "gone")
    after = everything_stored()
    assert "says gone" not in after
    assert "Words of gone" not in after
    assert "says stays" in after
    assert "Words of stays" in after
    assert list(Inquiry.objects.values_list("customer", flat=True)) == ["stays"]
    for model in (Embedding, DecisionRecord, Original, Escalation):
        assert model.objects.count() == 1, model
    assert Event.objects.filter(customer="gone").count() == 0
    assert not Label.objects.exists()


def test_a_label_that_goes_is_announced_so_that_heads_forget_it(told, project):
    labeling.erasure.erase(project_id=project.pk, customer="gone")
    assert OutboxEvent.objects.get(kind="label.withdrawn").payload["inquiry"] == told["gone"]


def test_what_was_erased_is_counted_and_a_second_time_finds_nothing(told, project):
    first = erase_all(project, "gone")
    assert first[0] == {"embeddings": 1, "decisions": 1, "replies_shown": 0}
    assert first[1] == {
        "labels": 1,
        "tasks": LabelTask.objects.filter(inquiry_id=told["gone"]).count(),
        "escalations": 1,
        "annotations": 0,
        "comparisons": 0,
        "files": 0,
    }
    assert first[2] == {"inquiries": 1, "events": 2, "originals": 1}
    assert all(not any(counts.values()) for counts in erase_all(project, "gone"))


def test_scores_that_the_customer_touched_elsewhere_are_made_anew(told, post, project):
    post("feedback", {"inquiry": told["stays"], "type": "rating", "value": 5, "customer": "gone"})
    fold_project(project.pk)
    assert InquiryScore.objects.get(inquiry_id=told["stays"]).explicit == pytest.approx(1.0)
    erase_all(project, "gone")
    fold_project(project.pk)
    score = InquiryScore.objects.get(inquiry_id=told["stays"])
    assert (score.explicit, score.events) == (None, 1)


def test_the_sums_forget_the_customer_as_if_they_had_never_been_there(told, post, project):
    def sums():
        fold_project(project.pk)
        return {name: ScoreCell.objects.filter(project=project).aggregate(n=Sum(name))["n"] for name in Totals._fields}

    post("feedback", {"inquiry": told["stays"], "type": "rating", "value": 4, "customer": "stays"})
    of_one = sums()
    post("feedback", {"inquiry": told["gone"], "type": "rating", "value": 1, "customer": "gone"})
    assert sums()["explicit_count"] == 2
    erase_all(project, "gone")
    assert sums()["explicit_count"] == 1
    assert sums()["explicit_sum"] == of_one["explicit_sum"]
    assert sums()["inquiries"] == 1


def test_files_for_download_go_with_the_customer(told, project, other_project):
    for place in (project, other_project):
        keep_file(project_id=place.pk, name="labels.csv", pieces=[b"says gone"])
    counted = labeling.erasure.erase(project_id=project.pk, customer="gone")
    assert counted["files"] == 1
    assert [f.project_id for f in ExchangeFile.objects.all()] == [other_project.pk]


def test_what_is_said_about_a_case_goes_with_it(told, project, expert):
    case = Escalation.objects.get(inquiry_id=told["gone"])
    escalations.note(project_id=project.pk, case_id=case.pk, agent_id=expert.pk, text="A peculiar caller")
    assert "A peculiar caller" in everything_stored()
    erase_all(project, "gone")
    assert "A peculiar caller" not in everything_stored()


def test_another_project_keeps_its_customer_of_the_same_name(told, other_project):
    assert all(not any(counts.values()) for counts in erase_all(other_project, "gone"))
    assert Inquiry.objects.filter(customer="gone").exists()


@pytest.mark.parametrize("app", APPS)
def test_without_a_name_nothing_is_erased(told, project, app):
    with pytest.raises(ValueError, match="name the customer"):
        app.erase(project_id=project.pk, customer="")
    assert Inquiry.objects.count() == 2
