"""Figures that follow by themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import expect

from feedback.models import Project, User
from tests.browser import scene


def test_the_figures_follow_and_an_unchanged_page_costs_a_304(
    shop: Project, people: dict[str, User], visit: Callable[..., Any]
) -> None:
    scene.fill_queue(shop, 2)
    page = visit(people["lead"]).go("/p/shop/loop")
    answers: list[int] = []
    page.on("response", lambda r: answers.append(r.status) if r.url.endswith("/loop/live") else None)
    labeled = page.locator(".stage", has_text="To be labeled").locator(".stage-count")
    expect(labeled).to_have_text("2")
    labeled.locator("..").focus()
    scene.fill_queue(shop, 1)
    expect(labeled).to_have_text("3", timeout=15_000)
    assert page.evaluate("document.activeElement.id") == "stage-2"  # the focus stays where it was
    page.wait_for_event("response", lambda r: r.url.endswith("/loop/live"))
    assert answers[0] == 200
    assert answers[-1] == 304
