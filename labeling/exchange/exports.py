"""Exports of labels: streamed to whoever asks, or a file that a worker makes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

from feedback import jobs
from feedback.models import Category, Job
from labeling.exchange.csv_files import write_csv
from labeling.exchange.files import keep_file, read_pieces
from labeling.exchange.formats import FORMATS
from labeling.exchange.json_lines import write_jsonl
from labeling.exchange.label_studio import write_label_studio
from labeling.exchange.labels import COLUMNS, as_cells, pages
from labeling.exchange.models import ExchangeFile
from labeling.models import Label

EXPORT = "export_labels"


def stream(name: str, *, project_id: int, since: datetime | None = None, bom: bool = False) -> Iterator[bytes]:
    """All settled labels in a format that streams, in pieces; memory does not grow with their number."""
    rows = chain.from_iterable(pages(project_id=project_id, since=since))
    if name == "csv":
        return write_csv(map(as_cells, rows), COLUMNS, bom=bom)
    return write_jsonl(rows) if name == "jsonl" else write_label_studio(rows)


def write_file(name: str, target: Path, *, project_id: int, since: datetime | None = None, told: Any = None) -> int:
    """All settled labels as a file in any format; returns how many. `told` hears the number after each page."""
    count = 0

    def counted() -> Iterator[list[dict[str, Any]]]:
        nonlocal count
        for page in pages(project_id=project_id, since=since):
            yield page
            count += len(page)
            if told is not None:
                told(count)

    if name == "hugging-face":
        from labeling.exchange.hugging_face import write_hugging_face

        write_hugging_face(counted(), categories(project_id), target)
    elif name == "parquet":
        from labeling.exchange.parquet import ParquetWriter

        with ParquetWriter(target) as writer:
            for page in counted():
                writer.write(page)
    else:
        _write_stream(name, target, chain.from_iterable(counted()))
    return count


def _write_stream(name: str, target: Path, rows: Iterator[dict[str, Any]]) -> None:
    write = {"jsonl": write_jsonl, "label-studio": write_label_studio}
    pieces = write_csv(map(as_cells, rows), COLUMNS) if name == "csv" else write[name](rows)
    with target.open("wb") as out:
        for piece in pieces:
            out.write(piece)


def categories(project_id: int) -> list[str]:
    """Keys in the order that class numbers follow: the project's own, archived ones included."""
    return list(Category.objects.filter(project_id=project_id).order_by("position", "pk").values_list("key", flat=True))


def filename(slug: str, name: str) -> str:
    return f"{slug}-labels{FORMATS[name].suffixes[0]}"


@jobs.handler(EXPORT, queue="bulk")
def export_labels(running: jobs.Running) -> dict[str, Any]:
    """Make a file of all labels; its number is in the job's result."""
    job: Job = running.job
    name = str(job.params["format"])
    total = max(Label.objects.filter(project_id=job.project_id, category__isnull=False).count(), 1)
    with tempfile.TemporaryDirectory(prefix="enso-export-") as folder:
        target = Path(folder) / "export"
        count = write_file(
            name, target, project_id=job.project_id,
            told=lambda n: running.report(0.9 * min(n / total, 1.0), f"{n:,} labels written"),
        )  # fmt: skip
        running.report(0.9, "storing the file")
        file: ExchangeFile = keep_file(
            project_id=job.project_id, name=filename(job.project.slug, name), pieces=read_pieces(target)
        )
    return {"file": file.pk, "name": file.name, "size": file.size, "labels": count}
