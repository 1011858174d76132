"""The live learning curve: random draws by the labels that their version knew, weighted by their propensity."""

from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from feedback.models import Project, Role
from feedback.services import NewInquiry, record_inquiry
from labeling.models import LabelTask
from learning import outlooks, trends
from serving.models import DecisionRecord, ModelVersion
from tests.conftest import make_person

pytestmark = pytest.mark.django_db


def version(project: Project, number: int, labels: int) -> ModelVersion:
    return ModelVersion.objects.create(
        project=project, number=number, encoder_sha="e" * 64, manifest_sha=f"{number:064d}", kind="ridge", stage="archived",
        lineage={"labels": labels},
    )  # fmt: skip


def audited(project: Project, model: ModelVersion | None, *, right: int, wrong: int, propensity: float = 0.1) -> None:
    yes, no, *_ = project.categories.order_by("pk")
    for n in range(right + wrong):
        name = f"{model and model.number}-{propensity}-{n}"
        new = NewInquiry(text=f"text {name}", request_sha=b"0" * 32, external_id=name)
        inquiry = record_inquiry(
            project_id=project.pk, app_id=None, new=new, status="resolved", category_id=None, reply_id=None
        )
        DecisionRecord.objects.create(
            inquiry=inquiry, model=model, model_name="v", encoder_sha="e" * 64, category=yes if n < right else no,
            confidence=0.9, decision="auto", audit=True, propensity=propensity,
        )  # fmt: skip
        LabelTask.objects.create(
            project=project, inquiry=inquiry, kind="audit", state="resolved", overlap=1, propensity=propensity,
            category=yes, resolved_at="2026-01-01T00:00:00Z",
        )  # fmt: skip


def told(project: Project, *options: str) -> str:
    out = io.StringIO()
    call_command("select", project.slug, *options, stdout=out)
    return out.getvalue()


def test_points_are_versions_by_what_they_knew(project: Project) -> None:
    audited(project, version(project, 1, 100), right=6, wrong=4)
    audited(project, version(project, 2, 400), right=8, wrong=2)
    audited(project, version(project, 3, 400), right=9, wrong=1)
    audited(project, None, right=5, wrong=5)
    found = outlooks.curve(project)
    assert [(p.labels, round(p.right, 6), round(p.total, 6)) for p in found] == [(100, 6.0, 10.0), (400, 17.0, 20.0)]


def test_a_draw_counts_for_those_that_were_not_drawn(project: Project) -> None:
    model = version(project, 1, 100)
    audited(project, model, right=10, wrong=0, propensity=0.5)
    audited(project, model, right=0, wrong=10, propensity=0.1)
    (point,) = outlooks.curve(project)
    assert point.right / point.total == pytest.approx(2 / 12)
    assert point.total == pytest.approx(120**2 / (10 * 4 + 10 * 100))


def test_the_outlook_follows_a_rising_curve_and_narrows_with_audits(project: Project) -> None:
    def gain(times: int) -> tuple[float, float, float]:
        shares = ((100, 0.6), (200, 0.7), (400, 0.76), (800, 0.8))
        points = [outlooks.CurvePoint(n, share * 50 * times, 50 * times) for n, share in shares]
        found = outlooks.expected(points).gain
        return found.low, found.estimate, found.high

    few, many = gain(1), gain(40)
    assert 0.0 < many[1] < 0.02
    assert many[2] - many[0] < few[2] - few[0]


def test_the_loop_page_shows_the_curve_and_what_labels_should_bring(client: Client, project: Project) -> None:
    client.force_login(make_person(project, "lead", Role.LEAD))
    empty = client.get(f"/p/{project.slug}/loop").content.decode()
    assert "No random draw has been answered by a trained version" in empty
    for number, (labels, right) in enumerate(((100, 12), (200, 14), (400, 16)), 1):
        audited(project, version(project, number, labels), right=right, wrong=20 - right)
    page = client.get(f"/p/{project.slug}/loop").content.decode()
    assert "The next 100 labels should bring" in page
    assert [row[0] for row in trends.learning(project).rows] == ["100", "200", "400"]


def test_two_versions_are_too_few_to_say_anything(project: Project) -> None:
    for number in (1, 2):
        audited(project, version(project, number, 100 * number), right=8, wrong=2)
    assert "once three versions have been audited" in trends.learning(project).note
    assert "once three versions have been audited" in told(project, "--explain")


def test_explaining_says_what_comes_first_and_changes_nothing(project: Project) -> None:
    for number, (labels, right) in enumerate(((100, 12), (200, 14), (400, 16)), 1):
        audited(project, version(project, number, labels), right=right, wrong=20 - right)
    new = NewInquiry(text="unclear", request_sha=b"0" * 32, external_id="u")
    inquiry = record_inquiry(
        project_id=project.pk, app_id=None, new=new, status="resolved", category_id=None, reply_id=None
    )
    between = [{"category": "refund", "share": 0.48}, {"category": "cancel", "share": 0.46}]
    reason = {"rule": "herding", "between": between, "similar": 34}
    task = LabelTask.objects.create(
        project=project, inquiry=inquiry, kind="selection", overlap=1, priority=0.75, risk=0.2, reason=reason
    )
    said = told(project, "--explain")
    assert f"Strategy {project.strategy}. Open: 1 selection; 1 of them raised by risk." in said
    assert f"1. task {task.pk}, priority 0.750: by herding; between refund 48 %, cancel 46 %; similar 34" in said
    assert "The head of the queue: selection 85%, risk 10%, diversity 5% (risk_share" in said
    assert "0 inquiries that waited were answered by later versions" in said
    assert "400 labels: 80.0 % right of 20 audited" in said
    assert "the next 100 labels should bring" in said
    task.refresh_from_db()
    assert (task.priority, task.reason) == (0.75, reason)


def test_a_project_that_is_not_there_is_said(db: None) -> None:
    with pytest.raises(CommandError, match="no project 'nobody'"):
        told(Project(slug="nobody"), "--explain")
