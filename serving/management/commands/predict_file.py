"""`manage.py predict_file`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from feedback import jobs
from feedback.models import Job, JobState
from labeling.exchange.command import follow, named_project
from labeling.exchange.csv_files import ENCODINGS
from labeling.exchange.files import read_pieces
from labeling.exchange.models import ImportFault
from labeling.exchange.rows import Refused
from serving import batch, batch_results

SHOWN = 20


class Command(BaseCommand):
    help = (
        "Predict the texts of a file; nothing of it is stored as an inquiry. Running it again after a stop continues."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument("file", type=Path, help="CSV, JSON Lines or Parquet, with a column text")
        parser.add_argument("--output", type=Path, help="default: FILE-predictions, in the folder of FILE")
        parser.add_argument(
            "--format", default="", choices=["", *batch.TAKEN], help="default: by the ending of the file"
        )
        parser.add_argument(
            "--result", default="", choices=["", *batch.TAKEN], help="default: by the ending of --output"
        )
        parser.add_argument("--encoding", default="", choices=["", *ENCODINGS], help="where a CSV file is not UTF-8")
        parser.add_argument("--text-column", default="", help="the file's own name for the column text")

    def handle(self, *args: Any, **options: Any) -> None:
        job = self._ask(options)
        with tqdm(total=100, desc="predict", unit="%", file=sys.stderr, disable=not sys.stderr.isatty()) as bar:
            jobs.run(job.pk)
            follow(job, bar)
        self._report(job)
        made = options["output"] or options["file"].with_name(
            f"{options['file'].stem}-predictions.{job.params['result']}"
        )
        with made.open("wb") as out:
            out.writelines(batch_results.stream(str(job.params["result"]), int(job.result["file"])))
        counts = f"{job.result.get('predicted', 0):,} predicted, {job.result.get('refused', 0):,} refused"
        self.stdout.write(f"{counts}: {made}")

    def _ask(self, options: dict[str, Any]) -> Job:
        path: Path = options["file"]
        ending = options["output"].suffix.lstrip(".").lower() if options["output"] else ""
        columns = {"text": options["text_column"]} if options["text_column"] else {}
        params = {
            "format": options["format"], "encoding": options["encoding"], "columns": columns,
            "result": options["result"] or (ending if ending in batch.TAKEN else ""),
        }  # fmt: skip
        try:
            with path.open("rb"):
                return batch.ask(
                    project_id=named_project(options["project"]).pk,
                    name=path.name,
                    pieces=read_pieces(path),
                    params=params,
                )
        except OSError as error:
            raise CommandError(f"{path} cannot be read: {error}") from error
        except Refused as refused:
            raise CommandError(f"{path}: {refused}") from refused

    def _report(self, job: Job) -> None:
        for fault in ImportFault.objects.filter(job=job).order_by("pk")[:SHOWN]:
            self.stderr.write(f"row {fault.row}: {fault.field} {fault.advice}")
        if job.state != JobState.DONE:
            raise CommandError(f"The prediction is {job.state}: {(job.errors or ['stopped'])[-1]}")
        if "refused_file" in job.result:
            raise CommandError(str(job.result["refused_file"]))
