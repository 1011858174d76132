"""`manage.py rollback`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback.problems import Problem
from serving import registry
from serving.models import ModelVersion, Stage


class Command(BaseCommand):
    help = "Put back what served before the present version (or with --to any version that has), per encoder variant."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument("--encoder", help="start of the encoder variant's sha256 (default: all)", default="")
        parser.add_argument("--to", help="number or name of an archived version; its encoder's line is rolled back")

    def handle(self, *args: Any, **options: Any) -> None:
        serving = ModelVersion.objects.filter(
            project__slug=options["project"], stage=Stage.PRODUCTION, encoder_sha__startswith=options["encoder"]
        )
        if not serving:
            raise CommandError(f"Nothing serves in {options['project']!r}.")
        to = self._target(serving[0].project_id, options["to"])
        for version in [v for v in serving if to is None or v.encoder_sha == to.encoder_sha]:
            try:
                earlier = registry.rollback(
                    project_id=version.project_id,
                    encoder_sha=version.encoder_sha,
                    to=to.number if to else None,
                    by="command line",
                )
            except Problem as problem:
                raise CommandError(problem.detail) from problem
            self.stdout.write(f"v{earlier.number} serves again in place of v{version.number}.")

    def _target(self, project_id: int, wanted: str | None) -> ModelVersion | None:
        if wanted is None:
            return None
        found = registry.find(project_id=project_id, wanted=wanted)
        if found is None:
            raise CommandError(f"There is no version {wanted}.")
        return found
