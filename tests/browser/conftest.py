"""Chromium against the live server, and a desk that looks like a working one."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.signals import request_finished, request_started
from django.test import Client, override_settings
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from feedback.models import Project, User
from tests.browser.scene import make_people, make_shop

# Playwright keeps an event loop in this thread; Django would take every query for one made from async code.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or ""
# Large, compressed slowly, and on none of the pages looked at here.
NOT_OURS = ["drf_spectacular_sidecar", "rest_framework", "admin", "unfold"]
# A slow machine is no reason to fail: what is expected may take its time.
PATIENCE_MS = 15_000
expect.set_options(timeout=PATIENCE_MS)
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


@pytest.fixture(scope="session")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of static files as they are served: under hashed names, with the imports of modules rewritten."""
    folder = tmp_path_factory.mktemp("static")
    with override_settings(STATIC_ROOT=folder):
        call_command("collectstatic", interactive=False, verbosity=0, ignore_patterns=NOT_OURS)
    return folder


@pytest.fixture(scope="module", autouse=True)
def _served(collected: Path) -> Iterator[None]:
    """For the modules of this folder alone: the pages of others name files that were not collected."""
    with override_settings(STATIC_ROOT=collected):
        yield


class Traffic:
    """How many requests the live server, a thread of this process, is working on."""

    def __enter__(self) -> Traffic:
        self.open, self.changed = 0, threading.Condition()
        request_started.connect(self._began)
        request_finished.connect(self._ended)
        return self

    def __exit__(self, *_: object) -> None:
        request_started.disconnect(self._began)
        request_finished.disconnect(self._ended)

    def _count(self, by: int) -> None:
        with self.changed:
            self.open += by
            self.changed.notify_all()

    def _began(self, **_: Any) -> None:
        self._count(1)

    def _ended(self, **_: Any) -> None:
        self._count(-1)

    def wait_until_quiet(self) -> None:
        """Until nothing runs, and nothing more has come for a moment."""
        with self.changed:
            while self.changed.wait_for(lambda: self.open <= 0, timeout=10) and self.changed.wait(timeout=0.15):
                pass


class Visit:
    """A browser window of one person. Any error in the console fails the test, unless it was foreseen."""

    def __init__(self, context: BrowserContext, base: str) -> None:
        self.context, self.base = context, base
        self.page: Page = context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
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

    with Traffic() as traffic:
        yield open_window
        for window in opened:
            window.context.close()
        # A request that still runs would wait for the tables that the end of the test empties, and the other way round.
        traffic.wait_until_quiet()
    assert not [e for w in opened for e in w.errors]


@pytest.fixture
def shop(transactional_db: None) -> Project:
    return make_shop()


@pytest.fixture
def people(shop: Project) -> dict[str, User]:
    return make_people(shop)
