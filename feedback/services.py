"""Use cases of feedback/: each a transaction, keyword-only, no request object inside."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F

from feedback import ingest, outbox, privacy, rules, score_fold
from feedback.incoming import NewEvent, Receipt
from feedback.models import Category, ClientApp, Event, Inquiry, Project, Reply, Status
from feedback.recording import NewInquiry as NewInquiry
from feedback.recording import inquiry_columns


def record_inquiry(
    *,
    project_id: int,
    app_id: int | None,
    new: NewInquiry,
    status: Status,
    category_id: int | None,
    reply_id: int | None,
    model: str = "",
) -> Inquiry:
    """Store an inquiry, masked, with its fold, and join the events that came before it. The caller holds the transaction.

    `model` is what the caller calls the version that answered: figures are grouped by it.
    """
    masked = new.masked or privacy.masked(new.text, project_id=project_id)
    columns = inquiry_columns(
        project_id=project_id, app_id=app_id, new=replace(new, masked=masked), status=status, category_id=category_id,
        reply_id=reply_id, model=model,
    )  # fmt: skip
    inquiry = Inquiry.objects.create(**columns)
    if kept := privacy.sealed_row(project_id=project_id, found=masked, inquiry_id=inquiry.pk):
        kept.save(force_insert=True)
    if new.external_id is not None:  # its own id is not known to anybody before the answer
        ingest.join_held(inquiry_id=inquiry.pk)
    return inquiry


# The same within a statement of another app: `<from>` is its CTE that has a row where an inquiry is to be settled; `inquiry`
# then says whether it had waited. Parameters: inquiry, project, category.
SETTLE_INQUIRY = """
inquiry AS (
    SELECT i.id, i.category_id IS DISTINCT FROM %(category)s::bigint AS moved, i.status = 'waiting' AS waited
    FROM feedback_inquiry i, <from> WHERE i.id = %(inquiry)s FOR NO KEY UPDATE OF i
), settled AS (
    UPDATE feedback_inquiry i SET category_id = %(category)s, status = CASE WHEN waited THEN 'resolved' ELSE status END
    FROM inquiry x WHERE i.id = x.id AND (moved OR waited)
), anew AS (
    INSERT INTO feedback_unscored (project_id, events, anew)
    SELECT %(project)s, '{}', ARRAY[id] FROM inquiry WHERE moved
)"""


def settle_inquiry(*, inquiry_id: uuid.UUID, category_id: int) -> None:
    """A person's decision is the final category; an inquiry that waited is resolved. Its scores count there from now on."""
    with transaction.atomic():
        moved = Inquiry.objects.filter(pk=inquiry_id).exclude(category_id=category_id).update(category_id=category_id)
        if Inquiry.objects.filter(pk=inquiry_id, status=Status.WAITING).update(status=Status.RESOLVED):
            project_id = Inquiry.objects.values_list("project_id", flat=True).get(pk=inquiry_id)
            outbox.publish(kind="inquiry.resolved", project_id=project_id, payload={"inquiry": str(inquiry_id)})
        if moved:
            score_fold.ask_anew([inquiry_id])


@dataclass(frozen=True)
class LateReply:
    """What the model answers an inquiry with that waited for a person."""

    inquiry_id: uuid.UUID
    category_id: int
    reply_id: int | None


def answer_late(*, project_id: int, replies: Sequence[LateReply], model: str) -> None:
    """The model answers inquiries that wait for a person; others are left as they are. Their scores count under the new category from
    now on. In a transaction of the caller."""
    wanted = {r.inquiry_id: r for r in replies}
    waiting = list(
        Inquiry.objects.select_for_update()
        .filter(pk__in=list(wanted), project_id=project_id, status=Status.WAITING)
        .order_by("pk")
    )
    moved = [i.pk for i in waiting if i.category_id != wanted[i.pk].category_id]
    for inquiry in waiting:
        inquiry.status, inquiry.model = Status.ANSWERED, model
        inquiry.category_id, inquiry.reply_id = wanted[inquiry.pk].category_id, wanted[inquiry.pk].reply_id
    Inquiry.objects.bulk_update(waiting, ["status", "model", "category", "reply"])
    outbox.publish_all(
        kind="inquiry.resolved", project_id=project_id,
        payloads=[{"inquiry": str(i.pk), "by": "model", "reply": i.reply_id} for i in waiting],
    )  # fmt: skip
    if moved:
        score_fold.ask_anew(moved)


def record_feedback(*, project_id: int, app_id: int | None, events: Sequence[NewEvent]) -> list[Receipt]:
    """Store events; durable when this returns. Duplicates are recognised by `event_id`, also within one call.

    A single event shares its transaction with those that arrive at the same time. Raises Problem 503 where events arrive
    faster than they can be stored. Scores follow with the next fold.
    """
    return ingest.record(project_id=project_id, app_id=app_id, events=events)


def fold_scores(*, project_id: int, rounds: int = 10) -> bool:
    """Bring the scores of a project up to date: for whoever is about to read them. False where more waits than `rounds` fold."""
    return any(score_fold.fold_project(project_id) == 0 for _ in range(rounds))


# Settings of a project that its scores are made with: whoever changes one calls `rescore_project`.
SCORE_SETTINGS = frozenset({
    "click_weight", "dwell_weight", "scroll_weight", "dwell_rate", "dwell_curve", "rating_weight", "sentiment_weight",
    "nps_weight", "rating_min", "rating_max",
})  # fmt: skip


def rescore_project(*, project_id: int) -> None:
    """Have all scores of a project made anew with the next folds."""
    score_fold.ask_all_anew(project_id)


def set_weights(*, project_id: int, changes: dict[str, Any]) -> None:
    """Change how a project's scores are weighted (names of Project's fields): all of them are made anew with the next folds."""
    with transaction.atomic():
        project = Project.objects.select_for_update().get(pk=project_id)
        for name, value in changes.items():
            setattr(project, name, value)
        project.save(update_fields=list(changes))
        touch_project(project_id=project_id)
        rescore_project(project_id=project_id)


def rescore(*, inquiry_ids: Iterable[uuid.UUID]) -> None:
    """Have the scores of inquiries made anew from all their events: for whoever changed or erased events."""
    score_fold.ask_anew(list(set(inquiry_ids)))


def write_sentiment(*, event_id: uuid.UUID, sentiment: float) -> None:
    """A comment's sentiment in [−1, 1], computed by serving/; the score that follows from it comes with the next fold."""
    with transaction.atomic():
        Event.objects.filter(pk=event_id).update(sentiment=sentiment)
        inquiry_id = Event.objects.values_list("inquiry_id", flat=True).get(pk=event_id)
        if inquiry_id:
            rescore(inquiry_ids=[inquiry_id])


def create_project(*, slug: str, name: str, categories: Sequence[dict[str, Any]], **settings: Any) -> Project:
    """A project with its categories (dicts of Category fields) and an app named "default"; refused when the slug exists."""
    with transaction.atomic():
        project = Project(slug=slug, name=name, **settings)
        project.full_clean()
        project.save()
        add_categories(project_id=project.pk, categories=categories)
        ClientApp.objects.create(project=project, name="default")
    return project


def add_categories(*, project_id: int, categories: Sequence[dict[str, Any]]) -> list[Category]:
    """Add categories; models are then taught them (`category.changed`)."""
    with transaction.atomic():
        start = Category.objects.filter(project_id=project_id).count()
        rows = [Category(project_id=project_id, position=start + i, **c) for i, c in enumerate(categories)]
        for row in rows:
            row.full_clean(exclude=["project"])
        Category.objects.bulk_create(rows)
        touch_project(project_id=project_id)
        if rows:
            outbox.publish(kind="category.changed", project_id=project_id, payload={"categories": [r.pk for r in rows]})
    return rows


def add_reply(*, category_id: int, locale: str, text: str, slot: int = 1, expires_at: datetime | None = None) -> Reply:
    """Give a category its reply in a locale; an earlier one in the same place becomes an old version."""
    with transaction.atomic():
        category = Category.objects.select_for_update().get(pk=category_id)
        same = Reply.objects.filter(category=category, locale=locale, slot=slot)
        version = same.count() + 1
        same.filter(active=True).update(active=False)
        reply = Reply.objects.create(
            project_id=category.project_id, category=category, locale=locale, slot=slot, version=version, text=text,
            expires_at=expires_at,
        )  # fmt: skip
        touch_project(project_id=category.project_id)
    return reply


def touch_project(*, project_id: int) -> None:
    """Tell serving processes that settings, categories or replies changed."""
    Project.objects.filter(pk=project_id).update(revision=F("revision") + 1)
    rules.cache.forget(project_id)
