"""Runs in MLflow: told once each, found again after a kill, and told anew when their version moves. The server is a real one."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from feedback import jobs
from feedback.models import Inquiry, Job, JobState, Project
from learning import mirroring
from learning.mirror_tasks import schedule_mirrors
from learning.mlflow_api import Server
from learning.models import MirroredRun, TrainingRun
from serving import registry
from serving.models import ModelVersion

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("small_heads")]
PATIENCE = 240.0  # seconds: its first start writes a database


def program() -> str | None:
    """`mlflow` as ENSO_TEST_MLFLOW names it, of this environment, or on the path."""
    here = Path(sys.executable).with_name("mlflow")
    return os.environ.get("ENSO_TEST_MLFLOW") or (str(here) if here.exists() else shutil.which("mlflow"))


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server with nothing in it."""
    if (found := program()) is None:
        pytest.skip(
            "MLflow is not installed (pip install -r requirements/mlflow.lock, or ENSO_TEST_MLFLOW=…/bin/mlflow)"
        )
    home = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    command = [
        found, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{home}/runs.db", "--artifacts-destination", str(home / "artifacts"),
    ]  # fmt: skip
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "PATH": f"{Path(found).parent}{os.pathsep}{os.environ['PATH']}"}
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=home, env={**os.environ, **quiet}, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        wait_until_it_answers(f"http://127.0.0.1:{port}", server, home / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)


def wait_until_it_answers(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert server.poll() is None, log.read_text()
        try:
            if httpx.get(f"{url}/health").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError(log.read_text())


@pytest.fixture
def mirrored(shop: Project, settings: Any, tracking: str) -> Project:
    """A trained shop of a name that no other test has used on this server."""
    settings.ENSO_MLFLOW_URL = tracking
    Project.objects.filter(pk=shop.pk).update(slug=f"shop-{time.time_ns()}")
    shop.refresh_from_db()
    return shop


def mirror(project: Project) -> Job:
    job = jobs.enqueue(kind="mlflow", project_id=project.pk)
    jobs.run(job.pk)
    job.refresh_from_db()
    return job


class Shown:
    """What the server shows of a project, by its own API."""

    def __init__(self, url: str, project: Project) -> None:
        self.url, self.name = f"{url}/api/2.0/mlflow", f"enso.{project.slug}"
        self.experiment = self.get("experiments/get-by-name", experiment_name=f"enso/{project.slug}")["experiment"]

    def get(self, call: str, **params: str) -> dict[str, Any]:
        return dict(httpx.get(f"{self.url}/{call}", params=params).raise_for_status().json())

    @property
    def runs(self) -> list[dict[str, Any]]:
        asked = {"experiment_ids": [self.experiment["experiment_id"]]}
        found = httpx.post(f"{self.url}/runs/search", json=asked).raise_for_status().json()
        return sorted(found.get("runs", []), key=lambda run: run["info"]["start_time"])

    @property
    def versions(self) -> list[dict[str, Any]]:
        return list(self.get("model-versions/search", filter=f"name='{self.name}'").get("model_versions", []))

    @property
    def aliases(self) -> dict[str, str]:
        found = self.get("registered-models/get", name=self.name)["registered_model"].get("aliases", [])
        return {a["alias"]: a["version"] for a in found}


def values(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {row["key"]: row["value"] for row in rows}


def test_a_run_is_there_with_figures_settings_data_and_its_bundle(mirrored: Project, tracking: str) -> None:
    job = mirror(mirrored)
    run = TrainingRun.objects.select_related("model", "snapshot").get()
    assert (job.state, job.result) == (JobState.DONE, {"mirrored": [run.pk]})
    assert run.model is not None
    shown = Shown(tracking, mirrored)
    (found,) = shown.runs
    assert found["info"]["status"] == "FINISHED"
    assert values(found["data"]["tags"])["enso.bundle"] == run.model.manifest_sha
    assert values(found["data"]["params"])["seed"] == str(run.seed)
    measured = values(found["data"]["metrics"])
    assert measured["labels"] == 80
    assert measured["test_accuracy.value"] == pytest.approx(run.metrics["test_accuracy"]["value"])
    assert found["inputs"]["dataset_inputs"][0]["dataset"]["digest"] == run.snapshot.sha256[:36]
    place = found["info"]["artifact_uri"].removeprefix("mlflow-artifacts:/")
    bundle = registry.open_bundle(run.model)
    for name in bundle.manifest["files"]:
        got = httpx.get(f"{tracking}/api/2.0/mlflow-artifacts/artifacts/{place}/bundle/{name}").raise_for_status()
        assert got.content == bundle.read(name), name
    (version,) = shown.versions
    assert values(version["tags"])["enso.version"] == "1"
    assert shown.aliases == {f"production-{run.encoder_sha[:8]}": version["version"]}


def test_what_was_told_is_not_told_again(mirrored: Project, tracking: str) -> None:
    mirror(mirrored)
    before = Shown(tracking, mirrored).runs
    assert mirroring.waiting(mirrored.pk) == []
    assert mirror(mirrored).result == {"mirrored": []}
    assert schedule_mirrors() == 0
    assert Shown(tracking, mirrored).runs == before


@pytest.mark.parametrize("step", ["log", "upload", "version", "name", "end"])
def test_a_mirroring_that_is_cut_off_goes_on_with_the_same_run_and_version(
    mirrored: Project, tracking: str, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    real: Callable[..., Any] = getattr(Server, step)

    def cut(self: Server, *args: Any, **kwargs: Any) -> Any:
        real(self, *args, **kwargs)
        raise ConnectionError("the cable was pulled")

    with monkeypatch.context() as during:
        during.setattr(Server, step, cut)
        assert mirror(mirrored).state == JobState.FAILED
    assert not MirroredRun.objects.exists()
    assert mirror(mirrored).state == JobState.DONE
    shown = Shown(tracking, mirrored)
    assert (len(shown.runs), len(shown.versions)) == (1, 1)
    assert shown.runs[0]["info"]["status"] == "FINISHED"


def test_aliases_follow_the_version_that_serves(
    mirrored: Project, tracking: str, train: Callable[[Project], Job], add_labels: Callable[..., None]
) -> None:
    mirror(mirrored)
    add_labels(mirrored, 40, seed=3)
    train(mirrored)
    served = ModelVersion.objects.get(project=mirrored, stage="production")
    registry.name_version(version_id=served.pk, name="champion")
    assert schedule_mirrors() == 1
    mirror(mirrored)
    shown = Shown(tracking, mirrored)
    by_ours = {values(v["tags"])["enso.version"]: v["version"] for v in shown.versions}
    assert len(by_ours) == 2
    live = by_ours[str(served.number)]
    assert shown.aliases == {f"production-{served.encoder_sha[:8]}": live, "champion": live}


def test_nothing_that_a_customer_wrote_goes_out(mirrored: Project, tracking: str, tmp_path_factory: Any) -> None:
    mirror(mirrored)
    home = tmp_path_factory.getbasetemp()
    files = [p.read_bytes() for p in home.glob("mlflow*/**/*") if p.is_file() and p.name != "log"]
    assert files
    texts = [text.encode() for text in Inquiry.objects.values_list("text", flat=True)]
    assert not [text for text in texts if any(text in content for content in files)]


def test_a_server_that_is_away_fails_the_job_and_is_tried_again(shop: Project, settings: Any) -> None:
    settings.ENSO_MLFLOW_URL = "http://somebody:secret@127.0.0.1:9"
    job = mirror(shop)
    assert job.state == JobState.FAILED
    assert "ConnectError" in job.errors[0]
    assert "secret" not in job.errors[0]
    assert len(mirroring.waiting(shop.pk)) == 1


def test_without_an_address_nothing_is_asked_for(shop: Project, settings: Any) -> None:
    settings.ENSO_MLFLOW_URL = ""
    assert schedule_mirrors() == 0
    assert not Job.objects.filter(kind="mlflow").exists()
