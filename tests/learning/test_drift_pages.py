"""The drift page, its files and its API, on reports that were stored."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from feedback.models import AuditEvent, Inquiry, Job, OutboxEvent, Project, Role, User
from feedback.webhooks import kinds as webhook_kinds
from learning import trends, webhooks
from learning.models import DriftReport, DriftSettings, GuardReport, RetrainingVerdict
from learning.selectors import maturity_of
from serving.models import ModelVersion
from tests.browser import drift_scene, scene
from tests.conftest import make_key, make_person

pytestmark = pytest.mark.django_db


@pytest.fixture
def watched() -> Project:
    project = scene.make_shop()
    drift_scene.watch(project)
    return project


@pytest.fixture
def lead(watched: Project, client: Client) -> User:
    person = make_person(watched, "lead", Role.LEAD)
    client.force_login(person)
    return person


@pytest.fixture
def api(watched: Project, client: Client) -> Callable[..., Any]:
    secret = make_key(watched)

    def ask(path: str, method: str = "GET") -> Any:
        headers = {"Authorization": f"Api-Key {secret}"}
        return client.generic(method, f"/api/v1/{path}", headers=headers, content_type="application/json")

    return ask


@pytest.mark.usefixtures("lead")
def test_the_page_says_what_kind_of_change_it_is_and_shows_the_texts(client: Client) -> None:
    page = client.get("/p/shop/drift").content.decode()
    assert "Customers write texts unlike those the model knows." in page
    assert "a lead, not a verdict" in page
    assert "Why do you need my passport to send a parcel back?" in page
    assert "Leave it: audited accuracy is 87.4" in page


@pytest.mark.usefixtures("lead")
def test_the_training_that_a_verdict_asked_for_is_named_until_the_next_one(client: Client, watched: Project) -> None:
    training = Job.objects.create(project=watched, kind="train", state="done", params={"reason": "drop"})
    asked = RetrainingVerdict.objects.create(project=watched, retrain=True, reason="drop", training=training)
    RetrainingVerdict.objects.create(project=watched, retrain=False, reason="cooling down", wanted="drop")
    page = client.get("/p/shop/drift").content.decode()
    said = page[page.index('id="last-asked"') :].split("</p>")[0]
    assert "audited accuracy has fallen since it went live" in said
    assert f"training #{asked.training_id}" in said
    assert "done" in said


@pytest.mark.usefixtures("lead")
def test_a_text_that_was_erased_is_not_shown_any_more(client: Client) -> None:
    Inquiry.objects.filter(text__startswith="Why do you need my passport").delete()
    page = client.get("/p/shop/drift").content.decode()
    assert "my passport" not in page.replace("scan my passport", "")
    assert "I was asked for a photo of my ID" in page


@pytest.mark.usefixtures("lead")
def test_an_earlier_check_can_be_looked_at_and_a_foreign_one_cannot(client: Client, watched: Project) -> None:
    first = DriftReport.objects.earliest("created_at")
    page = client.get(f"/p/shop/drift?report={first.pk}").content.decode()
    assert "Nothing has changed beyond chance." in page
    other = Project.objects.create(slug="bank", name="Bank")
    DriftReport.objects.filter(pk=first.pk).update(project=other)
    assert client.get(f"/p/shop/drift?report={first.pk}").status_code == 404


@pytest.mark.usefixtures("lead")
def test_an_unchanged_page_costs_a_304(client: Client) -> None:
    first = client.get("/p/shop/drift/live")
    again = client.get("/p/shop/drift/live", headers={"If-None-Match": first["ETag"]})
    assert (first.status_code, again.status_code) == (200, 304)
    GuardReport.objects.all().delete()
    assert client.get("/p/shop/drift/live", headers={"If-None-Match": first["ETag"]}).status_code == 200


@pytest.mark.usefixtures("lead")
def test_a_lead_asks_for_a_check_and_the_page_follows_it(client: Client, watched: Project) -> None:
    client.post("/p/shop/drift/check")
    client.post("/p/shop/drift/check")
    assert Job.objects.get(kind="drift").params == {"trigger": "hand"}
    assert "A check is running" in client.get("/p/shop/drift/live").content.decode()


@pytest.mark.usefixtures("lead")
def test_settings_are_kept_and_audited_and_wrong_ones_are_refused(client: Client, watched: Project) -> None:
    given = {
        "check_after": 300, "false_alarms": 0.1, "reference_size": 4000, "least_accuracy": 0.9, "most_drop": 0.05, "audited": 200,
        "critical_checks": 2, "cool_down_days": 1, "alpha_bound": 0.4, "error_cost": 5, "cpu_hour_cost": 2,
    }  # fmt: skip
    assert client.post("/p/shop/drift/settings", given).status_code == 302
    kept = DriftSettings.objects.get(project=watched)
    assert (kept.critical_checks, kept.alpha_bound, kept.guard_weights) == (2, 0.4, False)
    assert AuditEvent.objects.filter(kind="drift").exists()
    refused = client.post("/p/shop/drift/settings", {**given, "least_accuracy": 1.5})
    assert refused.status_code == 422
    assert DriftSettings.objects.get(project=watched).least_accuracy == 0.9


@pytest.mark.usefixtures("lead")
def test_every_chart_is_a_table_and_a_drawing(client: Client) -> None:
    for name in [*trends.BY_NAME, "decay", "simulation"]:
        table = client.get(f"/p/shop/charts/{name}.csv")
        rows = list(csv.reader(io.StringIO(table.content.decode("utf-8-sig"))))
        assert len({len(row) for row in rows}) == 1, name
        assert "attachment" in table["Content-Disposition"]
        drawing = client.get(f"/p/shop/charts/{name}.svg")
        assert ElementTree.fromstring(drawing.content.decode()).tag.endswith("svg"), name


@pytest.mark.usefixtures("lead")
def test_a_chart_and_its_table_say_the_same(client: Client, watched: Project) -> None:
    rows = list(csv.reader(io.StringIO(client.get("/p/shop/charts/drift.csv").content.decode("utf-8-sig"))))[1:]
    assert [float(row[2]) for row in rows] == pytest.approx(drift_scene.P_VALUES)
    assert len(trends.drift(watched).drawing.lines[0].marks) == len(rows)


@pytest.mark.usefixtures("lead")
def test_a_file_that_there_is_not_is_not_found(client: Client) -> None:
    absent = ["nothing.csv", "drift.exe", "drift.png"]
    assert [client.get(f"/p/shop/charts/{name}").status_code for name in absent] == [404] * len(absent)


@pytest.mark.usefixtures("lead")
def test_the_simulation_begins_with_what_was_measured(client: Client) -> None:
    page = client.get("/p/shop/drift/simulation").content.decode()
    assert "After 25 trainings at α = 0.42" in page


@pytest.mark.usefixtures("lead")
def test_the_simulation_tells_a_runaway_loop_from_a_faithful_one(client: Client) -> None:
    runaway = client.get("/p/shop/drift/simulation?alpha=0.8&power=2&bound=0.5&rounds=30").content.decode()
    faithful = client.get("/p/shop/drift/simulation?alpha=0.8&power=1&bound=0.5&rounds=30").content.decode()
    assert "it grows" in runaway
    assert "is 0 points off the truth" in faithful


@pytest.mark.usefixtures("lead")
def test_a_simulation_that_cannot_be_is_refused(client: Client) -> None:
    wrong = ("alpha=2", "alpha=x", "rounds=0", "power=nan", "rounds=100000")
    assert {client.get(f"/p/shop/drift/simulation?{given}").status_code for given in wrong} == {422}


def test_before_the_first_check_the_page_says_what_comes_next(client: Client) -> None:
    client.force_login(make_person(scene.make_shop(), "agent", Role.AGENT))
    page = client.get("/p/shop/drift").content.decode()
    assert "No check has run yet." in page
    assert "has not been measured yet" in page
    assert "Check now" not in page
    assert client.get("/p/shop/drift/simulation").status_code == 200


# The API


def test_reports_are_listed_without_any_text_of_a_customer(api: Callable[..., Any]) -> None:
    found = api("drift?limit=2").json()["reports"]
    assert [r["state"] for r in found] == ["critical", "critical"]
    whole = api(f"drift/{found[0]['id']}")
    assert len(whole.json()["examples"]) == len(drift_scene.NEW)
    assert whole.json()["reference"]["texts"] == 8000
    assert "passport" not in whole.content.decode()


def test_verdicts_and_the_guard_are_read(api: Callable[..., Any]) -> None:
    verdict = api("drift/verdicts").json()["verdicts"][0]
    assert (verdict["retrain"], verdict["reason"]) == (False, "healthy")
    guard = api("drift/guard?limit=1").json()["guard"]
    assert [g["alarms"] for g in guard] == [["alpha", "exposure"]]


def test_a_limit_that_is_no_number_is_refused(api: Callable[..., Any]) -> None:
    assert {api(f"drift?limit={limit}").status_code for limit in ("x", "-1", "1e3")} == {422}


def test_a_check_can_be_asked_for(api: Callable[..., Any]) -> None:
    answer = api("drift", "POST")
    assert answer.status_code == 202
    assert Job.objects.get(kind="drift").pk == answer.json()["job"]


# Webhooks, the command line, and the maturity of the loop


def test_webhooks_are_told_of_an_alarm(watched: Project) -> None:
    report = DriftReport.objects.latest("created_at")
    told = webhooks.drift_alarm(OutboxEvent(kind="drift.alarm", payload={"report": report.pk}))
    assert told is not None
    assert (told.report, told.kinds, told.texts) == (report.pk, ["input", "lead"], 500)
    assert {"drift.alarm", "guard.alarm"} <= set(webhook_kinds)


def test_the_command_checks_and_says_that_there_is_too_little(watched: Project) -> None:
    out = io.StringIO()
    call_command("check_drift", "shop", stdout=out)
    assert "too few texts" in out.getvalue()
    assert "verdict: " in out.getvalue()


def test_the_command_names_a_project_that_there_is_not(db: None) -> None:
    with pytest.raises(CommandError, match="There is no project 'nowhere'"):
        call_command("check_drift", "nowhere")


def test_the_command_says_why_a_report_cannot_be_rebuilt(watched: Project) -> None:
    report = DriftReport.objects.latest("created_at")
    with pytest.raises(CommandError, match="cannot be rebuilt"):
        call_command("check_drift", "shop", "--rebuild", str(report.pk))


def test_maturity_comes_from_versions_gates_and_alarms(watched: Project) -> None:
    for number, (passed, at) in enumerate([(True, timezone.now()), (False, None)], start=1):
        ModelVersion.objects.create(
            project=watched, number=number, encoder_sha="e" * 64, manifest_sha="f" * 64, kind="ridge", promoted_at=at,
            gates=[{"name": "parity", "passed": True}, {"name": "not_worse", "passed": passed}],
        )  # fmt: skip
    found = {a.name: a for a in maturity_of(project_id=watched.pk).aspects}
    assert (found["gates"].value, found["gates"].n) == (0.75, 4)
    assert found["deployments"].value == 1
    assert found["recovery"].n == 1
    assert found["recovery"].value == pytest.approx(
        1.0, abs=0.1
    )  # the second alarm came while the first was not mended
    ModelVersion.objects.update(promoted_at=None)
    assert maturity_of(project_id=watched.pk).missing == ("recovery",)


def test_examples_in_reports_are_ids(watched: Project) -> None:
    stored = json.dumps(list(DriftReport.objects.values("examples", "slices", "shifts", "detectors")))
    assert "passport" not in stored
