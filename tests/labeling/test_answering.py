"""The common answer in two statements leaves behind what the long way leaves behind."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any
from unittest.mock import patch

import pytest
from django.test import Client

from feedback.models import AuditEvent, Inquiry, Membership, OutboxEvent, Project, Status, User
from labeling import answering, queue, selectors, services
from labeling.models import Annotation, AnnotatorDay, Band, Batch, Label, LabelTask, Slot
from labeling.quality_models import QueueTally
from tests.labeling.test_queue import add_task

pytestmark = pytest.mark.django_db(transaction=True)
# What differs between two tasks anyway.
VOLATILE = {"id", "inquiry_id", "task_id", "slot_id", "created_at", "resolved_at", "settled_at", "token", "priority"}


@pytest.fixture
def single(project: Project) -> Project:
    project.overlap = 1
    project.save()
    for i in range(3):
        add_task(project, f"Where is parcel {i}?")
    return project


def claimed(project: Project, annotator: User) -> queue.Lease:
    lease = queue.claim(project_id=project.pk, annotator_id=annotator.pk, roles=["annotator"], seconds=60)
    assert lease is not None
    return lease


def answer_of(lease: queue.Lease, category: str | None, **more: Any) -> services.Answer:
    return services.Answer(
        task_id=lease.task_id, annotator_id=lease.annotator_id, token=lease.token, category=category, **more
    )


def first_category(project: Project) -> str:
    return str(project.categories.order_by("pk").first().key)  # type: ignore[union-attr]


def plain(rows: Any) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in VOLATILE} for row in rows.order_by("pk").values()]


def left_behind(task: LabelTask) -> dict[str, Any]:
    """All rows that tell of the answer to a task."""
    inquiry = Inquiry.objects.filter(pk=task.inquiry_id)
    events = OutboxEvent.objects.filter(payload__inquiry=str(task.inquiry_id))
    return {
        "task": plain(LabelTask.objects.filter(pk=task.pk)), "slots": plain(Slot.objects.filter(task=task)),
        "answers": plain(Annotation.objects.filter(task=task)), "label": plain(Label.objects.filter(inquiry=task.inquiry_id)),
        "inquiry": list(inquiry.values("status", "category_id")), "events": sorted(events.values_list("kind", "state")),
    }  # fmt: skip


def test_it_leaves_what_the_long_way_leaves(single: Project, annotator: User) -> None:
    Inquiry.objects.update(status=Status.WAITING)
    batch = Batch.objects.create(project=single, number=1, entered_as=Band.DISAGREEMENTS)
    found, audited, days = [], [], []
    for common in (True, False):
        before = set(AuditEvent.objects.values_list("pk", flat=True))
        lease = claimed(single, annotator)
        with nullcontext() if common else patch.object(answering.Seen, "is_common", False):
            given = answer_of(lease, first_category(single), saw_suggestion=True, seconds=2.5)
            services.take(roles={single.pk: ["annotator"]}, answer=given)
        found.append(left_behind(LabelTask.objects.get(pk=lease.task_id)))
        new = AuditEvent.objects.exclude(pk__in=before)
        audited.append(sorted(new.values_list("kind", "action", "user_id")))
        days.append(AnnotatorDay.objects.values_list("answers", "seconds", "timed").get())
    assert found[0] == found[1]
    assert found[0]["task"][0]["batch_id"] == batch.pk
    assert audited[0] == audited[1]
    assert days == [(1, 2.5, 1), (2, 5.0, 2)]


def test_the_person_is_named_in_the_audit(single: Project, annotator: User) -> None:
    lease = claimed(single, annotator)
    services.take(roles={single.pk: ["annotator"]}, answer=answer_of(lease, first_category(single)))
    told = AuditEvent.objects.filter(kind__in=["annotation", "label", "task"])
    assert set(told.values_list("kind", "user_id")) == {(k, annotator.pk) for k in ("annotation", "label", "task")}


def test_a_waiting_inquiry_is_resolved_and_both_are_told(single: Project, annotator: User) -> None:
    lease = claimed(single, annotator)
    inquiry = Inquiry.objects.get(task__pk=lease.task_id)
    Inquiry.objects.filter(pk=inquiry.pk).update(status=Status.WAITING)
    services.take(roles={single.pk: ["annotator"]}, answer=answer_of(lease, first_category(single)))
    inquiry.refresh_from_db()
    assert inquiry.status == Status.RESOLVED
    told = OutboxEvent.objects.filter(payload__inquiry=str(inquiry.pk), kind__in=["label.resolved", "inquiry.resolved"])
    assert sorted(told.values_list("kind", flat=True)) == ["inquiry.resolved", "label.resolved"]


def test_a_lease_that_is_lost_between_the_two_statements_gives_an_extra_answer(
    single: Project, annotator: User
) -> None:
    lease = claimed(single, annotator)
    real = answering.write

    def too_late(**given: Any) -> int | None:
        queue.clear_leases(project_id=single.pk)
        return real(**given)

    with patch.object(answering, "write", too_late):
        _, taken = services.take(roles={single.pk: ["annotator"]}, answer=answer_of(lease, first_category(single)))
    assert taken.extra
    assert LabelTask.objects.get(pk=lease.task_id).state == "open"
    assert not Label.objects.filter(inquiry__task=lease.task_id).exists()


def test_the_counters_follow(single: Project, annotator: User) -> None:
    lease = claimed(single, annotator)
    before = queue.counts(project_id=single.pk)["open"]
    services.take(roles={single.pk: ["annotator"]}, answer=answer_of(lease, first_category(single)))
    assert queue.counts(project_id=single.pk)["open"] == before - 1
    assert QueueTally.objects.filter(project_id=single.pk, what="task:resolved").exists()


def test_an_item_comes_with_its_reason_as_data_and_in_words(single: Project, annotator: User) -> None:
    between = [{"category": "refund", "share": 0.48}, {"category": "delivery", "share": 0.46}]
    LabelTask.objects.update(reason={"rule": "margin", "between": between})
    item = selectors.task_payload(
        task_id=LabelTask.objects.values_list("pk", flat=True)[0], role="annotator", annotator_id=annotator.pk
    )
    assert item["reason"]["rule"] == "margin"
    assert "48" in item["why"]


class TestSession:
    def call(self, client: Client, project: Project) -> int:
        return client.post(
            "/api/v1/queue/next", {"project": project.slug}, content_type="application/json"
        ).status_code  # fmt: skip

    def test_a_known_session_ends_with_the_sign_out(self, single: Project, annotator: User, client: Client) -> None:
        client.force_login(annotator)
        cookie = client.cookies["sessionid"].value
        assert [self.call(client, single) for _ in range(2)] == [200, 200]
        client.logout()
        client.cookies["sessionid"] = cookie
        assert self.call(client, single) == 401

    def test_it_ends_with_a_new_password(self, single: Project, annotator: User, client: Client) -> None:
        client.force_login(annotator)
        assert [self.call(client, single) for _ in range(2)] == [200, 200]
        annotator.set_password("another-long-passphrase-1")
        annotator.save()
        assert self.call(client, single) == 401

    def test_it_ends_with_the_account(self, single: Project, annotator: User, client: Client) -> None:
        client.force_login(annotator)
        assert [self.call(client, single) for _ in range(2)] == [200, 200]
        User.objects.filter(pk=annotator.pk).update(is_active=False)
        assert self.call(client, single) == 401

    def test_a_role_that_is_taken_away_ends_at_once(self, single: Project, annotator: User, client: Client) -> None:
        client.force_login(annotator)
        assert self.call(client, single) == 200
        Membership.objects.filter(user=annotator).delete()
        assert self.call(client, single) == 404
