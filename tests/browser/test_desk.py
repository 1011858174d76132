"""A day at the desk by keyboard alone, and what happens when the world does not play along."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import APIResponse, Page, Route, expect

from feedback.models import Project, User
from labeling.models import Annotation, Escalation, Flag, Label, LabelTask, Skip, Slot, SlotState
from tests.browser import scene

Visit = Callable[..., Any]
DESK = "/p/shop/label"


def open_desk(visit: Visit, user: User, path: str = DESK, **options: Any) -> Page:
    page: Page = visit(user, **options).go(path)
    page.wait_for_selector("#desk[data-state=working]")
    return page


def text_of(page: Page) -> str:
    return page.locator("#message").inner_text()


def saved(page: Page) -> None:
    expect(page.locator("#save-state")).to_have_attribute("data-kind", "saved")


def wait_for(page: Page, text: str) -> None:
    expect(page.locator("#message")).to_have_text(text)


def wait_for_next(page: Page) -> None:
    """Until the item after this one is here."""
    expect(page.locator("#desk")).to_have_attribute("data-next", "here")


def eventually(page: Page, holds: Callable[[], bool]) -> None:
    """For what happens behind a page that is gone: look until it holds, up to ten seconds."""
    for _ in range(500):
        if holds():
            return
        page.wait_for_timeout(20)
    raise AssertionError("it did not come about")


def answers_of(user: User) -> list[str]:
    return [a.category.key for a in Annotation.objects.filter(annotator=user).select_related("category").order_by("pk")]


def test_a_day_by_keyboard_alone(shop: Project, people: dict[str, User], visit: Visit) -> None:
    tasks = scene.fill_queue(shop, 8)
    page = open_desk(visit, people["annotator"])
    press = page.keyboard.press
    wait_for(page, scene.TEXTS[0][0])
    assert page.evaluate("document.activeElement.id") == "item-title"

    press("g")
    expect(page.locator("#guideline")).to_contain_text("arrow keys")
    press("ArrowDown")
    press("ArrowDown")
    press("g")
    press("g")
    expect(page.locator("#guideline")).to_contain_text("misdelivered")
    press("Enter")  # the category that is pointed at: Delivery
    wait_for(page, scene.TEXTS[1][0])
    assert page.evaluate("document.activeElement.id") == "item-title"

    assert page.locator(".choice.suggested").count() == 0
    press("s")
    expect(page.locator(".choice.suggested .name")).to_have_text("Delivery")
    expect(page.locator("#why")).to_contain_text("Refund")
    press("2")
    wait_for(page, scene.TEXTS[2][0])

    press("f")
    expect(page.locator('[data-do="flag"]')).to_have_attribute("aria-pressed", "true")
    press("Space")
    wait_for(page, scene.TEXTS[3][0])
    press("Space")
    expect(page.locator("#skip-dialog")).to_be_visible()
    press("3")
    wait_for(page, scene.TEXTS[4][0])

    press("e")
    press("2")
    wait_for(page, scene.TEXTS[5][0])

    press("4")
    wait_for(page, scene.TEXTS[6][0])
    saved(page)
    press("z")
    wait_for(page, scene.TEXTS[5][0])
    expect(page.locator(".choice.was .name")).to_have_text("Account and password")
    press("5")
    wait_for(page, scene.TEXTS[6][0])

    press("?")
    expect(page.locator("#overlay")).to_be_visible()
    press("1")  # silent while a dialog is open
    press("Escape")
    wait_for(page, scene.TEXTS[6][0])
    press("1")
    wait_for(page, scene.TEXTS[7][0])
    press("1")
    expect(page.locator("#desk")).to_have_attribute("data-state", "empty")
    saved(page)
    assert page.evaluate("document.activeElement.id") == "empty-title"

    assert answers_of(people["annotator"]) == ["delivery", "delivery", "invoice", "refund", "refund"]
    seen = Annotation.objects.filter(annotator=people["annotator"], saw_suggestion=True)
    assert [a.task_id for a in seen] == [tasks[1].pk]
    assert [f.task_id for f in Flag.objects.all()] == [tasks[2].pk]
    assert [s.reason for s in Skip.objects.order_by("pk")] == ["", "missing", "escalated"]
    assert Escalation.objects.get().inquiry_id == tasks[4].inquiry_id


@pytest.mark.soak  # a time: `make soak` measures it on a quiet machine
def test_the_next_item_is_there_within_100_ms(shop: Project, people: dict[str, User], visit: Visit) -> None:
    scene.fill_queue(shop, 101)
    page = open_desk(visit, people["annotator"])
    for i in range(100):
        wait_for_next(page)
        before = text_of(page)
        page.keyboard.press("12"[i % 2])
        expect(page.locator("#message")).not_to_have_text(before)
    saved(page)
    page.wait_for_function(
        "performance.getEntriesByName('enso:swap').length === 100"
    )  # the last one ends after its paint
    swaps = page.evaluate("performance.getEntriesByName('enso:swap').map((m) => m.duration)")
    assert Annotation.objects.count() == 100
    print(f"median of 100 swaps: {statistics.median(swaps):.1f} ms")  # noqa: T201 - the figure of the soak
    assert statistics.median(swaps) < 100, "the swap to the next item, measured in the page"


def test_answers_given_during_an_outage_are_sent_afterwards(
    shop: Project, people: dict[str, User], visit: Visit
) -> None:
    scene.fill_queue(shop, 4)
    window = visit(people["annotator"])
    page = window.go(DESK)
    wait_for_next(page)
    page.route("**/api/v1/**", lambda route: route.abort())
    page.keyboard.press("1")
    wait_for(page, scene.TEXTS[1][0])
    expect(page.locator("#save-state")).to_have_attribute("data-kind", "kept")
    page.keyboard.press("2")
    expect(page.locator("#save-state")).to_contain_text("2 kept on this device")
    expect(page.locator("#desk")).to_have_attribute("data-state", "trouble")
    assert Annotation.objects.count() == 0
    page.unroute("**/api/v1/**")
    saved(page)
    page.get_by_role("button", name="Try again").click()
    wait_for(page, scene.TEXTS[2][0])
    assert answers_of(people["annotator"]) == ["refund", "delivery"]
    assert not Annotation.objects.filter(extra=True).exists()
    window.errors.clear()  # the aborted requests


def test_answers_outlive_a_closed_tab(shop: Project, people: dict[str, User], visit: Visit) -> None:
    scene.fill_queue(shop, 3)
    window = visit(people["annotator"])
    page = window.go(DESK)
    wait_for_next(page)
    page.route("**/annotations", lambda route: route.abort())
    page.keyboard.press("1")
    expect(page.locator("#save-state")).to_have_attribute("data-kind", "kept")
    page.close()
    again = window.context.new_page()
    again.goto(window.base + DESK)
    saved(again)
    assert answers_of(people["annotator"]) == ["refund"]
    window.errors.clear()


def test_a_signed_out_person_loses_no_answer(shop: Project, people: dict[str, User], visit: Visit) -> None:
    scene.fill_queue(shop, 3)
    window = visit(people["annotator"])
    page = window.go(DESK)
    wait_for_next(page)
    session = next(c for c in window.context.cookies() if c["name"] == "sessionid")
    window.context.clear_cookies(name="sessionid")
    page.keyboard.press("1")
    expect(page.locator("#save-state")).to_contain_text("You have been signed out")
    assert Annotation.objects.count() == 0
    window.context.add_cookies([session])
    page.evaluate("window.dispatchEvent(new Event('online'))")
    saved(page)
    assert answers_of(people["annotator"]) == ["refund"]
    window.errors.clear()  # Chromium reports the 403 itself


def test_a_lost_lease_keeps_the_answer(shop: Project, people: dict[str, User], visit: Visit) -> None:
    scene.fill_queue(shop, 3)
    page = open_desk(visit, people["annotator"])
    wait_for_next(page)
    Slot.objects.filter(state=SlotState.LEASED, reserved=False).update(lease_expires_at=timezone.now())
    first = LabelTask.objects.order_by("-priority").first()
    scene.take_over(shop, people["colleague"], people["expert"])
    page.keyboard.press("1")
    expect(page.locator("#notice")).to_contain_text("kept, but not counted")
    answer = Annotation.objects.get(annotator=people["annotator"])
    assert (answer.extra, answer.task) == (True, first)


# Another item, or the end of the queue: a key that is pressed in between belongs to no item and is ignored.
NEXT_OR_NONE = """before => {
    const state = document.querySelector("#desk").dataset.state;
    return state === "empty" || (state === "working" && document.querySelector("#message").innerText.trim() !== before.trim());
}"""


def test_two_annotators_never_see_the_same_item(people: dict[str, User], shop: Project, visit: Visit) -> None:
    Project.objects.update(overlap=1)
    shop.refresh_from_db()
    scene.fill_queue(shop, 12)
    pages = [open_desk(visit, people["annotator"]), open_desk(visit, people["colleague"])]
    # Who prefetched more may have more to answer: go on until neither has anything in hand.
    while working := [p for p in pages if p.locator("#desk").get_attribute("data-state") == "working"]:
        for page in working:
            before = text_of(page)
            page.keyboard.press("1")
            page.wait_for_function(NEXT_OR_NONE, arg=before)
    for page in pages:
        expect(page.locator("#desk")).to_have_attribute("data-state", "empty")
        saved(page)
    assert Label.objects.count() == 12
    assert Annotation.objects.filter(extra=False).count() == Annotation.objects.count() == 12


def test_keys_are_silent_while_a_field_has_the_focus_or_a_text_is_composed(
    shop: Project, people: dict[str, User], visit: Visit
) -> None:
    scene.add_categories(shop, 8)
    scene.fill_queue(shop, 3)
    page = open_desk(visit, people["annotator"])
    first = text_of(page)
    page.evaluate("document.dispatchEvent(new KeyboardEvent('keydown', {key: '1', isComposing: true, bubbles: true}))")
    page.keyboard.press("Control+1")
    page.get_by_role("button", name="Flag").focus()
    page.keyboard.press("1")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.tagName") == "BUTTON"
    assert text_of(page) == first
    page.locator("#item-title").focus()
    page.keyboard.press("/")
    page.keyboard.type("extra 7")
    expect(page.locator("#matches")).to_have_text("1 categories")
    assert text_of(page) == first
    page.keyboard.press("Enter")
    wait_for(page, scene.TEXTS[1][0])
    saved(page)
    assert answers_of(people["annotator"]) == ["extra-7"]
    expect(page.locator("#filter")).to_have_value("")


def test_an_undo_is_not_overtaken_by_an_older_prefetch(shop: Project, people: dict[str, User], visit: Visit) -> None:
    scene.fill_queue(shop, 5)
    page = open_desk(visit, people["annotator"])
    wait_for_next(page)
    held: list[tuple[Route, APIResponse]] = []
    page.route("**/queue/next", lambda route: route.continue_() if held else held.append((route, route.fetch())))
    page.keyboard.press("1")
    wait_for(page, scene.TEXTS[1][0])
    saved(page)
    eventually(page, lambda: bool(held))  # the server has reserved the third item, the page does not know yet
    page.keyboard.press("z")
    wait_for(page, scene.TEXTS[0][0])
    ((route, response),) = held
    with page.expect_response("**/queue/next"):
        route.fulfill(response=response)
    page.keyboard.press("2")
    wait_for(page, scene.TEXTS[1][0])
    saved(page)
    page.keyboard.press("2")
    wait_for(page, scene.TEXTS[2][0])
    saved(page)
    assert answers_of(people["annotator"]) == ["delivery", "delivery"]


def test_a_skipped_item_does_not_come_back_with_a_late_prefetch(
    shop: Project, people: dict[str, User], visit: Visit
) -> None:
    scene.fill_queue(shop, 3)
    window = visit(people["annotator"])
    answers: list[APIResponse] = []
    late: list[Route] = []

    def queue_next(route: Route) -> None:
        if not answers:
            answers.append(route.fetch())
            route.fulfill(response=answers[0])
        elif not late:
            late.append(route)  # the prefetch: its answer comes when the item has been skipped
        else:
            route.continue_()

    window.page.route("**/queue/next", queue_next)
    page = window.go(DESK)
    wait_for(page, scene.TEXTS[0][0])
    eventually(page, lambda: bool(late))
    page.keyboard.press("Space")
    eventually(page, lambda: Skip.objects.exists())
    with page.expect_response("**/queue/next"):
        late[0].fulfill(response=answers[0])  # what the server says that has not heard of the skip: still the same item
    wait_for(page, scene.TEXTS[1][0])


def test_keys_can_be_switched_off_and_changed(shop: Project, people: dict[str, User], visit: Visit) -> None:
    scene.fill_queue(shop, 3)
    people["annotator"].preferences = {"shortcuts": {"on": True, "keys": {"skip": "x"}}}
    people["annotator"].save()
    page = open_desk(visit, people["annotator"])
    page.keyboard.press("Space")
    wait_for(page, scene.TEXTS[0][0])
    page.keyboard.press("x")
    wait_for(page, scene.TEXTS[1][0])
    people["annotator"].preferences = {"shortcuts": {"on": False}}
    people["annotator"].save()
    page.reload()
    page.wait_for_selector("#desk[data-state=working]")
    page.keyboard.press("1")
    page.keyboard.press("Space")
    wait_for(page, scene.TEXTS[1][0])
    assert page.locator(".choice kbd").first.inner_text() == ""
    page.get_by_role("button", name="Refund").click()
    wait_for(page, scene.TEXTS[2][0])


def test_closing_the_page_gives_the_items_back(shop: Project, people: dict[str, User], visit: Visit) -> None:
    scene.fill_queue(shop, 3)
    page = open_desk(visit, people["annotator"])
    wait_for_next(page)
    assert Slot.objects.filter(state=SlotState.LEASED).count() == 2
    page.goto("about:blank")
    eventually(page, lambda: not Slot.objects.filter(state=SlotState.LEASED).exists())


def test_a_second_tab_does_not_take_the_same_item(shop: Project, people: dict[str, User], visit: Visit) -> None:
    scene.fill_queue(shop, 3)
    window = visit(people["annotator"])
    first = window.go(DESK)
    wait_for(first, scene.TEXTS[0][0])
    second = window.context.new_page()
    second.goto(window.base + DESK)
    expect(second.locator("#elsewhere-title")).to_be_visible()
    second.get_by_role("button", name="Work here instead").click()
    wait_for(second, scene.TEXTS[0][0])
    expect(first.locator("#elsewhere-title")).to_be_visible()
    first.close()
    second.keyboard.press("1")
    wait_for(second, scene.TEXTS[1][0])
    saved(second)
    assert [a.extra for a in Annotation.objects.all()] == [False]


def test_an_expert_decides_between_answers(shop: Project, people: dict[str, User], visit: Visit) -> None:
    task = scene.dispute(shop, people)
    page = open_desk(visit, people["expert"], "/p/shop/adjudicate")
    expect(page.locator(".answer")).to_have_count(2)
    shown = page.locator(".answer-list").inner_text()
    assert "Annotator" not in shown
    assert "Colleague" not in shown
    first = page.locator(".choice .name").first.inner_text()
    page.keyboard.press("1")
    expect(page.locator("#desk")).to_have_attribute("data-state", "empty")
    saved(page)
    task.refresh_from_db()
    assert task.category is not None
    assert (task.category.name, task.resolution) == (first, "expert")


def test_a_customers_text_stays_text(shop: Project, people: dict[str, User], visit: Visit) -> None:
    scene.ask(shop, "<img src=x onerror=alert(1)><b>bold</b>", "en", "refund", "delivery")
    page = open_desk(visit, people["annotator"])
    wait_for(page, "<img src=x onerror=alert(1)><b>bold</b>")
    assert page.locator("#message *").count() == 0
