"""Ranking the open tasks anew: what a version is sure of, what it doubts, and what is asked all the same."""

from __future__ import annotations

import numpy as np
import pytest

from feedback.models import Project, Status
from feedback.services import touch_project
from labeling.models import Label, LabelTask, Slot, TaskState
from learning.queueing import rescore_tasks
from serving import engine, late
from serving.models import Embedding, LateAnswer
from serving.served import served
from tests.conftest import make_person
from tests.labeling.test_placing import versions
from tests.labeling.test_queue import answer, claim
from tests.learning.sureness import key_of, sure_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("small_heads")]


def test_ranking_anew_answers_what_the_new_version_is_sure_of_unless_the_project_does_not_want_it(
    shop: Project, waiting: list[LabelTask]
) -> None:
    Project.objects.update(confidence_threshold=0.0, retire_sure=False)
    touch_project(project_id=shop.pk)
    assert rescore_tasks(project_id=shop.pk) == 8
    assert not LateAnswer.objects.exists()
    Project.objects.update(retire_sure=True)
    touch_project(project_id=shop.pk)
    assert rescore_tasks(project_id=shop.pk) == 0
    assert LateAnswer.objects.count() == 8
    assert LabelTask.objects.filter(state=TaskState.RETIRED).count() == 8


def test_what_a_later_version_doubts_is_asked_after_all(shop: Project, waiting: list[LabelTask]) -> None:
    sure_of(shop, waiting)
    encoder = served.encoder_for("a")[0]
    assert late.encoders_of_late_answers(project_id=shop.pk) == [encoder.sha256]
    Project.objects.update(confidence_threshold=0.0)
    touch_project(project_id=shop.pk)
    served.refresh()
    assert late.ask_about_doubted(project_id=shop.pk, encoder_sha=encoder.sha256, most=100) == []
    Project.objects.update(confidence_threshold=1.0)
    touch_project(project_id=shop.pk)
    rescore_tasks(project_id=shop.pk)
    opened = LabelTask.objects.filter(pk__in=[t.pk for t in waiting], state=TaskState.OPEN)
    assert opened.count() == 8
    assert {t.inquiry.status for t in opened.select_related("inquiry")} == {
        Status.ANSWERED
    }  # the customer has an answer
    person = make_person(shop, "annotator0", "annotator")
    answer(shop, person, claim(shop, person), key_of(shop, 1))
    assert Label.objects.get(source="single").category.key == key_of(shop, 1)


def test_what_was_answered_late_but_teaches_most_is_asked_again(shop: Project, waiting: list[LabelTask]) -> None:
    sure_of(shop, waiting[:5])
    Project.objects.update(strategy="random")
    half_sure(shop, waiting)
    rescore_tasks(project_id=shop.pk)
    opened = LabelTask.objects.filter(pk__in=[t.pk for t in waiting], state=TaskState.OPEN)
    again = opened.filter(pk__in=[t.pk for t in waiting[:5]])
    assert again.exists()
    assert {t.inquiry.status for t in again.select_related("inquiry")} == {Status.ANSWERED}
    assert Slot.objects.filter(task__in=again, state="open").count() == again.count()
    assert LateAnswer.objects.filter(inquiry__task__state=TaskState.RETIRED).exists()  # and not all of them


def half_sure(project: Project, tasks: list[LabelTask]) -> None:
    """A threshold between the version's beliefs about these tasks: it is sure of about half of them."""
    encoder = served.encoder_for("a")[0]
    vectors = Embedding.objects.filter(inquiry__task__in=tasks, encoder_sha=encoder.sha256).values_list(
        "vector", flat=True
    )
    best = served.head(served.desk(project.pk), encoder).head.predict(engine.from_bytes(list(vectors))).max(axis=1)
    Project.objects.update(confidence_threshold=float(np.median(best)))
    touch_project(project_id=project.pk)
    served.refresh()


def test_ranking_an_unchanged_queue_again_writes_nothing(shop: Project, waiting: list[LabelTask]) -> None:
    half_sure(shop, waiting)
    rescore_tasks(project_id=shop.pk)
    assert LateAnswer.objects.count() >= 3
    before = versions()
    assert rescore_tasks(project_id=shop.pk) == 0
    assert versions() == before
