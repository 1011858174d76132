"""The plain endpoints without Django's handler around them: the same answers, and connections are given back."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.db import connection

from config.middleware import Direct, Measured, plainly
from config.wsgi import application

pytestmark = pytest.mark.django_db


def asked(path: str, body: dict[str, Any], **more: str) -> tuple[int, dict[str, str], bytes]:
    raw, said = json.dumps(body).encode(), list[tuple[str, list[tuple[str, str]]]]()
    environ = {
        "REQUEST_METHOD": "POST", "PATH_INFO": path, "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "80", "HTTP_HOST": "127.0.0.1",
        "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(raw)), "wsgi.input": io.BytesIO(raw),
        "wsgi.url_scheme": "http", "REMOTE_ADDR": "127.0.0.1", **more,
    }  # fmt: skip
    answer = application(environ, lambda status, headers: said.append((status, headers)))
    content = b"".join(answer)
    if close := getattr(answer, "close", None):
        close()
    ((status, headers),) = said
    return int(status.split()[0]), dict(headers), content


def test_the_application_answers_plain_endpoints_directly():
    assert isinstance(application, Direct)
    assert application._match({"PATH_INFO": "/api/v1/predict"}).url_name == "predict"
    assert application._match({"PATH_INFO": "/login"}) is None


def test_under_a_prefix_the_usual_way_is_taken():
    assert application._match({"PATH_INFO": "/api/v1/predict", "SCRIPT_NAME": "/enso"}) is None


def test_a_refusal_leaves_as_a_problem_with_the_id_of_its_request():
    status, headers, content = asked("/api/v1/predict", {"text": "Where is it?"}, HTTP_X_REQUEST_ID="seen-elsewhere")
    assert (status, headers["Content-Type"], headers["X-Request-Id"]) == (
        401,
        "application/problem+json",
        "seen-elsewhere",
    )
    assert int(headers["Content-Length"]) == len(content)


def test_a_direct_answer_has_the_headers_of_the_usual_one(monkeypatch):
    direct = asked("/api/v1/inquiries", {"text": "Where is it?"})
    monkeypatch.setattr(Direct, "_match", staticmethod(lambda environ: None))
    usual = asked("/api/v1/inquiries", {"text": "Where is it?"})
    assert direct[0] == usual[0]
    assert set(direct[1]) == set(usual[1])


@pytest.mark.django_db(transaction=True)
def test_the_connection_of_a_request_is_given_back():
    connection.ensure_connection()
    asked("/api/v1/predict", {"text": "Where is it?"})
    assert connection.connection is None


def test_what_is_measured_is_the_same():
    assert isinstance(application.measured, Measured)
    assert application.measured.get_response is plainly
