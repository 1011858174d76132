"""`manage.py create_key`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from feedback.keys import SCOPES, create_key, create_public_key
from feedback.models import ClientApp, Project
from feedback.page_events import signing_secrets
from feedback.principals import digest


class Command(BaseCommand):
    help = (
        "Create an API key of a project, or a public key for web pages. It is printed once and cannot be shown again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument("--app", default="default", help="the client app it belongs to (made if new)")
        parser.add_argument(
            "--scope", action="append", choices=SCOPES, help="may be given several times (default: all)"
        )
        parser.add_argument(
            "--origin", action="append", help="make a public key for pages of this origin (https://shop.example)"
        )
        parser.add_argument("--days", type=int, help="the key expires after so many days (default: never)")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        if options["origin"] and options["scope"]:
            raise CommandError("A public key only writes feedback: leave out --scope.")
        expires_at = _end(options["days"])
        app, _ = ClientApp.objects.get_or_create(project=project, name=options["app"])
        if not options["origin"]:
            _, secret = create_key(app=app, scopes=options["scope"] or list(SCOPES), expires_at=expires_at)
            self.stdout.write(secret)
            return
        try:
            _, public = create_public_key(app=app, origins=options["origin"], expires_at=expires_at)
        except ValueError as error:
            raise CommandError(f"{error}.") from error
        self.stdout.write(public)
        self.stdout.write(
            f"Signing secret for customer tokens, for your server alone: {signing_secrets(digest(public))[0]}"
        )


def _end(days: int | None) -> datetime | None:
    if days is None:
        return None
    if not 1 <= days <= 3650:
        raise CommandError("--days must lie between 1 and 3650.")
    return timezone.now() + timedelta(days=days)
