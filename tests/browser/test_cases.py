"""An agent's day in the escalation console, by keyboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

from feedback.models import Project, Status, User
from labeling import services
from labeling.models import Escalation, EscalationState, Label
from tests.browser import scene

Visit = Callable[..., Any]


def test_an_agent_resolves_case_after_case(shop: Project, people: dict[str, User], visit: Visit) -> None:
    angry, risky, _ = scene.open_cases(shop)
    page: Page = visit(people["agent"]).go("/p/shop/cases")
    page.wait_for_selector("html[data-keys=on]")
    press = page.keyboard.press
    expect(page.locator(".case")).to_have_attribute("data-case", str(risky.pk))  # the most urgent one
    expect(page.locator(".shares")).to_contain_text("93")

    press("j")
    expect(page.locator(".case")).to_have_attribute("data-case", str(angry.pk))
    assert page.url.endswith(f"/cases/{angry.pk}")
    assert page.evaluate("document.activeElement.id") == "case-title"
    press("k")
    expect(page.locator(".case")).to_have_attribute("data-case", str(risky.pk))

    press("a")
    expect(page.get_by_role("button", name="Give back")).to_be_visible()
    page.wait_for_selector("html[data-keys=on]")
    press("e")
    expect(page.get_by_label("It was about")).to_be_focused()
    press("Tab")
    press("Enter")  # Insert a reply
    press("Tab")
    page.get_by_role("button", name="Delivery en").click()
    expect(page.get_by_label("It was about")).to_have_value("delivery")
    expect(page.get_by_label("Reply to the customer")).to_be_focused()
    page.get_by_label("It was about").select_option("fraud")
    page.get_by_label("Reply to the customer").fill("We have stopped the order and sent you a new password.")
    press("Control+Enter")

    expect(page.get_by_role("status")).to_contain_text("Resolved")
    expect(page.locator(".case")).to_have_attribute("data-case", str(angry.pk))  # and on to the next
    risky.refresh_from_db()
    assert (risky.state, risky.assignee, risky.category.key) == ("resolved", people["agent"], "fraud")
    assert Label.objects.get().source == "agent"
    assert risky.inquiry.__class__.objects.get(pk=risky.inquiry_id).status == Status.RESOLVED


def test_a_case_needs_a_category_and_keeps_what_was_written(
    shop: Project, people: dict[str, User], visit: Visit
) -> None:
    scene.open_cases(shop)
    window = visit(people["agent"])
    page = window.go("/p/shop/cases")
    page.get_by_label("Reply to the customer").fill("We are looking into it.")
    page.get_by_role("button", name="Resolve and go on").click()
    expect(page.locator(".fault")).to_have_text("Choose what it was about: the choice becomes a label.")
    expect(page.get_by_label("Reply to the customer")).to_have_value("We are looking into it.")
    expect(page.get_by_label("It was about")).to_be_focused()
    assert not Escalation.objects.filter(state=EscalationState.RESOLVED).exists()
    window.errors.clear()  # Chromium reports the 422 itself


def test_a_case_that_somebody_else_resolved_keeps_the_reply(
    shop: Project, people: dict[str, User], visit: Visit
) -> None:
    _, risky, _ = scene.open_cases(shop)
    window = visit(people["agent"])
    page = window.go(f"/p/shop/cases/{risky.pk}")
    page.get_by_label("It was about").select_option("fraud")
    page.get_by_label("Reply to the customer").fill("My own answer.")
    fraud = scene.category(shop, "fraud")
    services.resolve_escalation(
        escalation_id=risky.pk, agent_id=people["lead"].pk, category_id=fraud.pk, reply_text="First."
    )
    page.get_by_role("button", name="Resolve and go on").click()
    expect(page.get_by_label("Your reply that was not sent")).to_have_value("My own answer.")
    risky.refresh_from_db()
    assert risky.reply_text == "First."
    window.errors.clear()


def test_a_draft_outlives_the_page(shop: Project, people: dict[str, User], visit: Visit) -> None:
    scene.open_cases(shop)
    page: Page = visit(people["agent"]).go("/p/shop/cases")
    page.get_by_label("Reply to the customer").fill("Half a sen")
    page.reload()
    expect(page.get_by_label("Reply to the customer")).to_have_value("Half a sen")


def test_a_customers_text_stays_text(shop: Project, people: dict[str, User], visit: Visit) -> None:
    inquiry = scene.inquire(shop, "<script>alert(1)</script><i>help</i>", shares={"refund": 0.5})
    services.open_escalation(inquiry=inquiry, reasons=[{"code": "app", "detail": "<b>urgent</b>"}], priority=1.0)
    page: Page = visit(people["agent"]).go("/p/shop/cases")
    expect(page.locator(".customer .text")).to_have_text("<script>alert(1)</script><i>help</i>")
    assert page.locator(".case i, .case b, .case script").count() == 0
