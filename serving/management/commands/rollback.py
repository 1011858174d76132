"""`manage.py rollback`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback.problems import Problem
from serving import registry
from serving.models import ModelVersion, Stage


class Command(BaseCommand):
    help = "Put back what served before the present version, for every encoder variant of a project or for one."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument("--encoder", help="start of the encoder variant's sha256 (default: all)", default="")

    def handle(self, *args: Any, **options: Any) -> None:
        serving = ModelVersion.objects.filter(
            project__slug=options["project"], stage=Stage.PRODUCTION, encoder_sha__startswith=options["encoder"]
        )
        if not serving:
            raise CommandError(f"Nothing serves in {options['project']!r}.")
        for version in list(serving):
            try:
                earlier = registry.rollback(project_id=version.project_id, encoder_sha=version.encoder_sha)
            except Problem as problem:
                raise CommandError(problem.detail) from problem
            self.stdout.write(f"v{earlier.number} serves again in place of v{version.number}.")
