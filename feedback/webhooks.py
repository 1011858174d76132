"""Webhooks: each project's addresses, and the notices that events become there.

An event is a frozen dataclass that its app registers with `tells`; the outbox hands the published row to the function
that makes it, in the relay's transaction, so each webhook gets one notice per event. feedback/notices.py sends them.
"""

from __future__ import annotations

import dataclasses
import secrets as random_secrets
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit

import msgspec
from django.db import IntegrityError, transaction
from django.utils import timezone

from feedback import outbound, outbox, vault
from feedback.models import Inquiry, Notice, NoticeState, OutboxEvent, Webhook
from feedback.problems import Problem, invalid, not_found

MAX_WEBHOOKS = 20
OLD_SECRET_LASTS = timedelta(hours=24)


class WebhookEvent(Protocol):
    """What is told: a dataclass with the name of its kind."""

    kind: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]


Maker = Callable[[OutboxEvent], WebhookEvent | None]
kinds: dict[str, type[WebhookEvent]] = {}


def tells(event: type[WebhookEvent]) -> Callable[[Maker], Maker]:
    """Register the function that makes `event` from its outbox row, or None where what it was about is gone."""
    kinds[event.kind] = event

    def register(make: Maker) -> Maker:
        @outbox.group_consumer(event.kind, name="webhooks")
        def consume(rows: Sequence[OutboxEvent]) -> None:
            listening = _listening(rows, event.kind)
            notices = [
                n for row in rows if (ours := listening.get(row.project_id)) for n in _notices(row, ours, make(row))
            ]
            if notices:
                Notice.objects.bulk_create(notices, ignore_conflicts=True)
                transaction.on_commit(nudge)

        return make

    return register


def _listening(rows: Sequence[OutboxEvent], kind: str) -> dict[int | None, list[Webhook]]:
    """The webhooks that are told events of this kind, by project: most projects have none."""
    found: dict[int | None, list[Webhook]] = defaultdict(list)
    projects = {row.project_id for row in rows if row.project_id is not None}
    for webhook in Webhook.objects.filter(project_id__in=projects, active=True, kinds__contains=[kind]):
        found[webhook.project_id].append(webhook)
    return found


def _notices(row: OutboxEvent, ours: list[Webhook], told: WebhookEvent | None) -> list[Notice]:
    if told is None:
        return []
    event = f"evt_{row.pk}"
    body = {"id": event, "type": told.kind, "created_at": row.created_at, "data": dataclasses.asdict(told)}
    text, now = msgspec.json.encode(body).decode(), timezone.now()
    return [
        Notice(webhook=w, event=event, kind=told.kind, body=text, due_at=now, request_id=row.request_id) for w in ours
    ]


def nudge() -> None:
    """Wake the sender; a lost nudge costs one beat."""
    from feedback.tasks import send_notices, send_quietly

    send_quietly(send_notices)


@dataclasses.dataclass(frozen=True)
class InquiryResolved:
    """A person has decided about an inquiry that waited, or the model has answered it late, with the reply of this id."""

    kind: ClassVar[str] = "inquiry.resolved"
    inquiry: str
    external_id: str | None
    category: str | None
    by: str
    reply: int | None


@tells(InquiryResolved)
def inquiry_resolved(row: OutboxEvent) -> InquiryResolved | None:
    found = Inquiry.objects.filter(pk=row.payload["inquiry"]).select_related("category").first()
    if found is None:
        return None
    told = row.payload
    return InquiryResolved(
        str(found.pk), found.external_id, found.category.key if found.category else None, told.get("by", "person"),
        told.get("reply"),
    )  # fmt: skip


def create(*, project_id: int, url: str, kinds_told: list[str]) -> tuple[Webhook, str]:
    """A new webhook with its secret, which is shown this once."""
    _check(url, kinds_told)
    if Webhook.objects.filter(project_id=project_id).count() >= MAX_WEBHOOKS:
        raise Problem(409, "too-many", f"A project has up to {MAX_WEBHOOKS} webhooks: remove one first.")
    secret = _new_secret()
    try:
        with transaction.atomic():
            made = Webhook.objects.create(
                project_id=project_id, url=url, kinds=sorted(set(kinds_told)), secret=vault.seal_text(secret)
            )
    except IntegrityError as error:
        raise Problem(
            409, "exists", "There is already a webhook with this URL: change that one.", field="url"
        ) from error
    return made, secret


def _check(url: str, kinds_told: list[str]) -> None:
    if not kinds_told:
        raise invalid("kinds", f"Choose at least one of {', '.join(sorted(kinds))}.")
    for i, kind in enumerate(kinds_told):
        if kind not in kinds:
            raise invalid(f"kinds[{i}]", f"There is no event {kind!r}; known are {', '.join(sorted(kinds))}.")
    if len(url) > 2000 or not url.isascii() or not url.isprintable() or " " in url:
        raise invalid("url", "The URL may have up to 2,000 plain ASCII characters and no space.")
    try:
        outbound.resolve(urlsplit(url))
    except (outbound.Unreachable, ValueError) as error:
        raise invalid("url", str(error)) from error


def _new_secret() -> str:
    return f"whsec_{random_secrets.token_urlsafe(32)}"


def own(*, project_id: int, webhook_id: int) -> Webhook:
    found = Webhook.objects.filter(pk=webhook_id, project_id=project_id).first()
    if found is None:
        raise not_found("webhook")
    return found


def set_active(*, project_id: int, webhook_id: int, active: bool) -> Webhook:
    """Stop or go on; what waits is kept and sent when it goes on."""
    found = own(project_id=project_id, webhook_id=webhook_id)
    found.active = active
    found.failures, found.open_until = (0, None) if active else (found.failures, found.open_until)
    found.save(update_fields=["active", "failures", "open_until"])
    return found


def rotate_secret(*, project_id: int, webhook_id: int) -> tuple[Webhook, str]:
    """A new secret; for a day notices are signed with both, so that a receiver can change over."""
    with transaction.atomic():
        found = Webhook.objects.select_for_update().filter(pk=webhook_id, project_id=project_id).first()
        if found is None:
            raise not_found("webhook")
        secret = _new_secret()
        found.old_secret, found.old_secret_until = found.secret, timezone.now() + OLD_SECRET_LASTS
        found.secret = vault.seal_text(secret)
        found.save(update_fields=["secret", "old_secret", "old_secret_until"])
    return found, secret


def secrets_of(webhook: Webhook) -> list[str]:
    """The secrets that sign now, the present one first."""
    old = webhook.old_secret if webhook.old_secret_until and webhook.old_secret_until > timezone.now() else None
    return [vault.unseal_text(bytes(s)) for s in (webhook.secret, old) if s is not None]


def replay(*, project_id: int, webhook_id: int | None = None, notice_id: int | None = None) -> int:
    """Send dead notices again (one notice also when it was delivered): the same event id, a new round of attempts."""
    chosen = Notice.objects.filter(webhook__project_id=project_id)
    if notice_id is not None:
        chosen = chosen.filter(pk=notice_id, state__in=[NoticeState.DEAD, NoticeState.DELIVERED])
    else:
        chosen = chosen.filter(state=NoticeState.DEAD)
    if webhook_id is not None:
        chosen = chosen.filter(webhook_id=webhook_id)
    with transaction.atomic():
        ids = list(chosen.select_for_update(of=("self",)).values_list("pk", flat=True))
        again = Notice.objects.filter(pk__in=ids).update(
            state=NoticeState.PENDING, tries=0, due_at=timezone.now(), held_until=None, delivered_at=None
        )
        transaction.on_commit(nudge)
    return again
