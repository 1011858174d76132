"""Comparing replies by keyboard alone, and what happens without a connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

from feedback.models import Project, Reply, User
from labeling import comparing
from labeling.models import Comparison, ComparisonAnswer, ComparisonSlot
from tests.browser import reply_scene
from tests.browser.test_desk import eventually

Visit = Callable[..., Any]
COMPARE = "/p/shop/compare"


def open_page(visit: Visit, user: User) -> Page:
    page: Page = visit(user).go(COMPARE)
    page.wait_for_selector("#desk[data-state=working]")
    return page


def wait_for(page: Page, pair: int) -> None:
    expect(page.locator("#item-title")).to_have_text(f"Comparison {pair}")


def test_three_pairs_by_keyboard_alone_and_one_taken_back(shop: Project, people: dict[str, User], visit: Visit) -> None:
    shop.overlap = 1
    shop.save()
    one, two, three = reply_scene.compare_replies(shop)
    annotator = people["annotator"]
    page = open_page(visit, annotator)
    press = page.keyboard.press
    wait_for(page, one)
    shown = comparing.payload(comparison_id=one, annotator_id=annotator.pk)
    expect(page.locator("#reply-a")).to_have_text(shown["a"]["text"])
    expect(page.locator("#reply-b")).to_have_text(shown["b"]["text"])
    assert page.evaluate("document.activeElement.id") == "item-title"

    press("a")
    wait_for(page, two)
    press("Space")
    wait_for(page, three)
    press("?")
    expect(page.locator("#overlay")).to_be_visible()
    press("x")  # silent while a dialog is open
    press("Escape")
    press("x")
    expect(page.locator("#desk")).to_have_attribute("data-state", "empty")
    press("z")
    wait_for(page, three)
    expect(page.locator('[data-say="neither"]')).to_have_class("choice was")
    press("t")
    expect(page.locator("#desk")).to_have_attribute("data-state", "empty")
    expect(page.locator("#today")).to_have_text("2")

    said = dict(ComparisonAnswer.objects.values_list("comparison_id", "verdict"))
    assert said == {
        one: comparing.verdict_of("a", swapped=comparing.is_swapped(one, annotator.pk)),
        two: "skip",
        three: "tie",
    }
    liked = Comparison.objects.get(pk=one)
    better = {"first": liked.first, "second": liked.second}[liked.verdict]
    assert better == Reply.objects.get(project=shop, text=shown["a"]["text"])


def test_an_answer_without_a_connection_is_kept_and_sent_later(
    shop: Project, people: dict[str, User], visit: Visit
) -> None:
    one, two, _ = reply_scene.compare_replies(shop)
    window = visit(people["annotator"])
    page = window.go(COMPARE)
    wait_for(page, one)
    window.context.set_offline(True)
    page.locator('[data-say="b"]').click()
    expect(page.locator("#save-state")).to_have_attribute("data-kind", "kept")
    assert not ComparisonAnswer.objects.exists()
    window.context.set_offline(False)
    eventually(page, lambda: ComparisonAnswer.objects.filter(comparison=one).exists())
    wait_for(page, two)
    window.errors.clear()  # Chromium reports the lost connection itself


def test_a_page_that_is_closed_gives_its_pair_back(shop: Project, people: dict[str, User], visit: Visit) -> None:
    one, _, _ = reply_scene.compare_replies(shop)
    page = open_page(visit, people["annotator"])
    wait_for(page, one)
    page.goto("about:blank")
    eventually(page, lambda: not ComparisonSlot.objects.filter(state="leased").exists())


def test_a_lead_asks_for_comparisons_and_writes_a_version_that_expires(
    shop: Project, people: dict[str, User], visit: Visit
) -> None:
    reply_scene.compare_replies(shop)
    page = visit(people["lead"]).go("/p/shop/replies")
    row = page.locator(".reply-row").filter(has_text="Reply 2, version 1")
    row.locator("textarea").fill("Your refund is under way.")
    row.locator('input[type="date"]').fill("2099-12-31")
    row.get_by_role("button", name="Save as a new version").click()
    expect(page.locator(".note.ok")).to_contain_text("Saved as a new version.")
    written = Reply.objects.get(text="Your refund is under way.")
    assert (written.slot, written.version, written.active) == (2, 2, True)
    assert str(written.expires_at) == "2100-01-01 00:00:00+00:00"
    page.get_by_role("button", name="Ask for 50 comparisons").click()
    expect(page.locator(".note.ok")).to_contain_text("Comparisons are being made")
