"""Bearer tokens of issuers that a project trusts: what counts, what does not, and how keys change."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from django.test import Client
from django.utils import timezone

from feedback import tokens
from feedback.models import ClientApp, Project, TokenIssuer
from feedback.problems import Problem

ISSUER, AUDIENCE = "https://login.shop.example", "enso"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())


def jwks(**private: Any) -> str:
    """A JWKS of the public halves, under the given key ids."""
    names = {"rsa": jwt.algorithms.RSAAlgorithm, "ec": jwt.algorithms.ECAlgorithm}
    keys = []
    for key_id, key in private.items():
        kind = "ec" if isinstance(key, ec.EllipticCurvePrivateKey) else "rsa"
        keys.append({**json.loads(names[kind].to_jwk(key.public_key())), "kid": key_id, "use": "sig"})
    return json.dumps({"keys": keys})


@pytest.fixture
def issuer(project: Project, tmp_path: Path) -> TokenIssuer:
    file = tmp_path / "jwks.json"
    file.write_text(jwks(one=RSA, curve=EC))
    return TokenIssuer.objects.create(
        app=ClientApp.objects.get(project=project), issuer=ISSUER, audience=AUDIENCE, jwks_file=str(file),
        scopes=["feedback:write", "labels:read"],
    )  # fmt: skip


def token(key: Any = RSA, *, alg: str = "RS256", kid: str | None = "one", drop: str = "", **claims: Any) -> str:
    given = {"iss": ISSUER, "aud": AUDIENCE, "exp": time.time() + 300, "scope": "feedback:write", **claims}
    given.pop(drop, None)
    return jwt.encode(given, key, algorithm=alg, headers={} if kid is None else {"kid": kid})


@pytest.fixture
def call(client: Client) -> Callable[[str], Any]:
    def post(bearer: str) -> Any:
        body = {"inquiry": "x", "type": "click"}
        headers = {"Authorization": f"Bearer {bearer}"}
        return client.post("/api/v1/feedback", json.dumps(body), content_type="application/json", headers=headers)

    return post


pytestmark = pytest.mark.django_db


GOOD: dict[str, Callable[[], str]] = {
    "signed with RSA": token,
    "signed on a curve": lambda: token(EC, alg="ES256", kid="curve"),
    "for us among others": lambda: token(aud=["other", AUDIENCE]),
    "good since a moment": lambda: token(nbf=time.time() - 5),
    "ended a moment ago, by another clock": lambda: token(exp=time.time() - 2),
}


@pytest.mark.parametrize("why", list(GOOD))
def test_a_token_of_a_trusted_issuer_speaks_for_its_app(issuer: TokenIssuer, call: Any, why: str) -> None:
    assert call(GOOD[why]()).status_code == 201


PUBLIC_PEM = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def hmac_with_public_key() -> str:
    """The classic confusion: the issuer's public key used as the secret of an HMAC."""
    header, payload, _ = token().split(".")
    header = jwt.utils.base64url_encode(b'{"alg":"HS256","typ":"JWT","kid":"one"}').decode()
    signed = f"{header}.{payload}".encode()
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(signed, PUBLIC_PEM)
    return f"{header}.{payload}.{jwt.utils.base64url_encode(signature).decode()}"


BAD: dict[str, Callable[[], str]] = {
    "expired": lambda: token(exp=time.time() - 60),
    "not yet good": lambda: token(nbf=time.time() + 120),
    "for somebody else": lambda: token(aud="other"),
    "from somebody else": lambda: token(iss="https://evil.example"),
    "without an end": lambda: token(drop="exp"),
    "without an audience": lambda: token(drop="aud"),
    "without an issuer": lambda: token(drop="iss"),
    "by another key": lambda: token(OTHER),
    "by an unknown key": lambda: token(OTHER, kid="two"),
    "by no named key of several": lambda: token(kid=None),
    "by a key of another kind": lambda: token(kid="curve"),
    "with an algorithm that is not listed": lambda: token(alg="RS512"),
    "unsigned": lambda: jwt.encode({"iss": ISSUER, "aud": AUDIENCE, "exp": time.time() + 300}, None, algorithm="none"),
    "HMAC with the public key": hmac_with_public_key,
    "cut": lambda: token()[:-8],
    "no token": lambda: "abc",
    "empty parts": lambda: "..",
    "huge": lambda: token(extra="x" * 9_000),
    "a NUL in its issuer": lambda: token(iss="a\0b"),
    "an issuer that is a list": lambda: jwt.encode({"aud": AUDIENCE, "exp": time.time() + 300, "sub": "x"}, RSA, algorithm="RS256"),
}  # fmt: skip


@pytest.mark.parametrize("why", list(BAD))
def test_a_token_does_not_count(issuer: TokenIssuer, call: Any, why: str) -> None:
    answer = call(BAD[why]())
    assert answer.status_code == 401
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["type"].endswith("invalid-token")
    assert "Bearer" in answer["WWW-Authenticate"]


def test_a_token_may_do_what_its_scopes_say_and_the_issuer_may_grant(issuer: TokenIssuer, call: Any) -> None:
    assert call(token(scope="labels:read")).status_code == 403
    TokenIssuer.objects.update(scopes=["labels:read"])
    tokens.known.clear()
    assert call(token(scope="feedback:write models:admin")).status_code == 403


@pytest.mark.parametrize(
    ("claim", "scopes"),
    [
        ("feedback:write", set()), ("events.write", {"feedback:write"}), (["events.write", "x"], {"feedback:write"}),
        ("all", {"feedback:write", "labels:read"}), (None, set()), (5, set()), ([5, {}], set()),
    ],
)  # fmt: skip
def test_an_issuers_own_scope_names_are_translated(claim: Any, scopes: set[str]) -> None:
    row = TokenIssuer(
        scopes=["feedback:write", "labels:read"],
        scope_map={"events.write": ["feedback:write"], "all": ["feedback:write", "labels:read", "models:admin"]},
    )
    assert tokens.granted(row, claim) == scopes


def test_drf_views_take_tokens_too(issuer: TokenIssuer, client: Client) -> None:
    good = client.get("/api/v1/models", headers={"Authorization": f"Bearer {token(scope='labels:read')}"})
    bad = client.get("/api/v1/models", headers={"Authorization": f"Bearer {token(OTHER)}"})
    assert (good.status_code, bad.status_code) == (200, 401)
    assert bad["Content-Type"] == "application/problem+json"


def test_a_token_sees_the_project_of_its_issuer_only(
    issuer: TokenIssuer, other_project: Project, client: Client
) -> None:
    headers = {"Authorization": f"Bearer {token(scope='labels:read')}"}
    assert client.get("/api/v1/models?project=bank", headers=headers).status_code == 404


def test_an_issuer_that_is_no_longer_trusted_is_refused(issuer: TokenIssuer, call: Any) -> None:
    TokenIssuer.objects.update(revoked_at=timezone.now())
    assert call(token()).status_code == 401


def test_the_last_use_of_an_issuer_is_noted(issuer: TokenIssuer, call: Any) -> None:
    call(token())
    assert TokenIssuer.objects.get().last_used_at is not None


# --- keys that change -----------------------------------------------------------------------------------------------


class Publisher:
    """An issuer's JWKS over HTTP, which counts how often it is asked."""

    def __init__(self) -> None:
        self.body, self.status, self.asked, self.location = jwks(one=RSA).encode(), 200, 0, ""
        publisher = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                publisher.asked += 1
                self.send_response(publisher.status)
                if publisher.location:
                    self.send_header("Location", publisher.location)
                self.end_headers()
                self.wfile.write(publisher.body)

            def log_message(self, *_: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks.json"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    started = Publisher()
    yield started
    started.server.shutdown()
    started.server.server_close()


@pytest.fixture
def published(publisher: Publisher, issuer: TokenIssuer, settings: Any) -> tokens.KeySet:
    """The key set behind the published address, with a clock of its own."""
    settings.ENSO_OUTBOUND_ALLOW = ["127.0.0.1"]
    issuer.jwks_url, issuer.jwks_file = publisher.url, ""
    issuer.save()
    return tokens.KeySet(tokens.reader(issuer), clock=lambda: NOW[0])


NOW = [0.0]


def test_keys_are_fetched_once_and_kept(publisher: Publisher, published: tokens.KeySet, call: Any) -> None:
    assert [call(token()).status_code for _ in range(3)] == [201] * 3
    assert publisher.asked == 1


def test_a_new_key_is_found_when_a_token_names_it(publisher: Publisher, published: tokens.KeySet) -> None:
    assert published.key("one")
    publisher.body = jwks(one=RSA, two=OTHER).encode()
    NOW[0] += tokens.REFETCH_SECONDS
    assert published.key("two")
    assert publisher.asked == 2


def test_tokens_that_name_invented_keys_do_not_make_us_ask_again_and_again(
    publisher: Publisher, published: tokens.KeySet
) -> None:
    published.key("one")
    assert [published.key(f"invented-{i}") for i in range(50)] == [None] * 50
    assert publisher.asked == 1


def test_a_withdrawn_key_stops_counting_after_the_next_look(publisher: Publisher, published: tokens.KeySet) -> None:
    published.key("one")
    publisher.body = jwks(two=OTHER).encode()
    NOW[0] += tokens.FRESH_SECONDS + 1
    assert published.key("one") is None


@pytest.mark.parametrize(
    "trouble", [{"status": 500}, {"body": b"<html>"}, {"body": b'{"keys": []}'}, {"body": b"x" * 300_000}]
)
def test_known_keys_outlast_a_publisher_in_trouble_for_a_day(
    publisher: Publisher, published: tokens.KeySet, trouble: dict[str, Any]
) -> None:
    published.key("one")
    vars(publisher).update(trouble)
    NOW[0] += tokens.FRESH_SECONDS + 1
    assert published.key("one")
    NOW[0] += tokens.STALE_SECONDS
    with pytest.raises(Problem) as raised:
        published.key("one")
    assert (raised.value.status, raised.value.retry_after) == (503, 30)


def test_an_issuer_that_cannot_be_reached_from_the_start_is_our_trouble_not_the_callers(
    publisher: Publisher, published: tokens.KeySet, call: Any
) -> None:
    publisher.status = 500
    answer = call(token())
    assert answer.status_code == 503
    assert answer["Retry-After"] == "30"


def test_a_symmetric_or_private_key_in_a_jwks_is_never_used() -> None:
    private = {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA)), "kid": "private"}
    secret = {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"}
    with pytest.raises(ValueError, match="no public signature key"):
        tokens.parse_jwks(json.dumps({"keys": [private, secret, 5]}).encode())
