"""`manage.py replay_webhooks`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback import notices, webhooks
from feedback.models import Project


class Command(BaseCommand):
    help = "Send a project's dead webhook notices again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument("--webhook", type=int, help="only this one, by its number")
        parser.add_argument(
            "--now", action="store_true", help="send them in this process, without waiting for a worker"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        again = webhooks.replay(project_id=project.pk, webhook_id=options["webhook"])
        self.stdout.write(f"{again} notices will be sent again.")
        if options["now"]:
            self.stdout.write(f"{notices.send_due()} notices were tried.")
