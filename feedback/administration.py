"""Use cases of setting a desk up: its settings, categories and prepared replies, and putting it away.

Whoever saves names the revision of the project that they saw: of two leads on one form the second is told, and nothing of the
first is overwritten.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from feedback import outbox
from feedback.gaps import stray_braces
from feedback.models import Category, Project, Reply
from feedback.problems import Problem, invalid, not_found
from feedback.services import add_reply
from feedback.texts import fault_in


def change_settings(*, project_id: int, seen: int, fields: dict[str, Any]) -> None:
    """Write checked settings where nobody has changed the project since revision `seen`."""
    same = Project.objects.filter(pk=project_id, revision=seen)
    if not same.update(revision=F("revision") + 1, **fields):
        raise overtaken()


def overtaken() -> Problem:
    return Problem(
        409, "overtaken", "Somebody has changed this since you opened it. Look at it as it is now and try again."
    )


def archive_project(*, project_id: int, on: bool) -> None:
    """Put a project away, or bring it back. Its keys stop working within seconds; nothing is deleted."""
    other = Project.objects.filter(pk=project_id, archived_at__isnull=on)
    other.update(archived_at=timezone.now() if on else None, revision=F("revision") + 1)


def change_category(*, project_id: int, category_id: int, seen: int, fields: dict[str, Any]) -> None:
    """Write a category's checked fields; models are then taught what changed. Its guideline is labeling's, where versions are kept."""
    with transaction.atomic():
        change_settings(project_id=project_id, seen=seen, fields={})
        if not Category.objects.filter(pk=category_id, project_id=project_id).update(**fields):
            raise not_found("category")
        _tell(project_id, category_id)


def archive_category(*, project_id: int, category_id: int, on: bool) -> None:
    """Take a category out of use, or bring it back. What refers to it stays as it is; the last one in use stays too."""
    with transaction.atomic():
        Project.objects.select_for_update(no_key=True).get(pk=project_id)
        rows = Category.objects.filter(project_id=project_id)
        if not rows.filter(pk=category_id).exists():
            raise not_found("category")
        if on and not rows.filter(archived_at=None).exclude(pk=category_id).exists():
            raise Problem(409, "last-category", "A desk needs a category. Add another one first.")
        wanted = rows.filter(pk=category_id, archived_at__isnull=on)
        if wanted.update(archived_at=timezone.now() if on else None):
            Project.objects.filter(pk=project_id).update(revision=F("revision") + 1)
            _tell(project_id, category_id)


def move_category(*, project_id: int, category_id: int, by: int) -> None:
    """Change places with the neighbour above (−1) or below (1): number keys on the desk follow the order."""
    with transaction.atomic():
        Project.objects.select_for_update(no_key=True).get(pk=project_id)
        ids = list(Category.objects.filter(project_id=project_id, archived_at=None).values_list("pk", flat=True))
        if category_id not in ids:
            raise not_found("category")
        at = ids.index(category_id)
        to = min(max(at + by, 0), len(ids) - 1)
        ids.insert(to, ids.pop(at))
        for position, pk in enumerate(ids):
            Category.objects.filter(pk=pk).update(position=position)
        Project.objects.filter(pk=project_id).update(revision=F("revision") + 1)


def write_reply(
    *,
    project_id: int,
    category_id: int,
    locale: str,
    text: str,
    slot: int | None = None,
    expires_at: datetime | None = None,
) -> Reply:
    """A new prepared reply, or with `slot` a new version of one; from `expires_at` on it is offered no longer.

    422 where the text has braces that are no gap: a customer would read them as they stand.
    """
    with transaction.atomic():
        category = Category.objects.select_for_update().filter(pk=category_id, project_id=project_id).first()
        if category is None:
            raise not_found("category")
        if fault := fault_in(text):
            raise invalid("text", f"The reply {fault}.")
        if wrong := stray_braces(text):
            raise invalid(
                "text", f"{wrong} is no gap: write a gap as {{order}}, in small letters, digits and underscores."
            )
        if expires_at is not None and expires_at <= timezone.now():
            raise invalid("expires_at", "The reply would have expired already.")
        if slot is None:
            used = (
                Reply.objects.filter(category=category, locale=locale).order_by("-slot").values_list("slot", flat=True)
            )
            slot = (used.first() or 0) + 1
        return add_reply(category_id=category.pk, locale=locale, text=text, slot=slot, expires_at=expires_at)


def retire_reply(*, project_id: int, reply_id: int) -> None:
    """Offer a reply no longer; those who were told it keep it in their story."""
    if not Reply.objects.filter(pk=reply_id, project_id=project_id).exists():
        raise not_found("reply")
    if Reply.objects.filter(pk=reply_id, active=True).update(active=False):
        Project.objects.filter(pk=project_id).update(revision=F("revision") + 1)


def _tell(project_id: int, category_id: int) -> None:
    outbox.publish(kind="category.changed", project_id=project_id, payload={"categories": [category_id]})
