"""The page snippet in a real browser, on a page of another origin: what a visitor does arrives exactly, once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from feedback import keys
from feedback.customers import sign
from feedback.models import ApiKey, ClientApp, Event, Inquiry, InquiryScore, Project
from feedback.page_events import signing_secrets
from feedback.principals import digest
from feedback.scores import implicit_score
from feedback.services import NewInquiry, fold_scores, record_inquiry
from tests.browser.conftest import Traffic

PAGE = """<!doctype html><html><head><meta charset="utf-8"><title>Help</title><link rel="icon" href="data:,">
<script async src="{enso}/enso.js" data-key="{key}" {options}></script></head>
<body style="margin:0"><div data-enso-inquiry="order-7" style="height:{height}px">
<p>Your parcel comes tomorrow. <a href="#more">More</a></p>
<button data-enso-thumb="up" style="position:sticky;top:0">Helpful</button></div></body></html>"""
TALL = 4000
START = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Site:
    """A shop's web site on an origin of its own. `headers` are sent with its page, `options` stand in the script's tag."""

    def __init__(self, enso: str) -> None:
        self.enso, self.key, self.options, self.height = enso, "", "", TALL
        self.headers: dict[str, str] = {}
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                html = PAGE.format(enso=site.enso, key=site.key, options=site.options, height=site.height).encode()
                self.send_response(200)
                for name, value in {"Content-Type": "text/html", **site.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(html)

            def log_message(self, *_: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def site(live_server: Any, shop: Project) -> Iterator[Site]:
    served = Site(live_server.url)
    app = ClientApp.objects.get(project=shop)
    _, served.key = keys.create_public_key(app=app, origins=[served.origin])
    yield served
    served.close()


@pytest.fixture
def inquiry(shop: Project) -> Inquiry:
    new = NewInquiry(text="Where is my parcel?", request_sha=b"0" * 32, external_id="order-7")
    return record_inquiry(project_id=shop.pk, app_id=None, new=new, status="answered", category_id=None, reply_id=None)


class Visitor:
    """A visitor's browser with a clock that the test turns."""

    def __init__(self, context: BrowserContext, traffic: Traffic, *, clock: bool = True) -> None:
        self.context, self.traffic, self.clock = context, traffic, clock
        self.errors: list[str] = []

    def open(self, site: Site, *, script: str = "") -> Page:
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        if self.clock:
            self.page.clock.install(time=START)
            self.page.clock.pause_at(START + timedelta(seconds=1))
        # A window in the background: Chromium without a screen never hides one by itself.
        self.page.add_init_script(
            "window.background = (yes) => { Object.defineProperty(document, 'visibilityState',"
            " {value: yes ? 'hidden' : 'visible', configurable: true});"
            " document.dispatchEvent(new Event('visibilitychange')); };" + script
        )
        self.page.goto(site.origin)
        self.page.wait_for_load_state("networkidle")
        self.settle()
        return self.page

    def settle(self) -> None:
        """Let the browser draw, and wait until every observer that was there before knows what is in view.

        Observers of one frame are told in the order in which they were made, so one made now is told last.
        """
        self.page.screenshot(clip={"x": 0, "y": 0, "width": 8, "height": 8})
        self.page.evaluate("new Promise(told => new IntersectionObserver(told).observe(document.body))")

    def wait(self, seconds: float) -> None:
        if self.clock:
            self.page.clock.run_for(int(seconds * 1000))
        else:
            self.page.wait_for_timeout(seconds * 1000)

    def background(self, yes: bool) -> None:
        self.page.evaluate("yes => window.background(yes)", yes)

    def scroll_to(self, share: float, height: int = TALL) -> None:
        """Until `share` of the reply has come into view."""
        self.page.evaluate("y => window.scrollTo(0, y - innerHeight)", share * height)
        self.settle()

    def leave(self, arriving: int = 0) -> None:
        """Close the page, and wait until so many events are stored and nothing more comes."""
        self.page.close(run_before_unload=True)
        self.context.new_page()  # the window stays, the page is gone
        with self.traffic.changed:
            self.traffic.changed.wait_for(lambda: Event.objects.count() >= arriving, timeout=30)
        self.traffic.wait_until_quiet()


@pytest.fixture
def visitor(chromium: Browser, live_server: Any) -> Iterator[Callable[..., Visitor]]:
    opened: list[Visitor] = []
    with Traffic() as traffic:

        def arrive(*, clock: bool = True, **options: Any) -> Visitor:
            context = chromium.new_context(viewport={"width": 1000, "height": 800}, **options)
            opened.append(Visitor(context, traffic, clock=clock))
            return opened[-1]

        yield arrive
        for one in opened:
            one.context.close()
        traffic.wait_until_quiet()


def told(kind: str) -> list[float | None]:
    return list(Event.objects.filter(kind=kind).order_by("received_at", "occurred_at").values_list("value", flat=True))


def implicit(inquiry: Inquiry) -> float | None:
    """The inquiry's implicit score, once all events are folded in."""
    assert fold_scores(project_id=inquiry.project_id)
    return InquiryScore.objects.get(inquiry=inquiry).implicit


def scripted_visit(v: Visitor, site: Site) -> None:
    page = v.open(site)
    page.click("text=More")
    v.wait(12)
    v.background(True)
    v.wait(5)
    v.background(False)
    v.scroll_to(0.78)
    v.leave(arriving=5)


def test_a_scripted_visit_arrives_exactly(site: Site, inquiry: Inquiry, visitor: Any) -> None:
    v = visitor()
    scripted_visit(v, site)
    assert (told("impression"), told("click"), told("thumbs")) == ([None], [None], [])
    assert told("dwell") == [12.0]
    assert told("scroll") == [0.2, 0.78], "what was in view when the page went to the background, and then the deepest"
    assert set(Event.objects.values_list("inquiry", flat=True)) == {inquiry.pk}
    low = implicit_score(click=0.2, dwell=0.2 * 12.0, scroll=0.2 * 0.78)
    assert implicit(inquiry) == pytest.approx(low), "nobody signed for this visitor"
    assert v.errors == []


@pytest.mark.soak
def test_a_scripted_visit_arrives_exactly_in_real_time(site: Site, inquiry: Inquiry, visitor: Any) -> None:
    scripted_visit(visitor(clock=False), site)
    assert (told("impression"), told("click")) == ([None], [None])
    assert sum(told("dwell")) == pytest.approx(12, abs=1.5)
    assert max(told("scroll")) == pytest.approx(0.78, abs=0.005)


def short_visit(v: Visitor, site: Site, *, script: str = "") -> None:
    """A click, and away before the snippet's own time to send."""
    v.open(site, script=script).click("text=More")
    v.leave(arriving=3)


def test_what_was_done_a_moment_before_the_page_closed_arrives(site: Site, inquiry: Inquiry, visitor: Any) -> None:
    short_visit(visitor(), site)
    assert (told("impression"), told("click"), told("scroll")) == ([None], [None], [0.2])


@pytest.mark.parametrize("policy", ["no-referrer", "same-origin"])
def test_a_page_that_names_no_referrer_still_proves_its_origin(
    policy: str, site: Site, inquiry: Inquiry, visitor: Any
) -> None:
    site.headers = {"Referrer-Policy": policy}
    short_visit(visitor(), site)
    assert told("click") == [None]


def test_a_browser_without_keepalive_sends_a_beacon(site: Site, inquiry: Inquiry, visitor: Any) -> None:
    v = visitor()
    short_visit(
        v, site, script="delete Request.prototype.keepalive; window.fetch = () => { throw new Error('no fetch'); };"
    )
    assert (told("impression"), told("click")) == ([None], [None])
    assert v.errors == []


def test_a_strict_content_security_policy_needs_only_enso_named(site: Site, inquiry: Inquiry, visitor: Any) -> None:
    site.headers = {
        "Content-Security-Policy": f"default-src 'none'; script-src {site.enso}; connect-src {site.enso};"
        " style-src 'unsafe-inline'; img-src data:; require-trusted-types-for 'script'"
    }
    v = visitor()
    v.open(site).click("text=More")
    v.leave(arriving=3)
    assert told("click") == [None]
    assert v.errors == []


def test_what_was_done_offline_arrives_with_the_next_page(site: Site, inquiry: Inquiry, visitor: Any) -> None:
    v = visitor()
    page = v.open(site)
    v.context.set_offline(True)
    page.click("text=More")
    v.wait(3)
    v.leave()
    assert told("click") == []
    v.context.set_offline(False)
    page = v.open(site)
    v.wait(2)
    v.leave(arriving=7)
    assert told("click") == [None]
    assert page.is_closed()


def test_events_whose_answer_was_lost_are_sent_again_and_count_once(site: Site, inquiry: Inquiry, visitor: Any) -> None:
    v = visitor()
    lost = []

    def lose_the_answer(route: Any) -> None:
        lost.append(route.fetch().status)
        route.abort()

    v.context.route("**/feedback?*", lose_the_answer, times=1)
    page = v.open(site)
    page.click("text=More")
    with page.expect_event("requestfailed"):
        v.wait(2)
    assert (lost, told("click")) == ([204], [None])
    with page.expect_response("**/feedback?*") as again:
        v.wait(10)
    assert again.value.status == 204
    v.leave(arriving=4)
    assert (told("impression"), told("click")) == ([None], [None])


def test_a_server_that_is_busy_is_asked_again_later(site: Site, inquiry: Inquiry, visitor: Any) -> None:
    v = visitor()
    busy = {"status": 503, "headers": {"Access-Control-Allow-Origin": site.origin, "Retry-After": "30",
                                       "Access-Control-Expose-Headers": "Retry-After"}}  # fmt: skip
    asked: list[int] = []
    v.context.route("**/feedback?*", lambda route: (asked.append(1), route.fulfill(**busy)))
    v.open(site).click("text=More")
    with v.page.expect_response("**/feedback?*") as refused:
        v.wait(5)
    assert refused.value.status == 503
    v.wait(15)
    v.settle()
    assert len(asked) == 1
    v.context.unroute("**/feedback?*")
    with v.page.expect_response("**/feedback?*"):
        v.wait(30)
    v.leave(arriving=4)
    assert told("click") == [None]


STORED = "Object.keys(localStorage).filter(name => name.startsWith('enso:')).length"


@pytest.mark.parametrize(
    "wish",
    ["Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', {get: () => true})",
     "Object.defineProperty(Navigator.prototype, 'doNotTrack', {get: () => '1'})"],
)  # fmt: skip
def test_who_asks_not_to_be_tracked_is_not(wish: str, site: Site, inquiry: Inquiry, visitor: Any) -> None:
    v = visitor()
    page = v.open(site, script=wish)
    page.click("text=More")
    page.click("text=Helpful")
    page.evaluate("enso.consent(true)")
    v.wait(5)
    assert page.evaluate(STORED) == 0
    v.leave()
    assert not Event.objects.exists()


def test_before_consent_nothing_is_recorded_and_after_it_things_are(site: Site, inquiry: Inquiry, visitor: Any) -> None:
    site.options = 'data-consent="wait"'
    v = visitor()
    page = v.open(site)
    page.click("text=More")
    v.wait(12)
    assert page.evaluate(STORED) == 0
    page.evaluate("enso.consent(true)")
    v.settle()
    v.wait(4)
    v.leave(arriving=3)
    assert (told("impression"), told("click"), told("dwell")) == ([None], [], [4.0])


def test_consent_withdrawn_throws_away_what_was_not_sent(site: Site, inquiry: Inquiry, visitor: Any) -> None:
    v = visitor()
    page = v.open(site)
    page.click("text=More")
    page.evaluate("enso.consent(false)")
    v.wait(5)
    assert page.evaluate(STORED) == 0
    v.leave()
    assert not Event.objects.exists()


def test_a_thumb_is_a_thumb_and_no_click(site: Site, inquiry: Inquiry, visitor: Any) -> None:
    v = visitor()
    v.open(site).click("text=Helpful")
    v.leave(arriving=3)
    assert (told("thumbs"), told("click")) == ([1.0], [])


def test_a_signed_customer_is_named(site: Site, inquiry: Inquiry, visitor: Any) -> None:
    secret = signing_secrets(digest(site.key))[0]
    site.options = f'data-token="{sign("c-1042", secret=secret, expires_at=int(time.time()) + 600)}"'
    scripted_visit(visitor(), site)
    assert set(Event.objects.values_list("customer", flat=True)) == {"c-1042"}
    assert implicit(inquiry) == pytest.approx(implicit_score(click=1, dwell=12.0, scroll=0.78))


def test_a_reply_that_appears_later_is_seen_too(site: Site, inquiry: Inquiry, visitor: Any) -> None:
    v = visitor()
    page = v.open(site)
    page.evaluate("""() => { window.scrollTo(0, 0); const reply = document.createElement('div');
        reply.dataset.ensoInquiry = 'order-8'; reply.style.height = '200px'; reply.textContent = 'One more thing';
        document.body.prepend(reply); }""")
    v.settle()
    v.wait(3)
    v.leave(arriving=6)
    later = Event.objects.filter(inquiry_ref="order-8")
    assert sorted(later.values_list("kind", "value")) == [("dwell", 3.0), ("impression", None), ("scroll", 1.0)]


def test_a_whole_page_may_be_one_reply(site: Site, inquiry: Inquiry, visitor: Any) -> None:
    site.options = 'data-inquiry="order-9"'
    v = visitor()
    v.open(site)
    v.scroll_to(0.5)
    v.leave(arriving=4)
    assert set(Event.objects.filter(inquiry_ref="order-9").values_list("kind", "value")) == {
        ("impression", None),
        ("scroll", 0.5),
    }


def test_a_page_of_another_origin_stores_nothing(site: Site, inquiry: Inquiry, visitor: Any) -> None:
    ApiKey.objects.update(origins=["https://shop.example"])
    v = visitor()
    v.open(site).click("text=More")
    v.wait(2)
    v.leave()
    assert not Event.objects.exists()
    v.errors.clear()  # Chromium reports the 403 itself
