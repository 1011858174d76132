"""Export of labeled tasks in every format: seconds, CPU and memory, in a database of its own that is removed afterwards.

    python -m benchmarks.export [--tasks 10000] [--json FILE] [--quick]

Each task has two annotations and a settled label. `seconds` is from the request to the last byte; the streamed formats go
through the HTTP handler (without a socket), the others to a file. Memory is measured in a process of its own per size, so
that `peak_mb` at four times the tasks shows whether it grows.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import harness
from config import entry

WAYS = ("csv", "jsonl", "label-studio", "parquet", "hugging-face")


def fill(tasks: int, seed: int, slug: str) -> Any:
    """A project with `tasks` labeled tasks of two annotators each, written in bulk; its key with the scope labels:read."""
    from django.utils import timezone

    from feedback.ids import uuid7
    from feedback.keys import create_key
    from feedback.models import ClientApp, Inquiry, Status, User
    from feedback.services import create_project
    from labeling.models import Annotation, Label, LabelSource, LabelTask, Resolution, SlotRole, TaskKind, TaskState

    corpus = harness.load_corpus(None, seed=seed, size=min(tasks, 4000))
    names = [{"key": c.replace("_", "-"), "name": c} for c in corpus.categories]
    project = create_project(slug=slug, name="Export", categories=names)
    categories, people = (
        list(project.categories.all()),
        [User.objects.get_or_create(username=f"a{i}")[0] for i in range(4)],
    )
    now = timezone.now()
    for start in range(0, tasks, 2000):
        part = range(start, min(start + 2000, tasks))
        texts = [corpus.train_texts[i % len(corpus.train_texts)] for i in part]
        chosen = [categories[int(corpus.train_labels[i % len(corpus.train_labels)])] for i in part]
        inquiries = Inquiry.objects.bulk_create(
            Inquiry(id=uuid7(), project=project, external_id=f"e{i}", request_sha=b"0" * 32, text=t, group_sha=b"0" * 16, fold=i % 3,
                    status=Status.RESOLVED, category=c, received_at=now)
            for i, t, c in zip(part, texts, chosen, strict=True)
        )  # fmt: skip
        rows = LabelTask.objects.bulk_create(
            LabelTask(project=project, inquiry=q, kind=TaskKind.SELECTION, state=TaskState.RESOLVED, overlap=2, suggestion=c, category=c,
                      resolution=Resolution.AGREED, resolved_at=now)
            for q, c in zip(inquiries, chosen, strict=True)
        )  # fmt: skip
        Annotation.objects.bulk_create(
            Annotation(task=t, annotator=people[(t.pk + k) % 4], category=c, role=SlotRole.ANNOTATOR, token=uuid7(), extra=True)
            for t, c in zip(rows, chosen, strict=True) for k in (0, 1)
        )  # fmt: skip
        Label.objects.bulk_create(
            Label(inquiry=q, project=project, category=c, source=LabelSource.AGREED, settled_at=now)
            for q, c in zip(inquiries, chosen, strict=True)
        )  # fmt: skip
    _, secret = create_key(app=ClientApp.objects.get(project=project), scopes=["labels:read"])
    return project, secret


def export(way: str, project: Any, secret: str) -> int:
    """One export; the bytes that it has."""
    from django.test import Client

    from labeling.exchange.exports import write_file
    from labeling.exchange.formats import STREAMED

    if way in STREAMED:
        answer = Client().get(f"/api/v1/labels?format={way}", headers={"Authorization": f"Api-Key {secret}"})
        assert answer.status_code == 200, answer.content
        return sum(len(piece) for piece in answer.streaming_content)  # type: ignore[attr-defined,misc]
    with tempfile.TemporaryDirectory() as folder:
        write_file(way, Path(folder) / "out", project_id=project.pk)
        return (Path(folder) / "out").stat().st_size


def measure(way: str, project: Any, secret: str) -> dict[str, float]:
    started, cpu = time.perf_counter(), time.process_time()
    size = export(way, project, secret)
    return {
        "seconds": round(time.perf_counter() - started, 3),
        "cpu_s": round(time.process_time() - cpu, 3),
        "mb": round(size / 1e6, 2),
    }


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    arguments = harness.parser(__doc__.split("\n")[0])
    arguments.add_argument("--tasks", type=int, default=10_000)
    arguments.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = arguments.parse_args()
    entry.prepare()
    import django

    django.setup()
    from django.db import connection

    tasks = 2_000 if args.quick else args.tasks
    if args.one:
        one(*args.one)
        return
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        figures = run(tasks, args.seed)
    finally:
        connection.close()
        connection.creation.destroy_test_db(connection.settings_dict["NAME"], verbosity=0)
    head = ["format", "seconds", "CPU s", "MB", "memory, MB", f"memory at {4 * tasks:,}"]
    rows = [[n, f["seconds"], f["cpu_s"], f["mb"], f["peak_mb"], f["peak_mb_4"]] for n, f in figures.items()]
    harness.emit(args, {"tasks": tasks, "formats": figures}, [head, *rows])


def run(tasks: int, seed: int) -> dict[str, dict[str, float]]:
    from django.conf import settings

    project, secret = fill(tasks, seed, "export")
    fill(4 * tasks, seed, "export-4")
    for way in WAYS:
        export(way, project, secret)  # imports and plans are not what is measured
    figures = {way: measure(way, project, secret) for way in harness.progress(WAYS, "formats")}
    environment = {**os.environ, "ENSO_EXPORT_DATABASE": settings.DATABASES["default"]["NAME"]}
    for slug, name in (("export", "peak_mb"), ("export-4", "peak_mb_4")):
        for way in WAYS:
            command = [sys.executable, "-m", "benchmarks.export", "--one", way, slug]
            done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
            figures[way][name] = float(done.stdout.strip())
    return figures


def one(way: str, slug: str) -> None:
    """In a process of its own: how much the memory grows by one export."""
    from django.db import connection

    from feedback.keys import create_key
    from feedback.models import ClientApp, Project

    connection.settings_dict["NAME"] = os.environ["ENSO_EXPORT_DATABASE"]
    project = Project.objects.get(slug=slug)
    _, secret = create_key(app=ClientApp.objects.get(project=project), scopes=["labels:read"])
    before = peak_mb()
    export(way, project, secret)
    sys.stdout.write(f"{peak_mb() - before:.1f}\n")


if __name__ == "__main__":
    main()
