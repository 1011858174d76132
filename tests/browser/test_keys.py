"""The page of keys in a browser: creating, rotating and revoking by hand, in both languages, without a fault."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

from feedback.models import ApiKey, Project, User
from tests.browser import scene
from tests.browser.conftest import NARROW
from tests.browser.test_screens import AXE, THEMES, faults, picture


def test_axe_finds_no_fault(shop: Project, people: dict[str, User], visit: Callable[..., Any]) -> None:
    scene.make_keys(shop)
    for theme, language in product(THEMES, ("en", "ja")):
        page = visit(people["lead"], theme=theme, language=language).go("/p/shop/keys")
        page.evaluate(AXE)
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
    page.evaluate(AXE)
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
