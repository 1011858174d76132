"""docker-compose.yml and the Dockerfile say what they should; no container engine is needed to see that."""

import os
import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import environ
import pytest
import yaml
from compose_spec import PyCompose

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
OURS = {"migrate", "web", "worker", "learner", "live", "beat"}
THEIRS = {"postgres": "postgres:17", "redis": "redis:7"}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return yaml.safe_load(COMPOSE)["services"]


def _validated(text: str) -> PyCompose:
    """The file as the specification's parser takes it, after YAML's merge keys, which it does not know, are resolved."""
    return PyCompose.from_yaml(yaml.safe_dump(yaml.safe_load(text)))


def test_the_compose_file_is_valid_by_the_compose_specification() -> None:
    assert set(_validated(COMPOSE).service_names()) == OURS | set(THEIRS)


@pytest.mark.parametrize("broken", ["condition: service_healthy", "interval: 5s", "shm_size: 256mb"])
def test_the_validator_would_see_a_mistake(broken: str) -> None:
    with pytest.raises(ValueError, match="services"):
        _validated(COMPOSE.replace(broken, f"{broken.split(':')[0]}: nonsense"))


def test_the_servers_are_pinned_to_a_major_version(services: dict[str, Any]) -> None:
    assert {name: services[name]["image"] for name in THEIRS} == THEIRS


def test_everything_of_ours_waits_for_the_servers_and_for_the_migrations(services: dict[str, Any]) -> None:
    healthy = {name: {"condition": "service_healthy"} for name in THEIRS}
    assert services["migrate"]["depends_on"] == healthy
    for name in OURS - {"migrate"}:
        migrated = {"migrate": {"condition": "service_completed_successfully"}}
        assert services[name]["depends_on"] == healthy | migrated


def test_whatever_answers_has_a_health_check(services: dict[str, Any]) -> None:
    assert "HEALTHCHECK" in DOCKERFILE
    assert "/healthz" in DOCKERFILE
    assert all("test" in services[name]["healthcheck"] for name in [*THEIRS, "worker", "learner"])
    assert "healthcheck" not in services["web"]  # the image's own


def test_every_queue_has_a_worker(services: dict[str, Any]) -> None:
    queues = [
        services[name]["command"][services[name]["command"].index("--queues") + 1]
        for name in OURS & {"worker", "learner"}
    ]
    assert sorted(",".join(queues).split(",")) == ["bulk", "io", "learn"]


def test_redis_keeps_what_it_was_given(services: dict[str, Any]) -> None:
    words = services["redis"]["command"]
    assert dict(zip(words[1::2], words[2::2], strict=True)) == {
        "--appendonly": "yes",
        "--appendfsync": "everysec",
        "--maxmemory-policy": "noeviction",
        "--save": "",
    }


def test_no_secret_stands_in_the_compose_file(services: dict[str, Any]) -> None:
    assert not re.search(r"PASSWORD|SECRET|_URL", COMPOSE)
    assert all(services[name]["env_file"] == "ops/docker.env" for name in OURS | {"postgres"})


def test_only_the_web_server_is_reached_from_outside_and_only_from_this_machine(services: dict[str, Any]) -> None:
    assert {name: service["ports"] for name, service in services.items() if "ports" in service} == {
        "web": ["127.0.0.1:8000:8000"]
    }


def test_the_image_runs_as_an_unprivileged_user_with_runtime_packages_only() -> None:
    stages = DOCKERFILE.split("FROM ")[1:]
    assert [stage.split()[0] for stage in stages] == ["python:3.11-slim"] * 2
    assert re.search(r"^USER enso$", stages[-1], re.MULTILINE)
    assert "dev.lock" not in DOCKERFILE
    assert stages[-1].index("USER enso") < stages[-1].index("CMD")


def test_the_image_takes_no_more_than_the_service_runs_with() -> None:
    taken = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert taken == {
        "manage.py", "pyproject.toml", "config", "feedback", "labeling", "serving", "learning", "requirements",
    }  # fmt: skip
    assert all((ROOT / name).exists() for name in taken)


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    script = tmp_path / "docker-env.sh"
    script.write_bytes((ROOT / "ops" / "docker-env.sh").read_bytes())
    subprocess.run(["sh", script], check=True, capture_output=True)
    return tmp_path / "docker.env"


def _read(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


def test_secrets_are_made_once_and_readable_by_their_owner_only(secrets: Path) -> None:
    made = secrets.read_text()
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
    subprocess.run(["sh", secrets.with_name("docker-env.sh")], check=True, capture_output=True)
    assert secrets.read_text() == made


def test_the_made_addresses_are_those_of_the_compose_file(secrets: Path, services: dict[str, Any]) -> None:
    values = _read(secrets)
    database = environ.Env.db_url_config(values["DATABASE_URL"])
    assert database["HOST"] in services
    assert database["PASSWORD"] == values["POSTGRES_PASSWORD"]
    assert database["USER"] == services["postgres"]["environment"]["POSTGRES_USER"]
    assert environ.Env.cache_url_config(values["REDIS_URL"])["LOCATION"] == "redis://redis:6379/0"
    assert len(values["SECRET_KEY"]) == 64
    assert values["SECRET_KEY"] != values["POSTGRES_PASSWORD"]


def test_the_file_of_secrets_is_kept_out_of_the_repository() -> None:
    ignored = subprocess.run(["git", "check-ignore", "-q", "ops/docker.env"], cwd=ROOT, check=False)
    assert ignored.returncode == 0 or not (ROOT / ".git").exists() or os.environ.get("GIT_DIR")
