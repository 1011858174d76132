"""Use cases of feedback/: each a transaction, keyword-only, no request object inside."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from feedback import outbox, privacy, scores
from feedback.ids import uuid7
from feedback.masking import Masked
from feedback.models import Category, ClientApp, Event, Inquiry, InquiryScore, Project, Reply, Status
from feedback.texts import fold_of, group_digest

# A clock that runs ahead by more than this is wrong: the event is then dated by its arrival.
MAX_SKEW = timedelta(minutes=5)


@dataclass(frozen=True)
class NewInquiry:
    """An inquiry as an app posted it, checked. `masked` where its text was masked already (serving reads it masked)."""

    text: str
    request_sha: bytes
    external_id: str | None = None
    locale: str = ""
    customer: str = ""
    channel: str = ""
    metadata: dict[str, Any] | None = None
    masked: Masked | None = None


def record_inquiry(
    *,
    project_id: int,
    app_id: int | None,
    new: NewInquiry,
    status: Status,
    category_id: int | None,
    reply_id: int | None,
) -> Inquiry:
    """Store an inquiry, masked, with its fold, and join the events that came before it. The caller holds the transaction."""
    masked = new.masked or privacy.masked(new.text, project_id=project_id)
    group = group_digest(masked.text)
    inquiry = Inquiry.objects.create(
        id=uuid7(), project_id=project_id, app_id=app_id, external_id=new.external_id, request_sha=new.request_sha, text=masked.text,
        locale=new.locale, customer=new.customer, channel=new.channel, metadata=new.metadata or {}, group_sha=group,
        fold=fold_of(group), status=status, category_id=category_id, reply_id=reply_id, received_at=timezone.now(),
    )  # fmt: skip
    if kept := privacy.sealed_row(project_id=project_id, found=masked, inquiry_id=inquiry.pk):
        kept.save(force_insert=True)
    references = [str(inquiry.pk)] + ([new.external_id] if new.external_id else [])
    held = Event.objects.filter(project_id=project_id, inquiry=None, inquiry_ref__in=references)
    if held.update(inquiry=inquiry):
        rescore(inquiry_ids=[inquiry.pk])
    return inquiry


def settle_inquiry(*, inquiry_id: uuid.UUID, category_id: int) -> None:
    """A person's decision is the final category; an inquiry that waited is resolved."""
    Inquiry.objects.filter(pk=inquiry_id).update(category_id=category_id)
    if Inquiry.objects.filter(pk=inquiry_id, status=Status.WAITING).update(status=Status.RESOLVED):
        project_id = Inquiry.objects.values_list("project_id", flat=True).get(pk=inquiry_id)
        outbox.publish(kind="inquiry.resolved", project_id=project_id, payload={"inquiry": str(inquiry_id)})


@dataclass(frozen=True)
class NewEvent:
    """A feedback event as an app posted it, checked."""

    inquiry_ref: str
    kind: str
    value: float | None
    text: str
    request_sha: bytes
    event_id: str | None
    customer: str
    occurred_at: datetime | None
    weight: float = 1.0  # below 1: an anonymous page


@dataclass(frozen=True)
class Receipt:
    """What became of one event: stored, duplicate (same id, same body) or conflict (same id, another body)."""

    id: uuid.UUID | None
    result: str


def record_feedback(*, project_id: int, app_id: int | None, events: Sequence[NewEvent]) -> list[Receipt]:
    """Store events with their scores in one transaction; duplicates are recognised by `event_id`, also within one call."""
    with transaction.atomic():
        inquiries = _inquiries_by_reference(project_id, {e.inquiry_ref for e in events})
        rows = [_event_row(project_id, app_id, e, inquiries.get(e.inquiry_ref)) for e in events]
        Event.objects.bulk_create(rows, ignore_conflicts=True)
        stored = set(Event.objects.filter(pk__in=[r.pk for r in rows]).values_list("pk", flat=True))
        known = _known_bodies(project_id, [r.event_id for r in rows if r.pk not in stored and r.event_id])
        touched = {r.inquiry_id for r in rows if r.pk in stored and r.inquiry_id}
        rescore(inquiry_ids=touched)
        for row in rows:
            if row.pk in stored and row.kind == "comment":
                outbox.publish(kind="comment.received", project_id=project_id, payload={"event": str(row.pk)})
    return [_receipt(row, stored, known) for row in rows]


def _event_row(project_id: int, app_id: int | None, e: NewEvent, inquiry_id: uuid.UUID | None) -> Event:
    now = timezone.now()
    occurred = e.occurred_at if e.occurred_at and e.occurred_at <= now + MAX_SKEW else now
    return Event(
        id=uuid7(), project_id=project_id, app_id=app_id, event_id=e.event_id, request_sha=e.request_sha, inquiry_ref=e.inquiry_ref,
        inquiry_id=inquiry_id, kind=e.kind, value=e.value, text=e.text, customer=e.customer, occurred_at=occurred,
        weight=e.weight,
    )  # fmt: skip


def _inquiries_by_reference(project_id: int, references: set[str]) -> dict[str, uuid.UUID]:
    """Events name an inquiry by its id or by the app's own external_id."""
    ids = {r for r in references if _is_uuid(r)}
    own = Inquiry.objects.filter(project_id=project_id)
    found = {str(pk): pk for pk in own.filter(pk__in=ids).values_list("pk", flat=True)}
    found |= {e: pk for e, pk in own.filter(external_id__in=references).values_list("external_id", "pk") if e}
    return found


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def _known_bodies(project_id: int, event_ids: list[str]) -> dict[str, tuple[uuid.UUID, bytes]]:
    known = Event.objects.filter(project_id=project_id, event_id__in=event_ids)
    return {str(e): (pk, bytes(sha)) for e, pk, sha in known.values_list("event_id", "pk", "request_sha")}


def _receipt(row: Event, stored: set[uuid.UUID], known: dict[str, tuple[uuid.UUID, bytes]]) -> Receipt:
    if row.pk in stored:
        return Receipt(row.pk, "stored")
    pk, sha = known[str(row.event_id)]
    return Receipt(pk, "duplicate") if sha == bytes(row.request_sha) else Receipt(None, "conflict")


def rescore(*, inquiry_ids: Iterable[uuid.UUID]) -> None:
    """Recompute the scores of inquiries from all their events. Rows are locked in id order, so concurrent calls line up."""
    ids = sorted(set(inquiry_ids))
    if not ids:
        return
    with transaction.atomic():
        locked = list(
            Inquiry.objects.select_for_update(of=("self",), no_key=True)
            .filter(pk__in=ids)
            .order_by("pk")
            .select_related("project")
        )
        signals: dict[uuid.UUID, list[scores.Signal]] = {pk: [] for pk in ids}
        for event in Event.objects.filter(inquiry_id__in=ids):
            assert event.inquiry_id is not None
            value = event.sentiment if event.kind == "comment" else event.value
            signals[event.inquiry_id].append(
                scores.Signal(event.kind, value, event.occurred_at, str(event.pk), event.weight)
            )
        rows = [_score_row(inquiry, signals[inquiry.pk]) for inquiry in locked]
        InquiryScore.objects.bulk_create(
            rows, update_conflicts=True, unique_fields=["inquiry"],
            update_fields=["implicit", "explicit", "thumbs", "events", "updated_at"],
        )  # fmt: skip


def _score_row(inquiry: Inquiry, signals: list[scores.Signal]) -> InquiryScore:
    result = scores.scores_of(signals, *weights_of(inquiry.project))
    return InquiryScore(
        inquiry=inquiry, implicit=result.implicit, explicit=result.explicit, thumbs=result.thumbs, events=len(signals),
        updated_at=timezone.now(),
    )  # fmt: skip


def weights_of(project: Project) -> tuple[scores.ImplicitWeights, scores.ExplicitWeights]:
    return (
        scores.ImplicitWeights(project.click_weight, project.dwell_weight, project.scroll_weight, project.dwell_rate),
        scores.ExplicitWeights(
            project.rating_weight, project.sentiment_weight, project.nps_weight, project.rating_min, project.rating_max
        ),
    )


def write_sentiment(*, event_id: uuid.UUID, sentiment: float) -> None:
    """A comment's sentiment in [−1, 1], computed by serving/, with the score that follows from it."""
    with transaction.atomic():
        Event.objects.filter(pk=event_id).update(sentiment=sentiment)
        inquiry_id = Event.objects.values_list("inquiry_id", flat=True).get(pk=event_id)
        rescore(inquiry_ids=[inquiry_id] if inquiry_id else [])


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


def add_reply(*, category_id: int, locale: str, text: str, slot: int = 1) -> Reply:
    """Give a category its reply in a locale; an earlier one in the same place becomes an old version."""
    with transaction.atomic():
        category = Category.objects.select_for_update().get(pk=category_id)
        same = Reply.objects.filter(category=category, locale=locale, slot=slot)
        version = same.count() + 1
        same.filter(active=True).update(active=False)
        reply = Reply.objects.create(
            project_id=category.project_id, category=category, locale=locale, slot=slot, version=version, text=text
        )
        touch_project(project_id=category.project_id)
    return reply


def touch_project(*, project_id: int) -> None:
    """Tell serving processes that settings, categories or replies changed."""
    Project.objects.filter(pk=project_id).update(revision=F("revision") + 1)
