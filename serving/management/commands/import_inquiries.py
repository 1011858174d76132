"""`manage.py import_inquiries`."""

from __future__ import annotations

import csv
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from feedback.models import Project
from feedback.problems import Problem
from feedback.services import NewInquiry
from feedback.texts import fault_in
from serving.services import answer_inquiry


class Command(BaseCommand):
    help = "Answer and store the inquiries of a CSV file, as if each had been posted. Running it again continues."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument(
            "file", type=Path, help="CSV with the column text [and external_id, locale, customer, channel]"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}. Make it with create_project.")
        rows = list(read_rows(options["file"]))
        stored, faults = 0, []
        for number, row in tqdm(rows, desc="inquiries", file=sys.stderr, disable=not sys.stderr.isatty()):
            if fault := _store(project.pk, row):
                faults.append(f"line {number}: {fault}")
            else:
                stored += 1
        for fault in faults[:20]:
            self.stderr.write(fault)
        self.stdout.write(f"{stored} inquiries are in {project.slug}; {len(faults)} rows were refused.")


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, row) of a CSV with the column text; CommandError when it cannot be read."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle)
            if "text" not in (reader.fieldnames or []):
                raise CommandError(f"{path} has no column «text»; it has {', '.join(reader.fieldnames or ['none'])}.")
            for row in reader:
                yield reader.line_num, {k: v for k, v in row.items() if k and v}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CommandError(f"{path} cannot be read: {error}") from error


def external_id(row: dict[str, str]) -> str:
    """The row's own id, or one made from its text, so that a second import adds nothing."""
    return row.get("external_id") or "import-" + hashlib.sha256(row["text"].encode()).hexdigest()[:32]


def new_inquiry(row: dict[str, str]) -> NewInquiry:
    fields = {k: row.get(k, "") for k in ("text", "locale", "customer", "channel")}
    sha = hashlib.sha256(msgspec.json.encode(fields, order="sorted")).digest()
    return NewInquiry(
        text=row["text"], request_sha=sha, external_id=external_id(row), locale=fields["locale"], customer=fields["customer"],
        channel=fields["channel"],
    )  # fmt: skip


def _store(project_id: int, row: dict[str, str]) -> str | None:
    if fault := fault_in(row.get("text", "")):
        return f"the text {fault}"
    try:
        answer_inquiry(project_id=project_id, app_id=None, new=new_inquiry(row))
    except Problem as problem:
        return problem.detail
    return None
