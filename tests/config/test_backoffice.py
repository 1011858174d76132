"""The back office: superusers only, a policy of its own, and nobody's text."""

from __future__ import annotations

import pytest
from django.test import Client

from config.backoffice import site
from feedback.models import Project, User


@pytest.fixture
def superuser(db: None, client: Client) -> User:
    user = User.objects.create_superuser("root", password="seven-lanterns-9")
    client.force_login(user)
    return user


def test_it_opens_for_a_superuser_and_for_nobody_else(client: Client, annotator: User) -> None:
    assert client.get("/admin/").headers["Location"].startswith("/admin/login/")
    assert client.get("/admin/login/").headers["Location"].startswith("/sign-in?next=")
    client.force_login(annotator)
    User.objects.filter(pk=annotator.pk).update(is_staff=True)
    assert client.get("/admin/login/").status_code == 403


def test_every_list_opens_and_scripts_come_from_here_alone(client: Client, superuser: User, project: Project) -> None:
    for model in site._registry:
        response = client.get(f"/admin/{model._meta.app_label}/{model._meta.model_name}/")
        assert response.status_code == 200
        policy = response.headers["Content-Security-Policy"]
        assert "script-src 'self' 'unsafe-eval';" in policy
        assert "default-src 'self'" in policy


def test_the_policy_of_every_other_page_stays_strict(client: Client, superuser: User) -> None:
    assert "unsafe" not in client.get("/preferences").headers["Content-Security-Policy"]
    assert "unsafe" not in client.get("/administration").headers["Content-Security-Policy"]


def test_it_lists_nothing_that_customers_wrote() -> None:
    assert not {"inquiry", "event", "escalation", "caseentry", "casefinding"} & {
        m._meta.model_name for m in site._registry
    }
