"""`manage.py push_artifacts`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from serving import storage
from serving.s3 import Refused


class Command(BaseCommand):
    help = (
        "Put the artifacts that lie in the directory and not in the bucket there; what is there already is left alone."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            put, kept = storage.put_missing()
        except Refused as error:
            raise CommandError(f"{error}.") from error
        self.stdout.write(f"{put} put, {kept} there already")
