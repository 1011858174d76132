"""`manage.py import_labels`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from labeling.exchange.command import ImportCommand
from labeling.exchange.label_import import IMPORT


class Command(ImportCommand):
    help = "Import labels that you already have: rows with text and label. A training follows by itself."
    kind = IMPORT

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--label-column", default="", help="the file's own name for the column label")
        parser.add_argument("--add-categories", action="store_true", help="make categories that are not there yet")
        parser.add_argument("--overwrite", action="store_true", help="also change what people here have settled")
        parser.add_argument("--queue-unlabeled", action="store_true", help="make tasks of rows without a label")

    def params(self, options: dict[str, Any]) -> dict[str, Any]:
        chosen = {name: True for name in ("add_categories", "overwrite") if options[name]}
        return super().params(options) | chosen | ({"unlabeled": "queue"} if options["queue_unlabeled"] else {})
