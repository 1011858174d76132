"""What was found about a run's labels, on a page, in a file and by a command."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from feedback.models import Inquiry, Project, Role
from learning.models import TrainingRun
from tests.conftest import make_person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("small_heads")]


def test_the_page_shows_checks_ranges_correlations_and_folds_and_no_text(shop: Project, client: Client) -> None:
    run = TrainingRun.objects.get()
    client.force_login(make_person(shop, "lead", Role.LEAD))
    page = client.get(f"/p/{shop.slug}/runs/{run.pk}/labels").text
    for part in ("columns and ranges", "sizes of the folds", "Cramér&#x27;s V", "correlation ratio η", "80 labels"):
        assert part in page, part
    assert f"/runs/{run.pk}/labels" in client.get(f"/p/{shop.slug}/models/1").text
    told = {c["category"]: c for c in run.validation["categories"]}
    assert sum(c["all"] for c in told.values()) == 80
    assert all(c["all"] == c["train"] + c["calibrate"] + c["test"] for c in told.values())
    assert not [text for text in Inquiry.objects.values_list("text", flat=True) if text in page + run.report]


def test_the_file_is_the_report_that_is_kept_with_the_run(shop: Project, client: Client, tmp_path: Path) -> None:
    run = TrainingRun.objects.get()
    client.force_login(make_person(shop, "lead", Role.LEAD))
    answer = client.get(f"/p/{shop.slug}/runs/{run.pk}/labels.html")
    assert (answer.text, "attachment" in answer.headers["Content-Disposition"]) == (run.report, True)
    out = io.StringIO()
    call_command("data_report", shop.slug, html=tmp_path / "labels.html", stdout=out)
    assert "passed columns and ranges" in out.getvalue()
    assert (tmp_path / "labels.html").read_text() == run.report


def test_a_run_without_a_report_is_said_to_have_none(shop: Project, client: Client) -> None:
    run = TrainingRun.objects.get()
    with pytest.raises(CommandError, match="no run 999999 with a report"):
        call_command("data_report", shop.slug, run=999999)
    TrainingRun.objects.update(report="", validation={})
    client.force_login(make_person(shop, "lead", Role.LEAD))
    assert "before labels were checked" in client.get(f"/p/{shop.slug}/runs/{run.pk}/labels").text
    assert client.get(f"/p/{shop.slug}/runs/{run.pk}/labels.html").status_code == 404
    assert client.get(f"/p/{shop.slug}/runs/999999/labels").status_code == 404
