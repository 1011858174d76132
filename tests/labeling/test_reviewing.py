"""Batches, their bands, and what these do: expert review, weighted consensus, known items, amended guidelines."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from feedback.models import Category, OutboxEvent, Project, User
from feedback.problems import Problem
from labeling import actions, batches, measures, queue, reviewing
from labeling.models import (
    Annotation,
    Band,
    Batch,
    GoldItem,
    Guideline,
    Label,
    LabelTask,
    Qualification,
    Slot,
    TaskState,
)
from tests.conftest import make_person
from tests.labeling.test_queue import add_task, answer, claim

pytestmark = pytest.mark.django_db
KEYS = ("refund", "delivery", "fraud")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of eight doubles, so that a test fills one quickly."""
    monkeypatch.setattr(batches, "ENOUGH", 8)
    monkeypatch.setattr("labeling.policy.ENOUGH", 8)


def both(project: Project, people: tuple[User, User], first: str, second: str) -> LabelTask:
    """A new task that two people answer."""
    task = add_task(project, f"text {LabelTask.objects.count()}", overlap=2, priority=1.0)
    for person, key in zip(people, (first, second), strict=True):
        lease = claim(project, person)
        assert lease.task_id == task.pk
        answer(project, person, lease, key)
    task.refresh_from_db()
    return task


def batch_of(project: Project, people: tuple[User, User], *, apart: int) -> list[LabelTask]:
    """Eight doubles, of which `apart` disagree; one category is as frequent as another."""
    return [both(project, people, KEYS[n % 3], KEYS[(n + (n < apart)) % 3]) for n in range(8)]


@pytest.fixture
def people(annotator: User, colleague: User) -> tuple[User, User]:
    return annotator, colleague


@pytest.mark.usefixtures("small")
class TestBatches:
    def test_a_full_batch_is_judged_by_its_kappa(self, project: Project, people: tuple[User, User]) -> None:
        batch_of(project, people, apart=0)
        assert reviewing.close_batch(project_id=project.pk)["band"] == Band.NONE
        batch = Batch.objects.get()
        assert (batch.kappa, batch.doubles, batch.number) == (1.0, 8, 1)

    def test_a_batch_that_is_not_full_waits(self, project: Project, people: tuple[User, User]) -> None:
        both(project, people, "refund", "refund")
        assert reviewing.close_batch(project_id=project.pk) == {"closed": None}

    def test_after_a_week_it_is_judged_but_few_pairs_send_only_disagreements_to_the_expert(
        self, project: Project, people: tuple[User, User]
    ) -> None:
        both(project, people, "refund", "refund")
        Batch.objects.update(opened_at=timezone.now() - timedelta(days=8))
        reviewing.close_batch(project_id=project.pk)
        assert [(b.band, b.why) for b in Batch.objects.all()] == [(Band.DISAGREEMENTS, "few")]

    def test_low_agreement_brings_every_item_of_the_batch_before_the_expert(
        self, project: Project, people: tuple[User, User], expert: User
    ) -> None:
        tasks = batch_of(project, people, apart=8)
        single = add_task(project, "one answer", priority=1.0)
        answer(project, people[0], claim(project, people[0]))
        found = reviewing.close_batch(project_id=project.pk)
        assert (found["band"], found["to_expert"]) == (Band.ALL, 1)
        waiting = LabelTask.objects.filter(state=TaskState.DISPUTED)
        assert set(waiting.values_list("pk", flat=True)) == {t.pk for t in tasks} | {single.pk}
        assert Label.objects.get().category is not None, "the label stays until the expert decides"

    def test_in_that_band_even_agreed_items_wait_for_the_expert(
        self, project: Project, people: tuple[User, User], expert: User
    ) -> None:
        batch_of(project, people, apart=8)
        reviewing.close_batch(project_id=project.pk)
        task = both(project, people, "refund", "refund")
        assert task.state == TaskState.DISPUTED
        assert not Label.objects.filter(inquiry=task.inquiry_id).exists()

    def test_high_agreement_lets_the_weighted_consensus_settle_disagreements(
        self, project: Project, people: tuple[User, User]
    ) -> None:
        Project.objects.update(review_share=0.0)
        batch_of(project, people, apart=0)
        reviewing.close_batch(project_id=project.pk)
        third = make_person(project, "third", "annotator")
        task = add_task(project, "three see it", overlap=3, priority=1.0)
        for person, key in zip((*people, third), ("fraud", "fraud", "refund"), strict=True):
            answer(project, person, claim(project, person), key)
        task.refresh_from_db()
        assert task.state == TaskState.DISPUTED
        assert not Slot.objects.filter(task=task, role="expert").exists()
        assert reviewing.settle_by_consensus(project_id=project.pk)["consensus"] == 1
        task.refresh_from_db()
        assert (task.resolution, task.category.key) == ("consensus", "fraud")
        assert Label.objects.get(inquiry=task.inquiry_id).source == "consensus"

    def test_a_consensus_that_is_not_sure_goes_to_the_expert(self, project: Project, people: tuple[User, User]) -> None:
        Project.objects.update(review_share=0.0)
        batch_of(project, people, apart=0)
        reviewing.close_batch(project_id=project.pk)
        task = both(project, people, "fraud", "refund")
        assert reviewing.settle_by_consensus(project_id=project.pk) == {"consensus": 0, "unsure": 1}
        assert Slot.objects.get(task=task, role="expert").state == "open"

    def test_an_audit_sample_is_reviewed_also_when_agreement_is_high(
        self, project: Project, people: tuple[User, User]
    ) -> None:
        batch_of(project, people, apart=0)
        reviewing.close_batch(project_id=project.pk)
        Project.objects.update(review_share=1.0)
        assert both(project, people, "refund", "refund").state == TaskState.DISPUTED

    def test_judging_a_batch_twice_changes_nothing(self, project: Project, people: tuple[User, User]) -> None:
        batch_of(project, people, apart=0)
        reviewing.close_batch(project_id=project.pk)
        assert reviewing.close_batch(project_id=project.pk) == {"closed": None}
        assert Batch.objects.count() == 1


class TestGuidelines:
    @pytest.fixture
    def disputed(self, project: Project, people: tuple[User, User]) -> LabelTask:
        return both(project, people, "refund", "delivery")

    def give_back(self, project: Project, expert: User, text: str = "A late parcel is Delivery.") -> Guideline:
        lease = claim(project, expert, "expert")
        return actions.return_with_guideline(
            project_id=project.pk, task_id=lease.task_id, expert_id=expert.pk, token=lease.token, category="delivery",
            guideline=text,
        )  # fmt: skip

    def test_returning_amends_the_guideline_and_asks_everybody_anew(
        self, project: Project, disputed: LabelTask, people: tuple[User, User], expert: User
    ) -> None:
        version = self.give_back(project, expert)
        assert Category.objects.get(project=project, key="delivery").guideline == version.text
        for person in people:
            lease = claim(project, person)
            assert lease.task_id == disputed.pk
            assert answer(project, person, lease, "delivery").guideline == version
        disputed.refresh_from_db()
        assert (disputed.state, disputed.category.key) == ("resolved", "delivery")

    def test_the_answers_before_are_kept_under_their_version_and_count_no_more(
        self, project: Project, disputed: LabelTask, expert: User
    ) -> None:
        self.give_back(project, expert)
        before = Annotation.objects.filter(task=disputed, role="annotator")
        assert {(a.superseded, a.extra, a.guideline) for a in before} == {(True, True, None)}
        assert measures.agreement_report(project.pk)["items"] == 0
        assert OutboxEvent.objects.filter(kind="guideline.amended").count() == 1

    def test_it_needs_the_experts_lease(self, project: Project, disputed: LabelTask, expert: User) -> None:
        lease = claim(project, expert, "expert")
        queue.clear_leases(project_id=project.pk)
        with pytest.raises(Problem, match="ran out"):
            actions.return_with_guideline(
                project_id=project.pk, task_id=lease.task_id, expert_id=expert.pk, token=lease.token, category="delivery",
                guideline="New.",
            )  # fmt: skip
        assert not Guideline.objects.exists()

    def test_an_expert_may_find_that_no_category_fits(
        self, project: Project, disputed: LabelTask, expert: User
    ) -> None:
        answer(project, expert, claim(project, expert, "expert"), None)
        disputed.refresh_from_db()
        assert (disputed.state, disputed.resolution) == ("retired", "none")
        assert not Label.objects.exists()
        actions.undo(project_id=project.pk, task_id=disputed.pk, annotator_id=expert.pk, seconds=60)
        disputed.refresh_from_db()
        assert disputed.state == TaskState.DISPUTED

    def test_an_annotator_may_not(self, project: Project, annotator: User) -> None:
        add_task(project)
        with pytest.raises(Problem, match="only an expert"):
            answer(project, annotator, claim(project, annotator), None)
        assert not Annotation.objects.exists()


class TestGold:
    @pytest.fixture
    def known(self, project: Project, colleague: User) -> LabelTask:
        task = add_task(project, "a known one")
        answer(project, colleague, claim(project, colleague), "refund")
        GoldItem.objects.create(task=task, project=project, category=task.project.categories.get(key="refund"))
        return task

    def draw(self, project: Project, person: User):
        return queue.claim(
            project_id=project.pk, annotator_id=person.pk, roles=["annotator"], seconds=600, gold_rate=1.0
        )

    @pytest.mark.parametrize(("key", "right"), [("refund", True), ("fraud", False)])
    def test_its_answer_is_judged_and_never_counts(
        self, project: Project, annotator: User, known: LabelTask, key: str, right: bool
    ) -> None:
        lease = self.draw(project, annotator)
        assert lease.task_id == known.pk
        given = answer(project, annotator, lease, key)
        known.refresh_from_db()
        assert (given.gold, given.right, given.extra) == (True, right, False)
        assert (known.category.key, Label.objects.get().revision) == ("refund", 1)
        assert [(r.all.right, r.all.total) for r in measures.reliability_of(project.pk)] == [(int(right), 1)] * 2

    def test_nobody_gets_the_same_one_twice_and_the_queue_goes_on(
        self, project: Project, annotator: User, known: LabelTask
    ) -> None:
        answer(project, annotator, self.draw(project, annotator))
        other = add_task(project, "an open one")
        assert self.draw(project, annotator).task_id == other.pk

    def test_one_that_is_given_back_is_not_open_to_anybody(
        self, project: Project, annotator: User, known: LabelTask
    ) -> None:
        lease = self.draw(project, annotator)
        assert queue.release(task_id=known.pk, annotator_id=annotator.pk, token=lease.token)
        assert not Slot.objects.filter(gold=True).exists()
        self.draw(project, annotator)
        Slot.objects.filter(gold=True).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        assert claim(project, annotator) is None
        assert not Slot.objects.filter(gold=True).exists()

    def test_an_answer_to_one_can_be_taken_back(self, project: Project, annotator: User, known: LabelTask) -> None:
        answer(project, annotator, self.draw(project, annotator), "fraud")
        lease = actions.undo(project_id=project.pk, task_id=known.pk, annotator_id=annotator.pk, seconds=60)
        known.refresh_from_db()
        assert (lease.task_id, known.state) == (known.pk, TaskState.RESOLVED)
        assert answer(project, annotator, lease, "refund").right


class TestQualifications:
    def test_an_item_goes_only_to_those_who_read_its_language(
        self, project: Project, annotator: User, colleague: User
    ) -> None:
        Slot.objects.filter(task=add_task(project)).update(language="ja")
        Qualification.objects.create(project=project, annotator=annotator, languages=["en", "de"])
        assert claim(project, annotator) is None
        assert claim(project, colleague) is not None

    def test_an_item_of_a_restricted_category_goes_only_to_the_qualified(
        self, project: Project, annotator: User, colleague: User
    ) -> None:
        fraud = project.categories.get(key="fraud")
        Slot.objects.filter(task=add_task(project)).update(skill=fraud.pk)
        Qualification.objects.create(project=project, annotator=annotator, categories=[fraud.pk])
        assert claim(project, colleague) is None
        assert claim(project, annotator) is not None
