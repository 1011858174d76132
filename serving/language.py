"""Language models of a project: which version writes drafts, and the templates that prompts are made from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import transaction
from django.db.models import Max

from feedback.models import Category, Project
from feedback.problems import invalid, not_found
from serving import prompts
from serving.artifacts import Bundle, CorruptBundle, load_bundle
from serving.drafter import GRAPH
from serving.language_models import LanguageStage, LanguageVersion, PromptTemplate
from serving.lines import Line
from serving.prompts import Template
from serving.registry import bundle_path


def open_bundle(version: LanguageVersion) -> Bundle:
    """The verified bundle of a version. Raises CorruptBundle."""
    bundle = load_bundle(bundle_path(version.manifest_sha), version.manifest_sha)
    if GRAPH not in bundle.manifest["files"]:
        raise CorruptBundle(f"{GRAPH} is not in it")
    return bundle


def _silent(project_id: int, version: LanguageVersion | None) -> None:
    """Drafts are written by jobs, which ask the database which version writes: nobody has to be told."""


line = Line(LanguageVersion, lambda v: f"Language model d{v.number}", open_bundle, _silent, lambda v: v.barred)
register, promote = line.register, line.promote


def in_production(*, project_id: int) -> LanguageVersion | None:
    return line.in_production(project_id=project_id, encoder_sha="")


def rollback(*, project_id: int) -> LanguageVersion | None:
    """Put the version before the present one back; before the first, no drafts are written (None). 409 where none writes."""
    return line.withdraw(project_id=project_id, encoder_sha="", nothing="No language model writes drafts here.")


def bar(*, project_id: int, inquiries: Iterable[str], why: str) -> list[LanguageVersion]:
    """Versions that were tuned on any of these inquiries write no more: unlike a classifier, they may repeat what they read."""
    wanted = set(inquiries)
    versions = LanguageVersion.objects.filter(project_id=project_id).order_by("number")
    found = [v for v in versions if wanted.intersection(v.lineage.get("inquiries", ()))]
    with transaction.atomic():
        LanguageVersion.objects.filter(pk__in=[v.pk for v in found]).update(barred=why)
        if any(v.stage == LanguageStage.PRODUCTION for v in found):
            rollback(project_id=project_id)
    return found


def templates(*, project_id: int) -> list[Template]:
    """Those in force."""
    rows = PromptTemplate.objects.filter(project_id=project_id, active=True).select_related("category")
    return [as_template(r) for r in rows.order_by("pk")]


def as_template(row: PromptTemplate) -> Template:
    key = row.category.key if row.category is not None else ""
    return Template(key, row.locale, row.number, row.text, tuple((e["inquiry"], e["reply"]) for e in row.examples))


def add_template(
    *, project_id: int, text: str, category: str = "", locale: str = "", examples: Sequence[dict[str, Any]] = (),
    author_id: int | None = None,
) -> PromptTemplate:  # fmt: skip
    """A new version, in force from the next tuning on; the same text and examples again are the version that stands. 422."""
    pairs = _pairs(examples)
    if fault := prompts.fault_in(text, pairs):
        raise invalid(fault[0], f"The {fault[0]} {fault[1]}.")
    place = {"project_id": project_id, "category": _category(project_id, category), "locale": locale}
    new = PromptTemplate(
        **place, text=text, examples=[{"inquiry": a, "reply": b} for a, b in pairs], author_id=author_id
    )
    with transaction.atomic():
        Project.objects.select_for_update(no_key=True).get(pk=project_id)
        same = PromptTemplate.objects.filter(**place)
        present = same.filter(active=True).first()
        if present is not None and present.sha256 == new.sha256:
            return present
        same.filter(active=True).update(active=False)
        new.number = (same.aggregate(n=Max("number"))["n"] or 0) + 1
        new.save()
    return new


def take_back(*, project_id: int, number: int, category: str = "", locale: str = "") -> PromptTemplate:
    """An earlier version is in force again. 404 where there is no such one."""
    place = {"project_id": project_id, "category": _category(project_id, category), "locale": locale}
    with transaction.atomic():
        Project.objects.select_for_update(no_key=True).get(pk=project_id)
        found = PromptTemplate.objects.filter(**place, number=number).first()
        if found is None:
            raise not_found("prompt template")
        PromptTemplate.objects.filter(**place, active=True).update(active=False)
        PromptTemplate.objects.filter(pk=found.pk).update(active=True)
    found.active = True
    return found


def _pairs(examples: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    for n, e in enumerate(examples, 1):
        if not isinstance(e, dict) or not isinstance(e.get("inquiry"), str) or not isinstance(e.get("reply"), str):
            raise invalid("examples", f'Example {n} has to be {{"inquiry": "…", "reply": "…"}}.')
    return [(e["inquiry"], e["reply"]) for e in examples]


def _category(project_id: int, key: str) -> Category | None:
    if not key:
        return None
    found = Category.objects.filter(project_id=project_id, key=key, archived_at=None).first()
    if found is None:
        raise invalid("category", f"The project has no category {key!r}.")
    return found
