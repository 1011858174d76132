"""The rows that an import refused, as a CSV file: where each is, which column, and what to do."""

from __future__ import annotations

from collections.abc import Iterator

from labeling.exchange.csv_files import write_csv
from labeling.exchange.models import ImportFault

HEADER = ("row", "field", "what to do")


def fault_file(job_id: int) -> Iterator[bytes]:
    """In the order of the file, in pieces; row 0 is about the file as a whole."""
    return write_csv(_rows(job_id), HEADER, bom=True)


def _rows(job_id: int) -> Iterator[tuple[str, str, str]]:
    last = 0
    own = ImportFault.objects.filter(job_id=job_id).order_by("pk")
    while page := list(own.filter(pk__gt=last)[:1000]):
        last = page[-1].pk
        yield from ((str(f.row), f.field, f.advice) for f in page)
