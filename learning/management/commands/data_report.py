"""`manage.py data_report`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback.models import Project
from learning.models import TrainingRun
from serving.artifacts import write_file


class Command(BaseCommand):
    help = "Show what was found about a run's labels before it trained, or write the report as an HTML file."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument("--run", type=int, help="the run; the newest without it")
        parser.add_argument("--html", type=Path, metavar="FILE", help="write the whole report here")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        runs = TrainingRun.objects.filter(project=project).exclude(report="").order_by("-pk")
        run = runs.filter(pk=options["run"]).first() if options["run"] is not None else runs.first()
        if run is None:
            wanted = "" if options["run"] is None else f" {options['run']}"
            raise CommandError(f"There is no run{wanted} with a report in {project.slug!r}.")
        for check in run.validation["checks"]:
            said = "passed" if check["passed"] else "FAULT" if check["fault"] else "remark"
            self.stdout.write(f"{said:7}{check['name']}: {check['detail']}")
        if options["html"] is not None:
            try:
                write_file(options["html"], run.report.encode())
            except OSError as error:
                raise CommandError(f"{options['html']} cannot be written: {error.strerror}.") from error
            self.stdout.write(f"run {run.pk}: {options['html']}")
