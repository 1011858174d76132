"""`manage.py thaw`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback.models import Project
from learning import selectors
from serving import deltas
from serving.models import LiveState


class Command(BaseCommand):
    help = "Let a head that its guard set has frozen follow labels again: once the guard agrees, or with --accept as it is."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument("--accept", action="store_true", help="publish despite the drop, and judge from there on")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        frozen = selectors.frozen_heads(project_id=project.pk)
        if not frozen:
            raise CommandError(f"No head of {project.slug!r} is frozen.")
        wish = LiveState.Wish.ACCEPT if options["accept"] else LiveState.Wish.CHECK
        for state in frozen:
            deltas.wish(version_id=state.pk, wish=wish)
            self.stdout.write(f"v{state.model.number}: asked the process that follows labels ({wish.label.lower()}).")
