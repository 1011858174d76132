"""`manage.py import_labels`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from tqdm import tqdm

from feedback.models import Category, Inquiry, Project, Status
from feedback.services import add_categories, record_inquiry
from feedback.texts import fault_in
from labeling.models import Label
from labeling.services import import_label
from serving.management.commands.import_inquiries import new_inquiry, read_rows


class Command(BaseCommand):
    help = "Import labels that you already have: a CSV with the columns text,label. A training follows by itself."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument("file", type=Path, help="CSV with the columns text,label [and external_id, locale]")
        parser.add_argument("--add-categories", action="store_true", help="make categories that are not there yet")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}. Make it with create_project.")
        rows = list(read_rows(options["file"]))
        categories = self._categories(project, rows, add=options["add_categories"])
        stored, faults = 0, []
        for number, row in tqdm(rows, desc="labels", file=sys.stderr, disable=not sys.stderr.isatty()):
            if fault := fault_in(row.get("text", "")):
                faults.append(f"line {number}: the text {fault}")
            else:
                _store(project.pk, row, categories[row["label"]])
                stored += 1
        for fault in faults[:20]:
            self.stderr.write(fault)
        self.stdout.write(f"{stored} labels are in {project.slug}; {len(faults)} rows were refused.")

    def _categories(self, project: Project, rows: list[tuple[int, dict[str, str]]], *, add: bool) -> dict[str, int]:
        """Every label of the file as a category id, before anything is stored."""
        unlabeled = next((n for n, r in rows if not r.get("label")), None)
        if unlabeled is not None:
            raise CommandError(f"Line {unlabeled} has no label.")
        known = dict(Category.objects.filter(project=project).values_list("key", "pk"))
        new = sorted({r["label"] for _, r in rows} - known.keys())
        if new and not add:
            raise CommandError(f"Unknown category {new[0]!r} ({len(new)} in all). Add --add-categories to make them.")
        made = add_categories(
            project_id=project.pk, categories=[{"key": k, "name": k.replace("_", " ")} for k in new]
        ) if new else []  # fmt: skip
        return known | {c.key: c.pk for c in made}


def _store(project_id: int, row: dict[str, str], category_id: int) -> None:
    new = new_inquiry(row)
    with transaction.atomic():
        inquiry = Inquiry.objects.filter(project_id=project_id, external_id=new.external_id).first()
        if inquiry is None:
            inquiry = record_inquiry(
                project_id=project_id,
                app_id=None,
                new=new,
                status=Status.RESOLVED,
                category_id=category_id,
                reply_id=None,
            )
        elif Label.objects.filter(inquiry=inquiry, category_id=category_id).exists():
            return
        import_label(inquiry=inquiry, category_id=category_id)
