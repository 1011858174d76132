"""The life of a version: registered, judged, approved, promoted, rolled back to, named, barred."""

from __future__ import annotations

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from feedback.models import AuditEvent, OutboxEvent, Project, User
from feedback.problems import Problem
from learning.core.export import head_graph
from learning.core.heads.features import FeatureMap
from serving import registry
from serving.artifacts import Bundle, write_bundle
from serving.head import BIAS, GRAPH, WEIGHTS, npy_bytes
from serving.models import Alias, ModelVersion, Stage
from tests.conftest import make_key, make_person

pytestmark = pytest.mark.django_db
ENCODER = "e" * 64


@pytest.fixture
def version(project: Project, settings):
    """Make a version with a bundle of its own, in a stage."""

    def make(stage: str = Stage.STAGING, encoder: str = ENCODER) -> ModelVersion:
        number = ModelVersion.objects.filter(project=project).count()
        return registry.register(
            project_id=project.pk, bundle=bundle(settings, number), encoder_sha=encoder, stage=stage
        )

    return make


def bundle(settings, number: int) -> Bundle:
    files = {
        GRAPH: head_graph(FeatureMap(4)), WEIGHTS: npy_bytes(np.full((4, 2), number)), BIAS: npy_bytes(np.zeros(2)),
    }  # fmt: skip
    return write_bundle(settings.ENSO_ARTIFACTS, files, {"kind": "ridge", "categories": ["refund", "delivery"]})


def stages(project: Project) -> list[str]:
    return list(ModelVersion.objects.filter(project=project).order_by("number").values_list("stage", flat=True))


def served(project: Project, version, count: int) -> list[ModelVersion]:
    """So many versions that have served one after the other."""
    return [registry.promote(version_id=version().pk) for _ in range(count)]


def test_what_is_registered_serves_only_after_its_gates(project: Project, version) -> None:
    made = version(Stage.NONE)
    with pytest.raises(Problem, match="not passed its gates"):
        registry.promote(version_id=made.pk)
    registry.judge(version_id=made.pk, passed=True, metrics={"labels": 3})
    assert registry.promote(version_id=made.pk).stage == Stage.PRODUCTION
    assert ModelVersion.objects.get().metrics == {"labels": 3}


def test_a_version_is_judged_once(version) -> None:
    made = version(Stage.NONE)
    registry.judge(version_id=made.pk, passed=False)
    with pytest.raises(Problem, match="judged already"):
        registry.judge(version_id=made.pk, passed=True)
    with pytest.raises(Problem, match="failed a gate"):
        registry.promote(version_id=made.pk)


def test_rolling_back_reaches_any_version_that_has_served(project: Project, version) -> None:
    served(project, version, 4)
    back = registry.rollback(project_id=project.pk, encoder_sha=ENCODER, to=1)
    assert back.number == 1
    assert stages(project) == ["production", "archived", "archived", "archived"]
    # And forward again: what was rolled back from is archived like any other.
    assert registry.rollback(project_id=project.pk, encoder_sha=ENCODER, to=3).number == 3


@pytest.mark.parametrize("to", [2, 3, 4, 99])
def test_rolling_back_refuses_what_has_not_served_here(to: int, project: Project, version) -> None:
    served(project, version, 2)  # 2 serves now
    version()  # 3 never served
    registry.promote(version_id=version(encoder="f" * 64).pk)  # 4 serves for another encoder
    with pytest.raises(Problem, match="has not served"):
        registry.rollback(project_id=project.pk, encoder_sha=ENCODER, to=to)
    assert stages(project) == ["archived", "production", "staging", "production"]


def test_what_is_barred_serves_until_it_is_replaced_and_never_again(project: Project, version) -> None:
    first, second = served(project, version, 2)
    assert registry.bar(version_ids=[first.pk, second.pk], why="it was trained with an erased customer") == 2
    assert registry.in_production(project_id=project.pk, encoder_sha=ENCODER) == second
    with pytest.raises(Problem, match="erased customer"):
        registry.promote(version_id=first.pk)
    with pytest.raises(Problem, match="No earlier version"):
        registry.rollback(project_id=project.pk, encoder_sha=ENCODER)
    third = registry.promote(version_id=version().pk)
    with pytest.raises(Problem, match="erased customer"):
        registry.rollback(project_id=project.pk, encoder_sha=ENCODER, to=second.number)
    assert registry.in_production(project_id=project.pk, encoder_sha=ENCODER) == third


def test_a_name_stands_for_one_version_of_a_project_at_a_time(
    project: Project, other_project: Project, version
) -> None:
    first, second = version(), version()
    registry.name_version(version_id=first.pk, name="champion")
    registry.name_version(version_id=second.pk, name="champion")
    assert registry.find(project_id=project.pk, wanted="champion") == second
    assert Alias.objects.count() == 1
    assert registry.find(project_id=other_project.pk, wanted="champion") is None


@pytest.mark.parametrize("name", ["12", "two words", "", "x" * 41, "naïve"])
def test_a_name_that_could_be_mistaken_is_refused(name: str, version) -> None:
    with pytest.raises(Problem) as refused:
        registry.name_version(version_id=version().pk, name=name)
    assert refused.value.status == 422


class TestOverHttp:
    @pytest.fixture
    def lead(self, project: Project, client) -> User:
        lead = make_person(project, "lead", "lead")
        client.force_login(lead)
        return lead

    def test_a_lead_approves_and_it_is_kept_who_and_when(self, project: Project, version, client, lead: User) -> None:
        answer = client.post(f"/api/v1/models/{version().number}/promote")
        assert answer.status_code == 200, answer.content
        assert (answer.json()["stage"], answer.json()["approved_by"]) == ("production", lead.get_username())
        assert answer.json()["approved_at"] == answer.json()["promoted_at"]
        event = AuditEvent.objects.filter(kind="model", action="update").get()
        assert event.user_id == lead.pk
        assert event.changes["stage"] == ["staging", "production"]

    def test_rolling_back_to_a_number_is_one_call(self, project: Project, version, client) -> None:
        served(project, version, 3)
        key = {"Authorization": f"Api-Key {make_key(project, 'models:admin')}"}
        assert client.post("/api/v1/models/3/rollback?to=1", headers=key).json()["number"] == 1
        assert client.post("/api/v1/models/3/rollback?to=x", headers=key).status_code == 422
        assert client.post("/api/v1/models/3/rollback?to=1", headers=key).status_code == 409

    def test_names_are_set_moved_and_taken_away(self, version, client, lead: User) -> None:
        version()
        version()
        assert client.put("/api/v1/models/1/aliases/champion").json()["aliases"] == ["champion"]
        assert client.put("/api/v1/models/2/aliases/champion").json()["aliases"] == ["champion"]
        assert client.get("/api/v1/models?alias=champion").json()["models"][0]["number"] == 2
        assert client.delete("/api/v1/models/1/aliases/champion").status_code == 404
        assert client.delete("/api/v1/models/2/aliases/champion").status_code == 204
        assert AuditEvent.objects.filter(kind="alias").count() == 3

    def test_versions_are_listed_by_stage(self, version, client, lead: User) -> None:
        version()
        version(Stage.REJECTED)
        found = client.get("/api/v1/models?stage=rejected").json()["models"]
        assert [v["number"] for v in found] == [2]
        assert client.get("/api/v1/models?stage=asleep").status_code == 422


def test_commands_know_versions_by_number_and_by_name(project: Project, version, capsys) -> None:
    served(project, version, 3)
    call_command("name_version", "shop", "baseline", "1")
    call_command("rollback", "shop", "--to", "baseline")
    assert stages(project) == ["production", "archived", "archived"]
    call_command("promote", "shop", "v2")
    assert stages(project) == ["archived", "production", "archived"]
    assert ModelVersion.objects.get(number=2).approved_by == "command line"
    call_command("name_version", "shop", "baseline", "--remove")
    with pytest.raises(CommandError, match="no version baseline"):
        call_command("promote", "shop", "baseline")


def test_a_version_that_waits_is_told_to_webhooks(project: Project, version) -> None:
    registry.stage(version_id=version().pk)
    assert OutboxEvent.objects.get(kind="model.staged").project == project
