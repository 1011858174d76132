"""`manage.py create_key`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback.keys import SCOPES, create_key
from feedback.models import ClientApp, Project


class Command(BaseCommand):
    help = "Create an API key of a project. It is printed once and cannot be shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument("--app", default="default", help="the client app it belongs to (made if new)")
        parser.add_argument(
            "--scope", action="append", choices=SCOPES, help="may be given several times (default: all)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        app, _ = ClientApp.objects.get_or_create(project=project, name=options["app"])
        _, secret = create_key(app=app, scopes=options["scope"] or list(SCOPES))
        self.stdout.write(secret)
