"""`manage.py export_labels`."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any, TextIO

from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback.models import Fold, Project
from labeling.models import Label

FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Command(BaseCommand):
    help = "Write a project's labels as CSV, streamed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument("--output", type=Path, help="a file (default: standard output)")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        if options["output"] is None:
            write_labels(project.pk, sys.stdout)
            return
        with options["output"].open("w", encoding="utf-8", newline="") as handle:
            self.stdout.write(f"{write_labels(project.pk, handle)} labels.")


def write_labels(project_id: int, out: TextIO) -> int:
    """CSV of all settled labels; returns how many. No cell starts a formula."""
    writer = csv.writer(out)
    writer.writerow(["inquiry", "external_id", "text", "label", "source", "fold", "settled_at"])
    rows = Label.objects.filter(project_id=project_id, category__isnull=False).order_by("pk").values_list(
        "inquiry_id", "inquiry__external_id", "inquiry__text", "category__key", "source", "inquiry__fold", "settled_at"
    )  # fmt: skip
    count = 0
    for *cells, fold, settled_at in rows.iterator(chunk_size=2000):
        writer.writerow([*map(_plain, cells), Fold(fold).label, settled_at.isoformat()])
        count += 1
    return count


def _plain(cell: Any) -> str:
    text = "" if cell is None else str(cell)
    return f"'{text}" if text.startswith(FORMULA) else text
