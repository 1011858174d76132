"""Chromium against the live server, and a desk that looks like a working one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from feedback.models import Project, User
from tests.browser.scene import make_people, make_shop

# Playwright keeps an event loop in this thread; Django would take every query for one made from async code.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or ""
WIDE, NARROW = {"width": 1360, "height": 860}, {"width": 320, "height": 640}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if not CHROMIUM:
                item.add_marker(
                    pytest.mark.skip(reason="No Chromium: install Debian's chromium, or name one in $CHROMIUM.")
                )


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def _plain_and_fast(settings: Any) -> None:
    """Files from their sources, not from what some collectstatic left behind."""
    backend = "django.contrib.staticfiles.storage.StaticFilesStorage"
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": backend}}
    settings.ALLOWED_HOSTS = ["*"]
    # Five people per test: a slow hash would be most of the test's time.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


class Visit:
    """A browser window of one person. Any error in the console fails the test, unless it was foreseen."""

    def __init__(self, context: BrowserContext, base: str) -> None:
        self.context, self.base = context, base
        self.page: Page = context.new_page()
        self.page.set_default_timeout(10_000)
        self.errors: list[str] = []
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)

    def go(self, path: str) -> Page:
        self.page.goto(self.base + path)
        return self.page


@pytest.fixture
def visit(chromium: Browser, live_server: Any) -> Iterator[Callable[..., Visit]]:
    """`visit(user, theme="dark", language="ja", viewport=NARROW)`: a signed-in window; without a user, a stranger's."""
    opened: list[Visit] = []

    def open_window(user: User | None = None, *, theme: str = "light", language: str = "en", **options: Any) -> Visit:
        context = chromium.new_context(
            viewport=options.pop("viewport", WIDE), color_scheme=theme,  # type: ignore[arg-type]
            locale={"en": "en-GB", "ja": "ja-JP"}[language], timezone_id="UTC", **options,
        )  # fmt: skip
        cookies = {"django_language": language}
        if user is not None:
            client = Client()
            client.force_login(user)
            cookies["sessionid"] = client.cookies["sessionid"].value
        context.add_cookies([{"name": k, "value": v, "url": live_server.url} for k, v in cookies.items()])
        window = Visit(context, live_server.url)
        opened.append(window)
        return window

    yield open_window
    for window in opened:
        window.context.close()
    assert not [e for w in opened for e in w.errors]


@pytest.fixture
def shop(transactional_db: None) -> Project:
    return make_shop()


@pytest.fixture
def people(shop: Project) -> dict[str, User]:
    return make_people(shop)
