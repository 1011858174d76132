"""`manage.py revoke_key`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback.keys import find_key, revoke_key
from feedback.principals import CACHE_SECONDS


class Command(BaseCommand):
    help = "End a key now. It cannot be brought back."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("prefix", help="how the key begins, as list_keys shows it")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            key = find_key(options["prefix"])
        except LookupError as error:
            raise CommandError(str(error.args[0])) from error
        if not revoke_key(key_id=key.pk):
            raise CommandError(f"{key.prefix}… was revoked before.")
        self.stdout.write(f"{key.prefix}… of {key.app} is revoked; it stops working within {CACHE_SECONDS:g} s.")
