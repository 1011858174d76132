"""The whole queue in parts: the picks are those of one machine, whoever is killed, cancelled or late."""

from __future__ import annotations

import io
import uuid
from collections import Counter

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from feedback import jobs
from feedback.models import Category, Fold, Inquiry, Job, JobState, Project
from feedback.services import touch_project
from labeling import placing
from labeling.models import LabelTask, TaskKind, TaskState
from learning import queueing, selecting, selecting_view
from learning.models import Selection, SelectionPart
from learning.models import SelectionState as State
from learning.selection_tasks import schedule_selections
from serving.engine import from_bytes
from serving.models import DecisionRecord, Embedding, LateAnswer
from serving.served import served
from tests.databases import failure_of
from tests.labeling.test_placing import versions
from tests.learning.queues import TASKS, add_tasks, begun, on_one_machine, order, run_all

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("name", ["msal", "herding", "margin"])
def test_the_picks_of_all_parts_are_those_of_one_machine(
    queue: Project, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Project.objects.update(strategy=name)
    if name == "herding":
        monkeypatch.setattr(selecting, "PART", 200)  # few enough to look at all
        monkeypatch.setattr(selecting_view, "PART", 200)
    found = run_all(begun(queue))
    assert (found.state, found.items, found.result["looked_at"]) == (State.DONE, TASKS, TASKS)
    assert (found.parts.count() == 1) is (name == "herding")
    assert (found.result["picked"], found.result["exact"]) == (50, 50)
    assert order(queue)[:50] == on_one_machine(queue, name, 50)


def test_the_least_certain_follow_and_what_is_neither_falls_back(queue: Project) -> None:
    found = run_all(begun(queue))
    ranked = order(queue)
    assert len(ranked) == 90
    assert found.result["picked"] == 50
    expected = [pk for pk in on_one_machine(queue, "margin", TASKS) if pk not in ranked[:50]]
    assert ranked[50:] == expected[:40]
    reasons = LabelTask.objects.in_bulk(ranked)
    assert all(reasons[pk].reason["rule"] == "msal" for pk in ranked[:50])
    assert all(reasons[pk].reason == {} for pk in ranked[50:])


def test_each_purpose_has_its_share_of_the_first_places(queue: Project) -> None:
    Category.objects.filter(project=queue).update(high_risk=False)
    Category.objects.filter(pk__in=Category.objects.filter(project=queue).values("pk")[:2]).update(high_risk=True)
    Project.objects.update(risk_share=0.2, diversity_share=0.1)
    touch_project(project_id=queue.pk)
    run_all(begun(queue))
    rules = [LabelTask.objects.get(pk=pk).reason["rule"] for pk in order(queue)[:50]]
    assert Counter(rules) == {"msal": 35, "risk": 10, "diversity": 5}
    assert abs(rules[:20].count("risk") - 4) <= 1


def test_a_short_queue_is_shared_in_the_same_way_and_without_shares_is_the_strategys(queue: Project) -> None:
    queueing.rescore_tasks(project_id=queue.pk)
    assert order(queue)[:50] == on_one_machine(queue, "msal", 50)
    Category.objects.filter(pk__in=Category.objects.filter(project=queue).values("pk")[:2]).update(high_risk=True)
    Project.objects.update(risk_share=0.2, diversity_share=0.1)
    touch_project(project_id=queue.pk)
    queueing.rescore_tasks(project_id=queue.pk)
    placed = LabelTask.objects.in_bulk(order(queue)[:50])
    assert Counter(t.reason["rule"] for t in placed.values()) == {"msal": 35, "risk": 10, "diversity": 5}


def test_shares_that_are_more_than_the_queue_are_refused_by_name(queue: Project) -> None:
    with pytest.raises(CommandError, match="risk_share and diversity_share"):
        call_command("configure", queue.slug, "risk_share=0.7", "diversity_share=0.5")


def test_audits_other_folds_and_whatever_comes_later_keep_their_place(queue: Project) -> None:
    audits = add_tasks(queue, 3, seed=1, kind=TaskKind.AUDIT)
    (held_out, *_) = add_tasks(queue, 1, seed=2)
    Inquiry.objects.filter(pk=held_out.inquiry_id).update(fold=Fold.TEST)
    found = begun(queue)
    for part in found.parts.all():
        jobs.run(part.job_id)
    late = add_tasks(queue, 2, seed=3)
    run_all(found)
    for task in (*audits, held_out, *late):
        assert LabelTask.objects.get(pk=task.pk).priority == 0.4


def test_a_selection_that_is_made_again_over_the_same_queue_changes_nothing(queue: Project) -> None:
    run_all(begun(queue))
    before = order(queue)
    found = run_all(begun(queue))
    assert (order(queue), found.result["moved"]) == (before, 0)


def test_a_part_that_is_told_twice_counts_once_and_asks_for_one_picker(queue: Project) -> None:
    found = begun(queue)
    parts = list(found.parts.order_by("number"))
    for part in (*parts, parts[0]):
        Job.objects.filter(pk=part.job_id).update(state=JobState.FAILED)  # its message comes again
        jobs.run(part.job_id)
    assert Job.objects.filter(kind="select_pick").count() == 1
    assert SelectionPart.objects.filter(found=None).count() == 0


def test_nobody_picks_before_all_have_told(queue: Project) -> None:
    found = begun(queue)
    for part in found.parts.order_by("number")[1:]:
        jobs.run(part.job_id)
    found.refresh_from_db()
    assert found.picker is None
    assert not Job.objects.filter(kind="select_pick").exists()


def test_a_newer_selection_ends_the_one_that_runs(queue: Project) -> None:
    old = begun(queue)
    new = begun(queue)
    old.refresh_from_db()
    assert (old.state, old.why) == (State.CANCELLED, "a newer one has begun")
    assert set(Job.objects.filter(pk__in=old.parts.values("job_id")).values_list("state", flat=True)) == {"cancelled"}
    assert run_all(new).state == State.DONE


def test_cancelling_one_part_ends_the_selection_and_moves_nothing(queue: Project) -> None:
    found = begun(queue)
    first, *_ = found.parts.order_by("number")
    assert jobs.cancel(first.job_id)
    assert schedule_selections() == 1
    jobs.run(Job.objects.get(kind="look_after_selections").pk)
    found.refresh_from_db()
    assert (found.state, found.why) == (State.CANCELLED, "a part of it was cancelled")
    run_all(found)
    assert set(LabelTask.objects.values_list("priority", flat=True)) == {0.4}


def test_a_part_that_has_died_is_named(queue: Project) -> None:
    found = begun(queue)
    first = found.parts.order_by("number").first()
    Job.objects.filter(pk=first.job_id).update(state=JobState.DEAD, errors=["attempt 3: MemoryError: "])
    assert selecting.look_after() == 1
    found.refresh_from_db()
    assert found.why == "a part failed: attempt 3: MemoryError: "


def test_a_picker_whose_connection_was_cut_is_gone_on_with(queue: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selecting, "WRITTEN", 20)
    found = begun(queue)
    for part in found.parts.all():
        jobs.run(part.job_id)
    picker = Job.objects.get(kind="select_pick")
    written: list[int] = []
    reprioritise = placing.reprioritise

    def cut(*, priorities: dict[int, float]) -> int:
        if len(written) == 2:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        written.append(reprioritise(priorities=priorities))
        return written[-1]

    monkeypatch.setattr(placing, "reprioritise", cut)
    assert failure_of(lambda: jobs.run(picker.pk)) is not None
    monkeypatch.setattr(placing, "reprioritise", reprioritise)
    assert Selection.objects.get().state == State.RUNNING
    assert 0 < sum(p != 0.4 for p in LabelTask.objects.values_list("priority", flat=True)) < TASKS
    Job.objects.filter(pk=picker.pk).update(state=JobState.FAILED, token=None)
    jobs.run(picker.pk)
    assert Selection.objects.get().state == State.DONE
    assert order(queue)[:10] == on_one_machine(queue, "msal", 50)[:10]


def test_labels_keep_their_names_from_one_selection_to_the_next() -> None:
    ids = [uuid.uuid4() for _ in range(50)]
    names = queueing.covered_ids(ids)
    assert len(set(names.tolist())) == 50
    assert names.max() < 0
    assert queueing.covered_ids(ids[::-1]).tolist() == names[::-1].tolist()


def test_only_a_queue_that_is_ranked_in_part_is_looked_at_as_a_whole(
    queue: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not queueing.select_if_large(project_id=queue.pk)
    monkeypatch.setattr(queueing, "TOP", 100)
    monkeypatch.setattr(queueing, "OLDEST", TASKS - 101)
    assert queueing.select_if_large(project_id=queue.pk)
    job = Job.objects.get(kind="select")
    jobs.run(job.pk)
    assert Selection.objects.get(pk=Job.objects.get(pk=job.pk).result["selections"][0]).items == TASKS


def said(project: Project, *options: str) -> str:
    out = io.StringIO()
    call_command("select", project.slug, *options, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def test_the_command_picks_from_the_whole_queue_and_explains_what_it_did(queue: Project) -> None:
    told = said(queue, "--whole")
    assert "by msal: 50 picked from 120 tasks (50 of them proven" in told
    assert len(order(queue)) == 90
    assert "Last over the whole queue" in said(queue, "--explain")
    assert "0 moved" in said(queue, "--whole")


def test_the_command_ends_a_selection_that_runs_and_says_when_there_is_none(queue: Project) -> None:
    found = begun(queue)
    assert f"selection {found.pk}" in said(queue, "--cancel")
    with pytest.raises(CommandError, match="No selection over the whole queue"):
        said(queue, "--cancel")
    LabelTask.objects.update(state=TaskState.RETIRED)
    assert "nothing to pick from" in said(queue, "--whole")


def test_a_long_queue_is_answered_late_as_a_short_one_is_and_again_changes_nothing(
    shop: Project, queue: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version in production has learned texts, so of random vectors it is sure or not by chance."""
    tasks = list(LabelTask.objects.filter(project=queue, state=TaskState.OPEN))
    DecisionRecord.objects.bulk_create(
        DecisionRecord(
            inquiry_id=t.inquiry_id, encoder_sha="", confidence=0.0, decision="human", propensity=0.0, sentiment=0.0
        )
        for t in tasks
    )
    encoder = served.encoder_for("a")[0]
    rows = Embedding.objects.filter(inquiry__task__in=tasks).values_list("vector", flat=True)
    best = served.head(served.desk(queue.pk), encoder).head.predict(from_bytes(list(rows))).max(axis=1)
    Project.objects.update(confidence_threshold=float(np.quantile(best, 0.4)))
    touch_project(project_id=queue.pk)
    found = run_all(begun(queue))
    assert found.state == State.DONE
    closed = LabelTask.objects.filter(project=queue, state=TaskState.RETIRED).count()
    # About six in ten are sure; of these, those that the strategy has picked are asked all the same.
    assert 20 <= closed < LateAnswer.objects.count() <= 80
    assert Inquiry.objects.filter(late__isnull=False).exclude(status="answered").count() == 0
    before = versions()
    again = run_all(begun(queue))
    assert (again.result["moved"], versions()) == (0, before)
    assert again.items == found.items
