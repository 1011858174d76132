"""`manage.py rotate_vault`."""

from __future__ import annotations

import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from tqdm import tqdm

from feedback import vault
from feedback.models import Original

BATCH = 500


class Command(BaseCommand):
    help = (
        "Encrypt the originals of personal data anew under a fresh key. With ENSO_VAULT_KEYS set, put the new key first "
        "there and restart before you run this; the file of keys is rewritten by this command itself."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--keep-old", action="store_true", help="leave the old keys in the file")

    def handle(self, *args: Any, **options: Any) -> None:
        own_file = not settings.ENSO_VAULT_KEYS
        if own_file:
            vault.add_key()
        ids = list(Original.objects.order_by("pk").values_list("pk", flat=True))
        lost = 0
        for start in tqdm(
            range(0, len(ids), BATCH), desc="originals", file=sys.stderr, disable=not sys.stderr.isatty()
        ):
            lost += _rewrite(ids[start : start + BATCH])
        if lost:
            raise CommandError(
                f"{lost} originals open with no key of the vault: put their key back. No key was dropped."
            )
        if own_file and not options["keep_old"]:
            vault.drop_old_keys()
        self.stdout.write(f"{len(ids)} originals are under the newest key.")


def _rewrite(ids: list[int]) -> int:
    """Rewrite these rows; how many no key opens."""
    lost = 0
    with transaction.atomic():
        for row in Original.objects.select_for_update().filter(pk__in=ids):
            try:
                row.sealed = vault.resealed(bytes(row.sealed))
            except vault.Unreadable:
                lost += 1
            else:
                row.save(update_fields=["sealed"])
    return lost
