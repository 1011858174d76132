"""Inviting somebody: from the lead's page to the newcomer's first page, each in their own window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from config import attempts
from feedback.models import Membership, Project, User

PASSWORD = "a long and quiet river"


@pytest.fixture(autouse=True)
def _no_earlier_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts of their own for each test, as while Redis is away."""
    monkeypatch.setattr(attempts, "_add", attempts.LocalCounts().add)


def test_a_lead_invites_somebody_who_chooses_a_password_and_signs_in(
    shop: Project, people: dict[str, User], visit: Callable[..., Any]
) -> None:
    at_desk = visit(people["lead"])
    lead = at_desk.go("/p/shop/people")
    lead.get_by_label("User name").fill("newcomer")
    invite = lead.get_by_role("region", name="Invite somebody")
    invite.get_by_label("Support agent").check()
    invite.get_by_role("button", name="Invite").click()
    link = lead.get_by_label("One-time link").input_value()
    newcomer = User.objects.get(username="newcomer")
    assert list(Membership.objects.filter(user=newcomer).values_list("role", flat=True)) == ["agent"]
    at_desk.go("/p/shop/people")
    assert lead.get_by_label("One-time link").count() == 0, "the link is shown once"

    window = visit()
    page = window.go(link.removeprefix(window.base))
    page.locator("input[type=password]").nth(0).fill(PASSWORD)
    page.locator("input[type=password]").nth(1).fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/p/shop/cases")

    page.get_by_text("newcomer").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in*")
    page.get_by_label("User name").fill("newcomer")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/p/shop/cases")

    later = visit()
    later.page.goto(link)
    expect(later.page.get_by_role("heading", level=1)).to_be_visible()
    assert later.page.locator("input[type=password]").count() == 0, "a used link chooses no second password"
    later.errors.clear()  # Chromium reports the 410 itself
