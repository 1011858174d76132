"""Versions of a project's guidelines. Each amendment is one; annotations remember the one that they were given under."""

from __future__ import annotations

from django.db import transaction

from feedback import outbox
from feedback.models import Category, Project
from feedback.problems import invalid
from labeling.models import Guideline

LONGEST = 20_000


def current(project_id: int) -> int | None:
    """Id of the version in force; None where none has been written."""
    return Guideline.objects.filter(project_id=project_id).order_by("-number").values_list("pk", flat=True).first()


def amend(*, category: Category, text: str, author_id: int | None, task_id: int | None = None) -> Guideline:
    """Write a new version of a category's guideline; an unchanged text is no new version."""
    text = text.strip()
    if not text or len(text) > LONGEST:
        raise invalid("guideline", f"Write the guideline in 1 to {LONGEST:,} characters.")
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=category.project_id)
        last = Guideline.objects.filter(project_id=category.project_id).order_by("-number").first()
        if category.guideline == text and last is not None and last.category_id == category.pk:
            return last
        version = Guideline.objects.create(
            project_id=category.project_id, number=(last.number if last else 0) + 1, category=category, text=text,
            author_id=author_id, task_id=task_id,
        )  # fmt: skip
        Category.objects.filter(pk=category.pk).update(guideline=text)
        outbox.publish(
            kind="guideline.amended",
            project_id=category.project_id,
            payload={"category": category.key, "number": version.number},
        )
    return version
