"""What the import commands share: ask for the job, run it here, and say what became of it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from feedback import jobs
from feedback.models import Job, JobState, Project
from labeling.exchange.csv_files import ENCODINGS
from labeling.exchange.files import read_pieces
from labeling.exchange.formats import FORMATS
from labeling.exchange.hugging_face import zipped
from labeling.exchange.imports import ask_for_import
from labeling.exchange.models import ImportFault
from labeling.exchange.rows import Refused

SHOWN = 20
WORDS = ("stored", "changed", "queued", "known", "refused", "categories")


class ImportCommand(BaseCommand):
    """An import that runs here and survives being killed: run again, or left to a worker, it goes on where it stopped."""

    kind = ""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument("file", type=Path, help="a file, or the directory of a Hugging Face data set")
        parser.add_argument("--format", default="", choices=["", *FORMATS], help="default: by the ending of the file")
        parser.add_argument("--encoding", default="", choices=["", *ENCODINGS], help="where a CSV file is not UTF-8")
        parser.add_argument("--text-column", default="", help="the file's own name for the column text")
        parser.add_argument("--errors", type=Path, help="write the refused rows to this CSV file")

    def params(self, options: dict[str, Any]) -> dict[str, Any]:
        columns = {ours: options[f"{ours}_column"] for ours in ("text", "label") if options.get(f"{ours}_column")}
        return {"format": options["format"], "encoding": options["encoding"], "columns": columns}

    def handle(self, *args: Any, **options: Any) -> None:
        job = self._ask(named_project(options["project"]), options)
        with tqdm(total=100, desc=self.kind, unit="%", file=sys.stderr, disable=not sys.stderr.isatty()) as bar:
            jobs.run(job.pk)
            follow(job, bar)
        self._report(job, options["errors"])

    def _ask(self, project: Project, options: dict[str, Any]) -> Job:
        path: Path = options["file"]
        try:
            with zipped(path) as file:
                return ask_for_import(
                    kind=self.kind,
                    project_id=project.pk,
                    name=file.name,
                    pieces=read_pieces(file),
                    params=self.params(options),
                )
        except OSError as error:
            raise CommandError(f"{path} cannot be read: {error}") from error
        except Refused as refused:
            raise CommandError(f"{path}: {refused}") from refused

    def _report(self, job: Job, errors: Path | None) -> None:
        faults = ImportFault.objects.filter(job=job).order_by("pk")
        for fault in faults[:SHOWN]:
            self.stderr.write(f"row {fault.row}: {fault.field} {fault.advice}" if fault.row else fault.advice)
        if errors is not None:
            from labeling.exchange.faults import fault_file

            errors.write_bytes(b"".join(fault_file(job.pk)))
        if job.state != JobState.DONE:
            raise CommandError(f"The import is {job.state}: {(job.errors or ['stopped'])[-1]}")
        if "file" in job.result:
            raise CommandError(str(job.result["file"]))
        counts = ", ".join(f"{job.result[w]:,} {w}" for w in WORDS if job.result.get(w))
        self.stdout.write(f"{counts or 'nothing to import'}.")


def follow(job: Job, bar: Any) -> None:
    """Wait for a job that a worker runs, or that has just ended here."""
    job.refresh_from_db()
    while job.state in jobs.UNFINISHED:
        bar.update(round(100 * job.progress) - bar.n)
        jobs.sweep()
        jobs.run(job.pk)
        time.sleep(0.5)
        job.refresh_from_db()
    bar.update(100 - bar.n)


def named_project(slug: str) -> Project:
    project = Project.objects.filter(slug=slug).first()
    if project is None:
        raise CommandError(f"There is no project {slug!r}. Make it with create_project.")
    return project
