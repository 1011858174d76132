"""An agent's day in the escalation console, by keyboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from feedback.models import Project, Status, User
from labeling import drafts, escalations, services
from labeling.case_models import CaseFinding
from labeling.escalations import Hand
from labeling.models import Draft, DraftState, Escalation, EscalationState, Label
from tests.browser import scene

Visit = Callable[..., Any]


@pytest.fixture
def console(shop: Project, people: dict[str, User], visit: Visit) -> Any:
    """An agent's window on three cases, the most urgent one in front: (window, angry, risky, asked)."""
    angry, risky, asked = scene.open_cases(shop)
    window = visit(people["agent"])
    ready(window.go("/p/shop/cases"))
    return window, angry, risky, asked


def ready(page: Page) -> None:
    page.wait_for_selector("html[data-keys=on]")


def shows(page: Page, case: Escalation) -> None:
    """The case is in front, and its heading has the focus, as after every move."""
    expect(page.locator(".case")).to_have_attribute("data-case", str(case.pk))


def test_an_agent_resolves_case_after_case(console: Any, people: dict[str, User]) -> None:
    window, angry, risky, _ = console
    page, press = window.page, window.page.keyboard.press
    shows(page, risky)
    expect(page.locator(".shares")).to_contain_text("93")

    press("j")
    shows(page, angry)
    expect(page.locator("#case-title")).to_be_focused()
    assert page.url.endswith(f"/cases/{angry.pk}")
    press("k")
    shows(page, risky)
    expect(page.locator("#case-title")).to_be_focused()

    press("a")
    expect(page.get_by_role("button", name="Give back")).to_be_visible()
    expect(page.locator("#case-title")).to_be_focused()
    press("e")  # nothing is written yet: E goes where something is missing
    reply = page.get_by_label("Reply to the customer")
    expect(reply).to_be_focused()
    page.keyboard.type("We have stopped the order and sent you a new password.")
    press("Escape")
    press("e")
    expect(page.get_by_label("It was about")).to_be_focused()
    page.keyboard.type("Fraud")
    expect(page.get_by_label("It was about")).to_have_value("fraud")
    press("Escape")
    press("Shift+E")

    expect(page.get_by_role("status").filter(has_text="Resolved")).to_be_visible()
    shows(page, angry)  # and on to the next
    expect(page.locator("#case-title")).to_be_focused()
    risky.refresh_from_db()
    assert (risky.state, risky.assignee, risky.category.key) == ("resolved", people["agent"], "fraud")
    assert Label.objects.get().source == "agent"
    assert risky.inquiry.__class__.objects.get(pk=risky.inquiry_id).status == Status.RESOLVED


def test_priority_and_snooze_are_two_keys_each(console: Any) -> None:
    window, angry, risky, _ = console
    page, press = window.page, window.page.keyboard.press
    press("p")
    expect(page.get_by_role("button", name="Urgent")).to_be_focused()
    press("ArrowDown")
    press("ArrowDown")
    press("Enter")
    expect(page.locator(".case-meta")).to_contain_text("Normal")
    expect(page.locator("#case-title")).to_be_focused()
    press("h")
    press("Enter")
    expect(page.locator(".case-meta")).to_contain_text("set aside until")
    risky.refresh_from_db()
    assert (risky.level, risky.snoozed_until is not None) == ("normal", True)
    page.get_by_role("link", name="Open").click()
    shows(page, angry)
    expect(page.locator(".row-link")).to_have_count(2)


def test_the_command_bar_lists_what_is_possible_now_and_does_it(console: Any, people: dict[str, User]) -> None:
    window, _, risky, _ = console
    page, press = window.page, window.page.keyboard.press
    press("Control+k")
    field = page.get_by_label("Find an action")
    expect(field).to_be_focused()
    options = page.locator("#command-list li")
    assert "Take it" in options.all_inner_texts()
    assert "Give back" not in options.all_inner_texts()
    page.keyboard.type("take")
    expect(options).to_have_count(1)
    press("Enter")
    expect(page.get_by_role("button", name="Give back")).to_be_visible()
    risky.refresh_from_db()
    assert risky.assignee == people["agent"]
    press("Control+k")
    page.keyboard.type("insert refund")
    press("Enter")
    said = "We are sorry about this. The amount goes back to your card today and arrives within five days."
    expect(page.get_by_label("Reply to the customer")).to_have_value(said)
    expect(page.get_by_label("It was about")).to_have_value("refund")
    press("Control+k")
    page.keyboard.type("zzz")
    expect(page.locator("#command-count")).to_have_text("No action matches.")
    press("Escape")
    expect(page.locator("#commands")).to_be_hidden()


def test_keys_are_silent_while_writing_and_while_a_method_composes(console: Any) -> None:
    window, _, risky, _ = console
    page = window.page
    page.get_by_label("Reply to the customer").focus()
    page.keyboard.type("aJejpk")
    page.locator("#case-title").focus()
    page.evaluate("""document.getElementById("case-title").dispatchEvent(
        new KeyboardEvent("keydown", {key: "a", bubbles: true, isComposing: true}))""")
    shows(page, risky)
    risky.refresh_from_db()
    assert risky.version == 1


def test_keys_that_were_changed_or_switched_off_do_as_the_person_wants(
    shop: Project, people: dict[str, User], visit: Visit
) -> None:
    angry, risky, _ = scene.open_cases(shop)
    agent = people["agent"]
    agent.preferences = {"shortcuts": {"on": True, "keys": {"next_case": "w"}}}
    agent.save()
    page = visit(agent).go("/p/shop/cases")
    ready(page)
    page.keyboard.press("j")
    page.keyboard.press("w")
    shows(page, angry)
    agent.preferences = {"shortcuts": {"on": False, "keys": {}}}
    agent.save()
    page = visit(agent).go("/p/shop/cases")
    ready(page)
    page.keyboard.press("j")
    page.keyboard.press("Control+k")
    expect(page.get_by_label("Find an action")).to_be_focused()
    shows(page, risky)


def test_somebody_else_who_looks_is_named_and_a_change_is_told(
    console: Any, people: dict[str, User], visit: Visit
) -> None:
    window, _, risky, _ = console
    other = visit(people["lead"]).go(f"/p/shop/cases/{risky.pk}")
    expect(other.locator(".watch")).to_contain_text("Agent is looking at this case too", timeout=15_000)
    expect(window.page.locator(".watch")).to_contain_text("Lead is looking", timeout=15_000)
    escalations.assign(Hand(risky.project_id, risky.pk, 1, people["lead"].pk), to_id=people["lead"].pk)
    expect(window.page.locator(".watch.changed")).to_contain_text("This case has changed", timeout=15_000)


def test_the_second_of_two_agents_is_told_and_loses_nothing(console: Any, people: dict[str, User]) -> None:
    window, _, risky, _ = console
    page = window.page
    page.get_by_label("Reply to the customer").fill("My own answer.")
    page.get_by_label("It was about").select_option("fraud")
    escalations.assign(Hand(risky.project_id, risky.pk, 1, people["lead"].pk), to_id=people["lead"].pk)
    page.get_by_role("button", name="Resolve and go on").click()
    expect(page.get_by_role("alert")).to_contain_text("lead has changed this case since you opened it")
    expect(page.get_by_label("Reply to the customer")).to_have_value("My own answer.")
    page.get_by_role("button", name="Resolve and go on").click()
    expect(page.get_by_role("status").filter(has_text="Resolved")).to_be_visible()
    risky.refresh_from_db()
    assert (risky.reply_text, risky.assignee) == ("My own answer.", people["agent"])
    window.errors.clear()  # Chromium reports the 409 itself


def test_a_key_between_the_swap_and_the_mark_acts_on_the_case_that_is_shown(console: Any) -> None:
    window, angry, *_ = console
    page = window.page
    expect(page.locator(".shares")).to_contain_text("93")  # what the page loads by itself is swapped in too
    page.evaluate(
        "document.body.addEventListener('htmx:afterSwap', () => document.body.dispatchEvent("
        "new KeyboardEvent('keydown', {key: 'x', code: 'KeyX', bubbles: true})), {once: true})"
    )
    page.keyboard.press("j")
    shows(page, angry)
    expect(page.locator("#chosen")).to_have_text("1 chosen")
    assert page.locator(".pick input:checked").get_attribute("value").startswith(f"{angry.pk}:")


def test_several_cases_at_once_with_a_preview_and_a_way_back(console: Any, people: dict[str, User]) -> None:
    window, angry, *_ = console
    page, press = window.page, window.page.keyboard.press
    press("x")
    press("j")
    shows(page, angry)
    press("x")
    expect(page.locator("#chosen")).to_have_text("2 chosen")
    page.get_by_label("Action", exact=True).select_option("assign")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("heading", name="Assign to me: 2 cases")).to_be_visible()
    assert not Escalation.objects.exclude(assignee=None).exists()
    page.get_by_role("button", name="Do it").click()
    expect(page.get_by_role("status").filter(has_text="Done: 2 cases.")).to_be_visible()
    assert Escalation.objects.filter(assignee=people["agent"]).count() == 2
    press("z")
    expect(page.get_by_role("status").filter(has_text="Taken back: 2 cases.")).to_be_visible()
    assert not Escalation.objects.exclude(assignee=None).exists()


def test_a_note_stays_among_colleagues(console: Any) -> None:
    window, _, risky, _ = console
    page = window.page
    page.keyboard.press("n")
    expect(page.get_by_label("Note to colleagues")).to_be_focused()
    page.keyboard.type("Called twice already.")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".aside .text")).to_have_text("Called twice already.")
    risky.refresh_from_db()
    assert (risky.reply_text, risky.state) == ("", "open")


def test_a_long_queue_scrolls_in_its_pane_and_leaves_the_page_where_it_is(
    shop: Project, people: dict[str, User], visit: Visit
) -> None:
    for _ in range(8):
        scene.open_cases(shop)
    page = visit(people["agent"]).go("/p/shop/cases")
    ready(page)
    queue, whole = (f"(e => e.scrollHeight - e.clientHeight)({e})" for e in (
        "document.querySelector('.queue')", "document.scrollingElement",
    ))  # fmt: skip
    assert page.evaluate(queue) > 500
    assert page.evaluate(whole) == 0


def test_what_the_loop_should_learn_goes_with_the_resolution(console: Any) -> None:
    window, *_ = console
    page = window.page
    page.get_by_label("Reply to the customer").fill("Stopped.")
    page.get_by_label("It was about").select_option("fraud")
    page.get_by_text("What the loop should learn from this").click()
    page.get_by_label("What the guideline of this category should say").fill("Orders to unknown addresses are fraud.")
    assert page.get_by_label("must not go on serving").count() == 0  # a lead's decision
    page.get_by_role("button", name="Resolve", exact=True).click()
    expect(page.locator(".case-meta")).to_contain_text("Answered")
    assert CaseFinding.objects.get(kind="guideline").text == "Orders to unknown addresses are fraud."


def test_a_case_needs_a_category_and_keeps_what_was_written(console: Any) -> None:
    window, *_ = console
    page = window.page
    page.get_by_label("Reply to the customer").fill("We are looking into it, {order}.")
    page.get_by_role("button", name="Resolve and go on").click()
    expect(page.locator("#fault-category")).to_have_text("Choose what it was about: the choice becomes a label.")
    expect(page.locator("#fault-reply")).to_contain_text("Fill in or remove {order}")
    expect(page.get_by_label("Reply to the customer")).to_have_value("We are looking into it, {order}.")
    expect(page.get_by_label("Reply to the customer")).to_be_focused()
    assert not Escalation.objects.filter(state=EscalationState.RESOLVED).exists()
    window.errors.clear()  # Chromium reports the 422 itself


def test_a_case_that_somebody_else_resolved_keeps_the_reply(console: Any, people: dict[str, User]) -> None:
    window, _, risky, _ = console
    page = window.page
    page.get_by_label("It was about").select_option("fraud")
    page.get_by_label("Reply to the customer").fill("My own answer.")
    scene.close_case(risky, people["lead"], "fraud", "First.")
    page.get_by_role("button", name="Resolve and go on").click()
    expect(page.get_by_label("Your reply that was not sent")).to_have_value("My own answer.")
    risky.refresh_from_db()
    assert risky.reply_text == "First."
    window.errors.clear()


def test_a_lost_connection_sends_nothing_and_keeps_the_words(console: Any) -> None:
    window, _, risky, _ = console
    page = window.page
    page.get_by_label("Reply to the customer").fill("Half a sen")
    page.get_by_label("It was about").select_option("fraud")
    window.context.set_offline(True)
    page.get_by_role("button", name="Resolve and go on").click()
    expect(page.get_by_role("alert")).to_contain_text("the connection is gone")
    window.context.set_offline(False)
    page.reload()
    expect(page.get_by_label("Reply to the customer")).to_have_value("Half a sen")
    risky.refresh_from_db()
    assert risky.state == "open"
    window.errors.clear()


def test_a_customers_text_stays_text(shop: Project, people: dict[str, User], visit: Visit) -> None:
    inquiry = scene.inquire(shop, "<script>alert(1)</script><i>help</i>", shares={"refund": 0.5})
    services.open_escalation(inquiry=inquiry, reasons=[{"code": "app", "detail": "<b>urgent</b>"}], priority=1.0)
    page: Page = visit(people["agent"]).go("/p/shop/cases")
    expect(page.locator(".customer .text")).to_have_text("<script>alert(1)</script><i>help</i>")
    assert page.locator(".case i:not(.bars i), .case b, .case script").count() == 0


def test_without_its_script_the_console_still_works(shop: Project, people: dict[str, User], visit: Visit) -> None:
    _, risky, _ = scene.open_cases(shop)
    page: Page = visit(people["agent"], java_script_enabled=False).go("/p/shop/cases")
    page.get_by_role("button", name="Take it").click()
    page.get_by_label("It was about").select_option("fraud")
    page.get_by_label("Reply to the customer").fill("Stopped.")
    page.get_by_role("button", name="Resolve and go on").click()
    expect(page.get_by_role("status").filter(has_text="Resolved")).to_be_visible()
    risky.refresh_from_db()
    assert risky.reply_text == "Stopped."


def test_a_draft_goes_into_the_reply_at_a_click_and_a_useless_one_is_dismissed(
    shop: Project, people: dict[str, User], visit: Visit
) -> None:
    case = scene.open_cases(shop)[1]
    drafts.propose(project_id=shop.pk, case_id=case.pk, text="We have stopped the order.", source="d1")
    page = visit(people["agent"]).go(f"/p/shop/cases/{case.pk}")
    ready(page)
    expect(page.get_by_text("Draft of a language model")).to_be_visible()
    page.get_by_role("button", name="Use the draft").click()
    reply = page.get_by_label("Reply to the customer")
    expect(reply).to_have_value("We have stopped the order.")
    expect(reply).to_be_focused()
    page.get_by_role("button", name="Dismiss", exact=True).click()
    expect(page.get_by_text("Draft of a language model")).to_have_count(0)
    assert Draft.objects.get().state == DraftState.DISMISSED
