"""`manage.py rotate_key`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback.keys import find_key, rotate_key
from feedback.page_events import signing_secrets
from feedback.principals import digest


class Command(BaseCommand):
    help = "Make the successor of a key: the same rights, a new secret. The old one stays valid for a while."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("prefix", help="how the key begins, as list_keys shows it")
        parser.add_argument(
            "--overlap", type=float, default=7.0, metavar="DAYS", help="default: 7; 0 ends the old one now"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not 0 <= options["overlap"] <= 365:
            raise CommandError("--overlap must lie between 0 and 365 days.")
        try:
            old = find_key(options["prefix"])
            fresh, secret = rotate_key(key_id=old.pk, overlap=timedelta(days=options["overlap"]))
        except (LookupError, ValueError) as error:
            raise CommandError(str(error.args[0])) from error
        self.stdout.write(secret)
        if fresh.public_key:
            self.stdout.write(
                f"Signing secret for customer tokens, for your server alone: {signing_secrets(digest(secret))[0]}"
            )
        self.stderr.write(f"{old.prefix}… is valid for another {options['overlap']:g} days.")
