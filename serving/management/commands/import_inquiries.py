"""`manage.py import_inquiries`."""

from __future__ import annotations

from labeling.exchange.command import ImportCommand
from serving.exchange import IMPORT


class Command(ImportCommand):
    help = "Answer and store the inquiries of a file, as if each had been posted. Running it again continues."
    kind = IMPORT
