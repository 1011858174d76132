"""`manage.py select`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback.models import Project
from learning.queueing import rescore_tasks


class Command(BaseCommand):
    help = "Rank a project's open label tasks anew with its query strategy."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        changed = rescore_tasks(project_id=project.pk)
        self.stdout.write(f"{changed} tasks moved under the strategy {project.strategy}.")
