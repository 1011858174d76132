"""Keys: made, rotated, revoked, listed; and origins as browsers send them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError
from django.test import Client
from django.utils import timezone

from feedback import keys
from feedback.models import ApiKey, ClientApp, Project, TokenIssuer
from tests.conftest import make_key

pytestmark = pytest.mark.django_db
CLICK = {"inquiry": "x", "type": "click"}


@pytest.fixture
def post(client: Client) -> Callable[..., Any]:
    """A click, sent with a key."""

    def send(path: str, body: dict[str, str], *, secret: str) -> Any:
        headers = {"Authorization": f"Api-Key {secret}"}
        return client.post(f"/api/v1/{path}", json.dumps(body), content_type="application/json", headers=headers)

    return send


def run(name: str, *arguments: str, **options: Any) -> str:
    out = io.StringIO()
    call_command(name, *arguments, stdout=out, stderr=io.StringIO(), **options)
    return out.getvalue()


def test_a_rotated_key_and_its_successor_are_both_valid_until_the_overlap_ends(post: Any, project: Project) -> None:
    old = make_key(project, "feedback:write")
    row, fresh = keys.rotate_key(key_id=ApiKey.objects.get().pk, overlap=timedelta(days=7))
    assert row.scopes == ["feedback:write"]
    assert [post("feedback", CLICK, secret=s).status_code for s in (old, fresh)] == [201, 201]
    ApiKey.objects.filter(pk=row.replaces_id).update(expires_at=timezone.now() - timedelta(seconds=1))
    keys.cache.clear()
    assert [post("feedback", CLICK, secret=s).status_code for s in (old, fresh)] == [401, 201]


def test_rotation_never_lengthens_the_life_of_the_old_key(project: Project) -> None:
    soon = timezone.now() + timedelta(days=1)
    app = ClientApp.objects.get(project=project)
    old, _ = keys.create_key(app=app, scopes=["feedback:write"], expires_at=soon)
    keys.rotate_key(key_id=old.pk, overlap=timedelta(days=30))
    old.refresh_from_db()
    assert old.expires_at == soon


def test_a_key_is_rotated_once_and_not_after_its_end(project: Project) -> None:
    make_key(project)
    old = ApiKey.objects.get()
    fresh, _ = keys.rotate_key(key_id=old.pk, overlap=timedelta(days=7))
    with pytest.raises(ValueError, match="rotated already"):
        keys.rotate_key(key_id=old.pk, overlap=timedelta(days=7))
    keys.revoke_key(key_id=fresh.pk)
    with pytest.raises(ValueError, match="has ended"):
        keys.rotate_key(key_id=fresh.pk, overlap=timedelta(days=7))


def test_the_last_use_of_a_key_is_written_at_most_once_a_minute(post: Any, project: Project) -> None:
    secret = make_key(project)
    post("feedback", CLICK, secret=secret)
    first = ApiKey.objects.get().last_used_at
    assert first is not None
    keys.cache.clear()
    post("feedback", CLICK, secret=secret)
    assert ApiKey.objects.get().last_used_at == first


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("https://shop.example", "https://shop.example"), ("https://SHOP.example/", "https://shop.example"),
        ("https://shop.example:443", "https://shop.example"), ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://ショップ.example", "https://xn--pckua2c4h.example"), ("http://[::1]:3000", "http://[::1]:3000"),
    ],
)  # fmt: skip
def test_an_origin_is_kept_as_browsers_send_it(given: str, sent: str) -> None:
    if "ショップ" in given:
        sent = "https://" + "ショップ".encode("idna").decode() + ".example"
    assert keys.checked_origin(given) == sent


@pytest.mark.parametrize(
    "given",
    ["", "shop.example", "https://*.shop.example", "https://shop.example/help", "https://shop.example?x", "ftp://shop.example",
     "https://u@shop.example", "null", "https://shop.example:99999", "https://"],
)  # fmt: skip
def test_what_is_no_origin_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="no origin"):
        keys.checked_origin(given)


def test_the_database_itself_keeps_public_keys_from_more(project: Project) -> None:
    keys.create_public_key(app=ClientApp.objects.get(project=project), origins=["https://shop.example"])
    with pytest.raises(IntegrityError):
        ApiKey.objects.update(scopes=["feedback:write", "models:admin"])


@pytest.mark.parametrize("scopes", [[], ["feedback:read"]])
def test_a_key_needs_scopes_that_exist(project: Project, scopes: list[str]) -> None:
    with pytest.raises(ValueError, match="scope"):
        keys.create_key(app=ClientApp.objects.get(project=project), scopes=scopes)


# --- commands -------------------------------------------------------------------------------------------------------


def test_create_key_prints_a_key_that_works(post: Any, project: Project) -> None:
    secret = run("create_key", "shop", "--app", "web", "--scope", "feedback:write", "--days", "30").strip()
    assert post("feedback", CLICK, secret=secret).status_code == 201
    assert ApiKey.objects.get().state == "ending"


def test_create_key_makes_public_keys_with_a_signing_secret(project: Project) -> None:
    first, second = run("create_key", "shop", "--origin", "https://shop.example").splitlines()
    assert ApiKey.objects.get(public_key=first).origins == ["https://shop.example"]
    assert " cs_" in second


def test_keys_are_listed_rotated_and_revoked_by_how_they_begin(post: Any, project: Project) -> None:
    old = run("create_key", "shop", "--scope", "feedback:write").strip()
    assert old[:12] in run("list_keys", "shop")
    fresh = run("rotate_key", f"{old[:12]}…", "--overlap", "0").strip()
    assert run("revoke_key", fresh[:12])
    assert post("feedback", CLICK, secret=old).status_code == post("feedback", CLICK, secret=fresh).status_code == 401
    assert run("list_keys", "shop") == ""
    assert run("list_keys", "shop", "--all").count("revoked") == 1


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("create_key", ["nowhere"]), ("create_key", ["shop", "--days", "0"]), ("create_key", ["shop", "--origin", "shop.example"]),
        ("create_key", ["shop", "--origin", "https://a.example", "--scope", "labels:read"]), ("rotate_key", ["enso_unknown"]),
        ("rotate_key", ["enso_", "--overlap", "9999"]), ("revoke_key", [""]), ("revoke_key", ["pk_"]), ("list_keys", ["nowhere"]),
        ("trust_issuer", ["shop", "--issuer", "i", "--audience", "a", "--jwks", "/nowhere", "--scope", "labels:read"]),
        ("trust_issuer", ["shop", "--issuer", "i", "--audience", "a"]),
        ("trust_issuer", ["shop", "--issuer", "i", "--audience", "a", "--remove"]),
        ("trust_issuer", ["shop", "--issuer", "i", "--audience", "a", "--jwks", "https://127.0.0.1/", "--scope", "labels:read"]),
        ("trust_issuer", ["shop", "--issuer", "i", "--audience", "a", "--jwks", "x", "--scope", "labels:read", "--scope-map", '{"a": 1}']),
    ],
)  # fmt: skip
def test_a_command_says_what_is_wrong_and_changes_nothing(project: Project, name: str, arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        run(name, *arguments)
    assert not ApiKey.objects.exists()
    assert not TokenIssuer.objects.exists()


JWK = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "one"}


def test_an_issuer_is_trusted_replaced_and_trusted_no_longer(
    project: Project, other_project: Project, tmp_path: Path
) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [JWK]}))
    name = ["--issuer", "https://login.example", "--audience", "enso"]
    trust = [*name, "--jwks", str(file), "--scope", "labels:read", "--algorithm", "EdDSA"]
    assert "1 keys" in run("trust_issuer", "shop", *trust)
    run("trust_issuer", "shop", *trust, "--scope", "feedback:write")
    assert TokenIssuer.objects.get(revoked_at=None).scopes == ["feedback:write", "labels:read"]
    assert "https://login.example" in run("list_keys", "shop")
    with pytest.raises(CommandError, match="Another project"):
        run("trust_issuer", "bank", *trust)
    run("trust_issuer", "shop", *name, "--remove")
    assert not TokenIssuer.objects.filter(revoked_at=None).exists()
