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
from learning.models import TrainingRun
from tests.browser import drift_scene, reply_scene, scene
from tests.browser.conftest import NARROW, WIDE

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
# Where pictures go; `make docs` keeps a small set of them under docs/screenshots.
PICTURES = os.environ.get("ENSO_PICTURES", "")


def faults(page: Page) -> list[str]:
    """What axe, which the page has loaded, says about WCAG 2.2 AA, best practices included."""
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [f"{v['id']}: {n['html'][:160]}" for v in found["violations"] for n in v["nodes"]]


def picture(page: Page, name: str) -> None:
    if PICTURES:
        page.screenshot(path=f"{PICTURES}/{name}.png", full_page=False, animations="disabled")


@pytest.fixture
def busy(shop: Project, people: dict[str, User]) -> Project:
    scene.try_version(shop, scene.train_once(shop, people))
    scene.dispute(shop, people, 1)
    scene.work_on_cases(shop, people)
    scene.fill_queue(shop)
    scene.make_keys(shop)
    scene.make_webhooks(shop)
    scene.make_topics(shop, people["lead"])
    drift_scene.watch(shop)
    reply_scene.compare_replies(shop)
    return shop


SCREENS: dict[str, tuple[str | None, str, str]] = {
    "sign-in": (None, "/sign-in", "main form"),
    "welcome": (None, "/welcome/LINK", "main form"),
    "desk": ("annotator", "/p/shop/label", "#desk[data-state=working]"),
    "my-work": ("annotator", "/p/shop/my-work", "main h1"),
    "preferences": ("annotator", "/preferences", "main form"),
    "not-allowed": ("annotator", "/p/shop/cases", "h1"),
    "compare": ("annotator", "/p/shop/compare", "#desk[data-state=working]"),
    "replies": ("lead", "/p/shop/replies", ".reply-row"),
    "adjudication": ("expert", "/p/shop/adjudicate", "#desk[data-state=working]"),
    "escalations": ("agent", "/p/shop/cases", ".shares"),
    "case-resolved": ("agent", "/p/shop/cases?view=resolved", ".said-by.person"),
    "loop": ("lead", "/p/shop/loop", ".strip"),
    "drift": ("lead", "/p/shop/drift", ".texts"),
    "simulation": ("annotator", "/p/shop/drift/simulation", ".chart"),
    "models": ("lead", "/p/shop/models", ".trial .chart"),
    "model": ("lead", "/p/shop/models/1", ".lineage svg"),
    "labels-of-run": ("lead", "/p/shop/runs/RUN/labels", "#folds"),
    "models-compare": ("lead", "/p/shop/models/compare", ".sides"),
    "topics": ("lead", "/p/shop/topics", "#map[data-draws]"),
    "topic": ("lead", "/p/shop/topics/3", ".bars"),
    "quality": ("lead", "/p/shop/quality", ".quality"),
    "categories": ("lead", "/p/shop/categories", ".list"),
    "category": ("lead", "/p/shop/categories/FIRST", ".reply-row"),
    "guideline": ("lead", "/p/shop/categories/FIRST/guideline", "#guideline"),
    "proposals": ("lead", "/p/shop/proposals", ".prose"),
    "people": ("lead", "/p/shop/people", ".roles"),
    "hours": ("lead", "/p/shop/cases/hours", ".days"),
    "keys": ("lead", "/p/shop/keys", ".key"),
    "webhooks": ("lead", "/p/shop/webhooks", ".hooks table"),
    "exchange": ("lead", "/p/shop/exchange", ".records form"),
    "audit": ("lead", "/p/shop/audit", ".trail li"),
    "settings": ("lead", "/p/shop/settings", ".setting"),
    "projects": ("boss", "/projects", ".list"),
}


def address(path: str, project: Project) -> str:
    """A path with what is only known once the scene is made."""
    if "LINK" in path:
        newcomer = User.objects.create_user(f"newcomer-{User.objects.count()}")
        parts = urlsafe_base64_encode(force_bytes(newcomer.pk)), default_token_generator.make_token(newcomer)
        return path.replace("LINK", "/".join(parts) + "/")
    if "RUN" in path:
        return path.replace("RUN", str(TrainingRun.objects.latest("pk").pk))
    return path.replace("FIRST", str(scene.category(project, "refund").pk))


THEMES = ("light", "dark")


def look_at(page: Page, screen: str, language: str) -> list[str]:
    """What is wrong with the page that is open: in light and in dark, wide and narrow."""
    page.evaluate(AXE)
    found = []
    for theme in THEMES:
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # no transition to wait for
        for size, at in ((WIDE, ""), (NARROW, "-320")):
            page.set_viewport_size(size)
            picture(page, f"{screen}-{theme}-{language}{at}")
            found += [f"{theme}, {size['width']} px: {fault}" for fault in faults(page)]
            if (width := page.evaluate("document.documentElement.scrollWidth")) > size["width"]:
                found.append(f"{theme}: at {size['width']} px it is {width} px wide")
    page.set_viewport_size(WIDE)
    return found


@pytest.mark.parametrize("half", [0, 1])
@pytest.mark.parametrize("language", ["en", "ja"])
def test_axe_finds_no_fault_on_any_screen(
    language: str, half: int, busy: Project, people: dict[str, User], visit: Callable[..., Any]
) -> None:
    """One scene and one window per person for many screens: making them anew for each would be most of the test."""
    windows: dict[str | None, Any] = {}
    wrong = {}
    for screen in list(SCREENS)[half::2]:
        who, path, ready = SCREENS[screen]
        if who not in windows:
            windows[who] = visit(people[who] if who else None, theme="light", language=language)
        windows[who].page.emulate_media(color_scheme="light", reduced_motion="reduce")
        page = windows[who].go(address(path, busy))
        page.wait_for_selector(ready)
        if screen == "not-allowed":
            windows[who].errors.clear()  # Chromium reports the 403 itself
        if found := look_at(page, screen, language) + windows[who].errors:
            wrong[screen] = found
        windows[who].errors.clear()
    assert wrong == {}
