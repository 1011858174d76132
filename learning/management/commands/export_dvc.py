"""`manage.py export_dvc`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback.models import Project
from learning.dvc import NotOurs, export


class Command(BaseCommand):
    help = "Write a project's snapshots and runs as a DVC project: dvc.yaml, and a remote from which `dvc pull` works."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument("folder", type=Path, help="an empty folder, or one that was written by this command before")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        try:
            done = export(project, options["folder"])
        except (NotOurs, LookupError, OSError) as error:
            raise CommandError(f"Nothing more was written: {error}.") from error
        self.stdout.write(
            f"{done.snapshots} snapshots and {done.runs} runs; {done.written} objects are new in the remote."
        )
        if done.erased:
            self.stdout.write(f"{done.erased} snapshots are left out: an erasure has replaced them.")
        if done.removed:
            self.stdout.write(f"{done.removed} files that nothing names any more were removed.")
