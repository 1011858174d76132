"""The page of keys in a browser: creating, rotating and revoking by hand, in both languages, without a fault."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.utils import timezone

from feedback import keys
from feedback.models import ApiKey, ClientApp, Project, TokenIssuer, User
from tests.browser.conftest import NARROW
from tests.browser.test_screens import LOOKS, faults, picture


def make_keys(shop: Project) -> None:
    app = ClientApp.objects.create(project=shop, name="help-centre")
    first, _ = keys.create_key(app=ClientApp.objects.get(project=shop, name="default"), scopes=list(keys.SCOPES))
    ApiKey.objects.filter(pk=first.pk).update(last_used_at=timezone.now() - timedelta(minutes=3))
    keys.rotate_key(key_id=first.pk, overlap=timedelta(days=7))
    keys.create_public_key(app=app, origins=["https://help.hanabi.example", "https://www.hanabi.example"])
    gone, _ = keys.create_key(app=app, scopes=["labels:read"])
    keys.revoke_key(key_id=gone.pk)
    TokenIssuer.objects.create(
        app=app, issuer="https://login.hanabi.example", audience="enso", scopes=["labels:read"],
        jwks_url="https://login.hanabi.example/jwks.json",
    )  # fmt: skip


def test_axe_finds_no_fault(shop: Project, people: dict[str, User], visit: Callable[..., Any]) -> None:
    make_keys(shop)
    for theme, language in LOOKS:
        page = visit(people["lead"], theme=theme, language=language).go("/p/shop/keys")
        picture(page, f"keys-{theme}-{language}")
        page.locator(".key .acts summary").first.click()
        found = faults(page)
        picture(page, f"keys-menu-{theme}-{language}")
        page.set_viewport_size(NARROW)
        picture(page, f"keys-{theme}-{language}-320")
        assert found + faults(page) == [], f"{theme}, {language}"
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]


def test_a_lead_creates_rotates_and_revokes_a_key(
    shop: Project, people: dict[str, User], visit: Callable[..., Any]
) -> None:
    page = visit(people["lead"]).go("/p/shop/keys")
    page.get_by_label("For web pages").check()
    assert not page.get_by_label("Send feedback").is_visible()
    page.get_by_role("textbox", name="Origins").fill("https://help.hanabi.example")
    page.get_by_role("button", name="Create the key").click()
    page.wait_for_selector(".fresh")
    picture(page, "keys-fresh")
    assert faults(page) == []
    key = ApiKey.objects.get()
    assert f'data-key="{key.public_key}"' in page.inner_text(".fresh")
    page.get_by_label("For a server").check()
    assert not page.get_by_role("textbox", name="Origins").is_visible()
    page.get_by_label(f"Rotate {key}").click()
    page.get_by_role("button", name="7 more days").click()
    page.wait_for_selector(".fresh")
    assert ApiKey.objects.count() == 2
    page.get_by_label(f"Revoke {key}").click()
    page.get_by_role("button", name="Revoke this key").click()
    page.wait_for_selector(".note.ok:not(.fresh)")
    key.refresh_from_db()
    assert key.state == "revoked"
