"""`manage.py trust_issuer`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils import timezone

from feedback import outbound, tokens
from feedback.keys import SCOPES
from feedback.models import ClientApp, Project, TokenIssuer


class Command(BaseCommand):
    help = "Let tokens (JWT) of an issuer of your own speak for a client app, or stop doing so."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument("--issuer", required=True, help="the tokens' iss")
        parser.add_argument("--audience", required=True, help="the tokens' aud")
        parser.add_argument("--jwks", help="where the issuer's public keys are: an https:// address or a file")
        parser.add_argument("--app", default="default", help="the client app they speak for (made if new)")
        parser.add_argument("--scope", action="append", choices=SCOPES, help="the most a token may get; several times")
        parser.add_argument("--algorithm", action="append", choices=tokens.ALGORITHMS, help="default: RS256 and ES256")
        parser.add_argument("--scope-claim", default="scope", help="the claim that names the scopes (default: scope)")
        parser.add_argument(
            "--scope-map", default="{}", help='the issuer\'s own names as JSON: {"theirs": ["feedback:write"]}'
        )
        parser.add_argument("--remove", action="store_true", help="trust it no longer")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        named = TokenIssuer.objects.filter(issuer=options["issuer"], audience=options["audience"], revoked_at=None)
        known = named.select_related("app").first()
        if known is not None and known.app.project_id != project.pk:
            raise CommandError("Another project trusts this issuer for this audience: choose another audience.")
        if options["remove"]:
            if not named.update(revoked_at=timezone.now()):
                raise CommandError("This issuer is not trusted.")
            self.stdout.write(f"{options['issuer']} is trusted no longer.")
            return
        row = _row(project, options)
        found = _keys(row)
        with transaction.atomic():
            named.update(revoked_at=timezone.now())
            row.app.save()
            row.app_id = row.app.pk
            row.save()
        self.stdout.write(f"{row.issuer} is trusted for {row.audience}; it publishes {found} keys.")


def _row(project: Project, options: dict[str, Any]) -> TokenIssuer:
    if not options["jwks"] or not options["scope"]:
        raise CommandError("Give --jwks and at least one --scope.")
    app = ClientApp.objects.filter(project=project, name=options["app"]).first()
    remote = urlsplit(options["jwks"]).scheme in ("http", "https")
    row = TokenIssuer(
        app=app or ClientApp(project=project, name=options["app"]), issuer=options["issuer"], audience=options["audience"],
        jwks_url=options["jwks"] if remote else "", jwks_file="" if remote else str(Path(options["jwks"]).resolve()),
        scopes=sorted(set(options["scope"])), scope_claim=options["scope_claim"], scope_map=_map(options["scope_map"]),
    )  # fmt: skip
    if options["algorithm"]:
        row.algorithms = options["algorithm"]
    return row


def _map(given: str) -> dict[str, list[str]]:
    try:
        parsed = json.loads(given)
    except json.JSONDecodeError as error:
        raise CommandError(f"--scope-map is no JSON: {error}.") from error
    listed = isinstance(parsed, dict) and all(isinstance(v, list) and set(v) <= set(SCOPES) for v in parsed.values())
    if not listed:
        raise CommandError('--scope-map is an object of lists of scopes, such as {"theirs": ["feedback:write"]}.')
    return dict(parsed)


def _keys(row: TokenIssuer) -> int:
    """How many keys the issuer publishes; CommandError where they cannot be read: better now than at the first token."""
    try:
        return len(tokens.parse_jwks(tokens.reader(row)()))
    except (OSError, ValueError, outbound.Unreachable) as error:
        raise CommandError(f"The issuer's keys cannot be read: {error}") from error
