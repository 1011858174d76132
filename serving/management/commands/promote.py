"""`manage.py promote`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback.problems import Problem
from serving import registry
from serving.models import ModelVersion


class Command(BaseCommand):
    help = "Put a model version into production."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument("number", type=int)

    def handle(self, *args: Any, **options: Any) -> None:
        version = ModelVersion.objects.filter(project__slug=options["project"], number=options["number"]).first()
        if version is None:
            raise CommandError(f"There is no version {options['number']} in {options['project']!r}.")
        try:
            registry.promote(version_id=version.pk)
        except Problem as problem:
            raise CommandError(problem.detail) from problem
        self.stdout.write(f"v{version.number} serves.")
