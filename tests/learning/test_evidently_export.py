"""A stored drift report as an Evidently report, by Evidently itself where there is one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from feedback.models import Inquiry, Project
from learning import evidently_export
from learning.models import DriftReport, DriftSettings
from tests.learning.drift_world import WIDTH, arrive, checked, known_past, mixed

pytestmark = pytest.mark.django_db
EVIDENTLY = os.environ.get("ENSO_TEST_EVIDENTLY", sys.executable)


@pytest.fixture(scope="session")
def evidently() -> str:
    """A Python that has Evidently."""
    probe = "import evidently"
    if subprocess.run([EVIDENTLY, "-I", "-c", probe], capture_output=True, check=False).returncode:
        pytest.skip(
            "Evidently is not installed (an environment with requirements/evidently.lock, and ENSO_TEST_EVIDENTLY=…/bin/python)"
        )
    return EVIDENTLY


@pytest.fixture
def report(project: Project) -> DriftReport:
    DriftSettings.objects.create(project=project, reference_size=400, check_after=100, false_alarms=0.5)
    since: datetime = known_past(project)
    arrive(project, mixed(100, new=25), seed=2, since=since)
    return checked(project)


def export(project: Project, file: Path, *more: str) -> None:
    call_command("export_evidently", project.slug, str(file), *more)


def test_evidently_reads_every_column_of_the_stored_report(report: DriftReport, tmp_path: Path, evidently: str) -> None:
    export(report.project, tmp_path / "drift.json", "--python", evidently)
    found = {
        m["config"]["column"]: m["value"]
        for m in json.loads((tmp_path / "drift.json").read_text())["metrics"]
        if "column" in m["config"]
    }
    assert set(found) == {
        "distance to the nearest known text", "doubt of the head", "predicted category", "locale", "channel",
        *(f"component {n}" for n in range(1, 11)),
    }  # fmt: skip
    # With so few texts Evidently gives p-values: the new intent is far away, and everybody writes English.
    assert found["distance to the nearest known text"] < 0.05 <= found["locale"]


def test_the_page_holds_the_columns_and_no_text_of_a_customer(
    report: DriftReport, tmp_path: Path, evidently: str
) -> None:
    export(report.project, tmp_path / "drift.html", "--report", str(report.pk), "--python", evidently)
    page = (tmp_path / "drift.html").read_text()
    assert "distance to the nearest known text" in page
    assert not [text for text in Inquiry.objects.values_list("text", flat=True) if text in page]


def test_both_sides_have_the_same_columns_and_one_row_per_text(report: DriftReport) -> None:
    known, texts = evidently_export.kept(report)
    before, now = evidently_export.columns(known, texts)
    for side, n in ((before, report.reference.size), (now, report.n)):
        assert {len(c) for kind in side.values() for c in kind.values()} == {n}
    assert [list(kind) for kind in before.values()] == [list(kind) for kind in now.values()]
    assert len([name for name in before["numbers"] if name.startswith("component")]) == min(10, WIDTH)
    assert set(now["classes"]["predicted category"]) <= {"refund", "delivery", "fraud"}


def test_a_python_without_evidently_is_told_how_to_install_it(report: DriftReport, tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # no site packages at all
    bare.chmod(0o755)
    with pytest.raises(CommandError, match=r"pip install -r requirements/evidently\.lock.*--python"):
        export(report.project, tmp_path / "drift.html", "--python", str(bare))
    assert not (tmp_path / "drift.html").exists()


def test_wrong_names_are_refused_by_name(report: DriftReport, tmp_path: Path) -> None:
    project = report.project
    with pytest.raises(CommandError, match=r"drift\.pdf ends in neither"):
        export(project, tmp_path / "drift.pdf")
    with pytest.raises(CommandError, match=r"no drift report 0 in 'shop'"):
        export(project, tmp_path / "drift.html", "--report", "0")
    with pytest.raises(CommandError, match="There is no project 'nobody'"):
        call_command("export_evidently", "nobody", str(tmp_path / "drift.html"))
    with pytest.raises(CommandError, match=r"--python: /nowhere cannot be run"):
        export(project, tmp_path / "drift.html", "--python", "/nowhere")


def test_a_report_whose_texts_were_erased_is_not_exported(report: DriftReport, tmp_path: Path) -> None:
    Inquiry.objects.filter(received_at__gt=timezone.now() - timedelta(days=3)).first().delete()
    with pytest.raises(CommandError, match="erased since"):
        export(report.project, tmp_path / "drift.html")
