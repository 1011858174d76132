"""`manage.py list_keys`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback.models import ApiKey, Project, TokenIssuer


class Command(BaseCommand):
    help = "List the keys of a project and the token issuers that it trusts, newest first."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument("--all", action="store_true", help="also those that have ended")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        for key in ApiKey.objects.filter(app__project=project).select_related("app").order_by("-created_at"):
            if options["all"] or key.state in ("valid", "ending"):
                self.stdout.write(_line(key))
        for issuer in TokenIssuer.objects.filter(app__project=project, revoked_at=None).select_related("app"):
            self.stdout.write(
                f"{issuer.issuer}  {issuer.app.name}  tokens for {issuer.audience}  {', '.join(issuer.scopes)}"
                f"  used {_day(issuer.last_used_at)}"
            )


def _line(key: ApiKey) -> str:
    rights = ", ".join(key.origins or key.scopes)
    end = f" {_day(key.expires_at)}" if key.state == "ending" else ""
    return f"{key.prefix}…  {key.app.name}  {key.state}{end}  {rights}  used {_day(key.last_used_at)}"


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else "never"
