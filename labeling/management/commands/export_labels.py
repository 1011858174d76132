"""`manage.py export_labels`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from labeling.exchange.command import named_project
from labeling.exchange.exports import stream, write_file
from labeling.exchange.formats import FORMATS, STREAMED, format_of
from labeling.exchange.rows import Refused


class Command(BaseCommand):
    help = "Write a project's settled labels, with annotators by pseudonym, agreement and provenance; streamed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument("--output", type=Path, help="a file (default: standard output)")
        parser.add_argument(
            "--format", default="", choices=["", *FORMATS], help="default: by the ending of the file, or csv"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        project, output = named_project(options["project"]), options["output"]
        name = self._format(output, options["format"])
        if output is None:
            self._print(name, project.pk)
            return
        with tqdm(desc="labels", file=sys.stderr, disable=not sys.stderr.isatty()) as bar:
            part = output.with_name(f".{output.name}.part")
            count = write_file(name, part, project_id=project.pk, told=lambda n: bar.update(n - bar.n))
            part.replace(output)
        self.stdout.write(f"{count:,} labels.")

    def _format(self, output: Path | None, named: str) -> str:
        try:
            return format_of(output.name, named).name if output is not None else named or "csv"
        except Refused as refused:
            raise CommandError(str(refused)) from refused

    def _print(self, name: str, project_id: int) -> None:
        if name not in STREAMED:
            raise CommandError(f"The format {name} makes a file: name it with --output.")
        for piece in stream(name, project_id=project_id):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
