"""`manage.py promote`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback.models import Project
from feedback.problems import Problem
from serving import registry


class Command(BaseCommand):
    help = "Put a model version into production: one that waits for a person, or one that has served before."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument("version", help="its number, or a name that stands for it")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        version = registry.find(project_id=project.pk, wanted=options["version"]) if project else None
        if version is None:
            raise CommandError(f"There is no version {options['version']} in {options['project']!r}.")
        try:
            registry.promote(version_id=version.pk, by="command line")
        except Problem as problem:
            raise CommandError(problem.detail) from problem
        self.stdout.write(f"v{version.number} serves.")
