"""The cast: a desk with three categories, an annotator and a colleague, an expert, and an outsider of another project."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client, override_settings

from feedback import ingest, keys, outbox, tokens
from feedback.models import ClientApp, Membership, Project, Role, User
from feedback.services import create_project
from serving import reading, writing
from serving.served import served
from tests import databases
from tests.buckets import elsewhere, endpoint, shelf  # noqa: F401 - fixtures

CATEGORIES = [
    {"key": "refund", "name": "Refund", "description": "The customer wants money back.", "examples": ["I want my money back."]},
    {"key": "delivery", "name": "Delivery", "description": "Where the parcel is.", "examples": ["Where is my parcel?"]},
    {"key": "fraud", "name": "Fraud", "description": "Somebody else used the account.", "high_risk": True,
     "examples": ["Somebody stole my card and is paying with it."]},
]  # fmt: skip


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, django_test_environment: None, django_db_blocker: Any
) -> None:
    """pytest-django makes the database anew for each run: as a copy, and without waiting for the disk at each commit."""
    with django_db_blocker.unblock():
        connection.settings_dict["TEST"]["TEMPLATE"] = databases.migrated()
    # Only here: what starts processes and kills servers counts on commits that are on the disk.
    connection.settings_dict["OPTIONS"]["options"] = "-c synchronous_commit=off"


@pytest.fixture(scope="session")
def tables(
    django_db_modify_db_settings: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """What stacks of their own (`benchmarks.stack`) begin with, so that they need not migrate."""
    with django_db_blocker.unblock():
        file = databases.dump(tmp_path_factory.mktemp("tables") / "tables.sql")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENSO_BENCH_TABLES", str(file))
        yield file


@pytest.fixture(scope="session", autouse=True)
def _fast_passwords() -> Iterator[None]:
    """Each hash of a password would take 0.3 s; which hash it is, is Django's own matter."""
    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]):
        yield


def _forget() -> None:
    served.forget()
    reading.breaker.cache_clear()
    keys.cache.clear()
    keys.public_cache.clear()
    tokens.known.clear()
    ingest.close()
    writing.close()


@pytest.fixture(autouse=True)
def _fresh_caches() -> Iterator[None]:
    """What processes remember must not leak from one test's database into the next."""
    _forget()
    outbox._last_nudge[0] = 0.0
    yield
    _forget()


@pytest.fixture(scope="session")
def _shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture(autouse=True)
def _artifacts(settings: Any, _shelf: Path) -> None:
    settings.ENSO_ARTIFACTS = _shelf / uuid.uuid4().hex  # pytest's own numbered folders count the others each time
    settings.ENSO_ARTIFACTS.mkdir()
    settings.ENSO_POOLS = settings.ENSO_ARTIFACTS / "pools"
    settings.ENSO_REQUEST_LOG = False  # a thread of its own would look into other tests' databases
    settings.ENSO_MODEL_POLL_SECONDS = 0  # and so would the one that looks for models


@pytest.fixture
def project(db: None) -> Project:
    return create_project(slug="shop", name="Shop", categories=CATEGORIES, audit_rate=0.0)


@pytest.fixture
def other_project(db: None) -> Project:
    return create_project(slug="bank", name="Bank", categories=CATEGORIES[:2])


def make_key(project: Project, *scopes: str) -> str:
    app = ClientApp.objects.get(project=project, name="default")
    return keys.create_key(app=app, scopes=list(scopes or keys.SCOPES))[1]


@pytest.fixture
def key(project: Project) -> str:
    return make_key(project)


@pytest.fixture
def post(client: Client, key: str) -> Callable[..., Any]:
    """POST JSON with the shop's key: `post("inquiries", {...})`."""

    def send(path: str, body: Any, *, secret: str | None = None, **headers: str) -> Any:
        sent = body if isinstance(body, bytes | str) else __import__("json").dumps(body)
        given = {"Authorization": f"Api-Key {secret or key}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        return client.post(f"/api/v1/{path}", sent, content_type="application/json", headers=given)

    return send


def make_person(project: Project, name: str, *roles: str) -> User:
    user, _ = User.objects.get_or_create(username=name)
    for role in roles:
        Membership.objects.create(user=user, project=project, role=role)
    return user


@pytest.fixture
def annotator(project: Project) -> User:
    return make_person(project, "annotator", Role.ANNOTATOR)


@pytest.fixture
def colleague(project: Project) -> User:
    return make_person(project, "colleague", Role.ANNOTATOR)


@pytest.fixture
def expert(project: Project) -> User:
    return make_person(project, "expert", Role.EXPERT)


@pytest.fixture
def outsider(other_project: Project) -> User:
    return make_person(other_project, "outsider", Role.ANNOTATOR, Role.EXPERT, Role.ADMIN)
