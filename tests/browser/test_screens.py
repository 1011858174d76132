"""Every screen, in light and dark, in English and Japanese, wide and narrow: axe finds nothing, and a picture is kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from django.contrib.auth.tokens import default_token_generator
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from playwright.sync_api import Page

from feedback.models import Project, User
from tests.browser import scene
from tests.browser.conftest import NARROW

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
# Where pictures go; `make docs` keeps a small set of them under docs/screenshots.
PICTURES = os.environ.get("ENSO_PICTURES", "")


def faults(page: Page) -> list[str]:
    """What axe says about WCAG 2.2 AA, best practices included."""
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [f"{v['id']}: {n['html'][:160]}" for v in found["violations"] for n in v["nodes"]]


def picture(page: Page, name: str) -> None:
    if PICTURES:
        page.screenshot(path=f"{PICTURES}/{name}.png", full_page=False, animations="disabled")


def wait_for_item(page: Page) -> None:
    page.wait_for_selector("#desk[data-state=working]")


@pytest.fixture
def busy(shop: Project, people: dict[str, User]) -> Project:
    scene.train_once(shop, people)
    scene.dispute(shop, people, 1)
    scene.work_on_cases(shop, people)
    scene.fill_queue(shop)
    return shop


SCREENS: dict[str, tuple[str | None, str, str]] = {
    "sign-in": (None, "/sign-in", "main form"),
    "desk": ("annotator", "/p/shop/label", "#desk[data-state=working]"),
    "adjudication": ("expert", "/p/shop/adjudicate", "#desk[data-state=working]"),
    "escalations": ("agent", "/p/shop/cases", ".shares"),
    "case-resolved": ("agent", "/p/shop/cases?view=resolved", ".said-by.person"),
    "hours": ("lead", "/p/shop/cases/hours", ".days"),
    "categories": ("lead", "/p/shop/categories", ".list"),
    "category": ("lead", "/p/shop/categories/FIRST", ".reply-row"),
    "guideline": ("lead", "/p/shop/categories/FIRST/guideline", "#guideline"),
    "proposals": ("lead", "/p/shop/proposals", ".prose"),
    "people": ("lead", "/p/shop/people", ".roles"),
    "settings": ("lead", "/p/shop/settings", ".setting"),
    "projects": ("boss", "/projects", ".list"),
    "welcome": (None, "/welcome/LINK", "main form"),
    "loop": ("lead", "/p/shop/loop", ".strip"),
    "exchange": ("lead", "/p/shop/exchange", ".records form"),
    "audit": ("lead", "/p/shop/audit", ".trail li"),
    "preferences": ("annotator", "/preferences", "main form"),
    "not-allowed": ("annotator", "/p/shop/cases", "h1"),
}


def address(path: str, project: Project, people: dict[str, User]) -> str:
    """A path with what is only known once the scene is made."""
    if "LINK" in path:
        newcomer = User.objects.create_user(f"newcomer-{User.objects.count()}")
        parts = urlsafe_base64_encode(force_bytes(newcomer.pk)), default_token_generator.make_token(newcomer)
        return path.replace("LINK", "/".join(parts) + "/")
    return path.replace("FIRST", str(scene.category(project, "refund").pk))


LOOKS = [(theme, language) for theme in ("light", "dark") for language in ("en", "ja")]


@pytest.mark.parametrize("screen", list(SCREENS))
def test_axe_finds_no_fault(screen: str, busy: Project, people: dict[str, User], visit: Callable[..., Any]) -> None:
    who, path, ready = SCREENS[screen]
    for theme, language in LOOKS:
        window = visit(people[who] if who else None, theme=theme, language=language)
        page = window.go(address(path, busy, people))
        page.wait_for_selector(ready)
        picture(page, f"{screen}-{theme}-{language}")
        found = faults(page)
        page.set_viewport_size(NARROW)
        picture(page, f"{screen}-{theme}-{language}-320")
        assert found + faults(page) == [], f"{theme}, {language}"
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
        if screen == "not-allowed":
            window.errors.clear()  # Chromium reports the 403 itself
