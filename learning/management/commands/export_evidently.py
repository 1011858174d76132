"""`manage.py export_evidently`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback.models import Project
from learning.models import DriftReport
from serving.artifacts import write_file


class Command(BaseCommand):
    help = "Write a stored drift report's reference and window as an Evidently report."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument("file", type=Path, help="ends in .html or .json")
        parser.add_argument("--report", type=int, help="the drift report; the newest without it")
        parser.add_argument(
            "--python",
            default=sys.executable,
            metavar="PROGRAM",
            help="a Python that has Evidently; this one without it",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        from learning import evidently_export  # scipy is loaded where it is needed

        file = options["file"]
        if file.suffix not in evidently_export.KINDS:
            raise CommandError(f"file: {file.name} ends in neither .html nor .json.")
        row = self._report(options["project"], options["report"])
        try:
            write_file(file, evidently_export.export(row, python=options["python"], kind=file.suffix))
        except LookupError as error:
            raise CommandError(f"report {row.pk} cannot be exported: {error}.") from error
        except evidently_export.NotExported as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"{file} cannot be written: {error.strerror}.") from error
        self.stdout.write(f"report {row.pk}: {file}")

    def _report(self, slug: str, number: int | None) -> DriftReport:
        project = Project.objects.filter(slug=slug).first()
        if project is None:
            raise CommandError(f"There is no project {slug!r}.")
        rows = DriftReport.objects.filter(project=project).select_related("reference").order_by("-created_at", "-pk")
        row = rows.first() if number is None else rows.filter(pk=number).first()
        if row is None:
            raise CommandError(f"There is no drift report{'' if number is None else f' {number}'} in {slug!r}.")
        return row
