"""Signing in with a keyboard, in either language, and not guessing for long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from config import attempts
from feedback.models import Project, User

Visit = Callable[..., Any]


@pytest.fixture(autouse=True)
def _no_earlier_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts of their own for each test, as while Redis is away."""
    monkeypatch.setattr(attempts, "_add", attempts.LocalCounts().add)


def sign_in(page: Page, name: str, password: str) -> None:
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(password)
    with page.expect_navigation():
        page.keyboard.press("Enter")


@pytest.mark.parametrize(
    ("name", "place"),
    [("annotator", "label"), ("expert", "adjudicate"), ("agent", "cases"), ("lead", "loop")],
)
def test_each_role_starts_where_its_work_is(
    name: str, place: str, shop: Project, people: dict[str, User], visit: Visit
) -> None:
    page: Page = visit().go("/")
    assert page.url.endswith("/sign-in?next=/")
    sign_in(page, name, "correct horse battery")
    page.wait_for_url(f"**/p/shop/{place}")


def test_a_wrong_password_and_an_unknown_account_get_the_same_answer(people: dict[str, User], visit: Visit) -> None:
    window = visit()
    said = []
    for name in ("annotator", "nobody-of-that-name"):
        page = window.go("/sign-in")
        sign_in(page, name, "wrong")
        said.append(page.get_by_role("alert").inner_text())
        expect(page.get_by_label("Password")).to_be_focused()
    assert said[0] == said[1]
    window.errors.clear()  # Chromium reports the 422 itself


def test_guessing_ends_soon_and_says_for_how_long(people: dict[str, User], visit: Visit) -> None:
    window = visit()
    for _ in range(attempts.PER_ACCOUNT):
        sign_in(window.go("/sign-in"), "annotator", "wrong")
    page = window.go("/sign-in")
    sign_in(page, "annotator", "correct horse battery")
    expect(page.get_by_role("alert")).to_contain_text("Too many attempts")
    expect(page.get_by_role("alert")).to_contain_text("15 minutes")
    window.errors.clear()


def test_language_and_theme_follow_the_person(people: dict[str, User], visit: Visit) -> None:
    page: Page = visit().go("/sign-in")
    page.get_by_role("button", name="日本語").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("サインイン")
    page.get_by_label("ユーザー名").fill("annotator")
    page.get_by_label("パスワード").fill("correct horse battery")
    page.keyboard.press("Enter")
    page.wait_for_url("**/p/shop/label")
    expect(page.locator("#desk")).to_have_attribute("data-state", "empty")  # it takes the focus when it has looked
    page.get_by_text("Annotator").click()
    page.get_by_role("button", name="ダーク").click()
    expect(page.locator("html")).to_have_css("color-scheme", "dark")
    people["annotator"].refresh_from_db()
    assert people["annotator"].preferences["theme"] == "dark"


def test_keys_are_remapped_in_the_preferences(people: dict[str, User], visit: Visit) -> None:
    window = visit(people["annotator"])
    page = window.go("/preferences")
    undo = page.get_by_role("group", name="Labeling and adjudication").get_by_label("Undo")
    undo.fill("s")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".fault").first).to_contain_text("already does")
    undo.fill("u")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_have_text("Saved.")
    people["annotator"].refresh_from_db()
    assert people["annotator"].preferences["shortcuts"] == {"on": True, "keys": {"undo": "u"}}
    window.errors.clear()
