"""Loop health: the sentence, the strip, and figures that never pretend."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone, translation
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from feedback.models import Inquiry, Membership, Project, User
from labeling.access import Visitor
from labeling.models import Label
from labeling.spans import duration, since
from learning import selectors
from learning.health import figures, headline, work
from tests.browser import scene


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    """A request leaves its language behind in the thread; tests begin in English."""
    with translation.override("en"):
        yield


@given(st.integers(0, 500), st.integers(1, 500))
def test_the_interval_equals_statsmodels(hits: int, more: int) -> None:
    found = selectors.wilson(hits, hits + more)
    assert found is not None
    low, high = proportion_confint(hits, hits + more, method="wilson")
    assert (found.low, found.high) == pytest.approx((max(low, 0), min(high, 1)), abs=1e-9)


def test_no_observation_gives_no_interval() -> None:
    assert selectors.wilson(0, 0) is None


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(seconds=45), "45 s"),
        (timedelta(minutes=12, seconds=29), "12 min"),
        (timedelta(hours=3, minutes=4), "3 h 4 min"),
        (timedelta(hours=4), "4 h"),
        (timedelta(days=3, hours=4, minutes=50), "3 d 4 h"),
        (timedelta(days=2), "2 d"),
        (timedelta(seconds=-5), "0 s"),
    ],
)
def test_spans_are_said_in_two_units_at_most(span: timedelta, words: str) -> None:
    assert duration(span).replace("\u00a0", " ") == words


def test_nothing_that_waits_is_a_dash() -> None:
    assert since(None) == "–"
    assert since(timezone.now()) == "less than a minute"


@pytest.fixture
def shop(db: None) -> Project:
    return scene.make_shop()


@pytest.fixture
def people(shop: Project, settings: Any) -> dict[str, User]:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    return scene.make_people(shop)


def waiting(project: Project) -> selectors.Waiting:
    return selectors.labels_since_training(project=project)


class TestHeadline:
    def test_before_any_model_it_says_what_answers_and_what_is_missing(self, shop: Project) -> None:
        first, second = headline(shop, waiting(shop))
        assert "No model has been trained yet" in first
        assert second == "The first training starts after 50 more labels."

    def test_it_measures_the_way_of_the_labels_that_the_newest_version_learned_first(
        self, shop: Project, people: dict[str, User]
    ) -> None:
        scene.train_once(shop, people)
        way = selectors.journey(project_id=shop.pk)
        assert way is not None
        assert (way.labels, way.slowest) == (4, "labeling")
        assert way.total == pytest.approx(way.labeling + way.waiting + way.training, abs=timedelta(seconds=5))
        first, _ = headline(shop, waiting(shop))
        assert first.replace("\u00a0", " ") == "Feedback to live model: 4 h. Slowest step: labeling."

    def test_imported_labels_have_no_way_to_measure(self, shop: Project, people: dict[str, User]) -> None:
        scene.train_once(shop, people)
        Label.objects.update(source="imported")
        assert selectors.journey(project_id=shop.pk) is None
        assert "A model is live" in headline(shop, waiting(shop))[0]


class TestFigures:
    def of(self, project: Project, user: User) -> dict[str, Any]:
        roles = Membership.objects.filter(user=user, project=project).values_list("role", flat=True)
        return figures(Visitor(user, project, frozenset(roles)))

    def test_an_empty_project_shows_dashes_and_no_error(self, shop: Project, people: dict[str, User]) -> None:
        shown = self.of(shop, people["lead"])
        assert (shown["accuracy"], shown["auto"], shown["kappa"], work(shop)["models"]) == (None, None, None, [])
        assert [s["count"] for s in shown["stages"]] == [0, 0, 0, 0, "0 / 50", "–", "–"]

    def test_counts_are_of_this_project_alone(
        self, shop: Project, people: dict[str, User], other_project: Project
    ) -> None:
        scene.inquire(other_project, "Elsewhere", shares={"refund": 0.9})
        scene.fill_queue(shop, 3)
        scene.open_cases(shop)
        shown = self.of(shop, people["lead"])
        assert [s["count"] for s in shown["stages"]][:4] == [6, 3, 0, 3]

    def test_a_stage_is_a_link_for_those_who_may_go_there(self, shop: Project, people: dict[str, User]) -> None:
        urls = {n: [s["url"] for s in self.of(shop, people[n])["stages"]][1:4] for n in ("annotator", "agent")}
        assert urls["annotator"] == ["/p/shop/label", None, None]
        assert urls["agent"] == [None, None, "/p/shop/cases"]

    def test_accuracy_counts_resolved_audit_draws_only(self, shop: Project, people: dict[str, User]) -> None:
        scene.train_once(shop, people)  # four labels, one of them an audit draw
        shown = self.of(shop, people["lead"])
        assert (shown["accuracy"].hits, shown["accuracy"].n, shown["accuracy"].enough) == (1, 1, False)
        scene.ask(shop, "Drawn, not labeled yet", "en", "refund", "delivery", kind="audit")
        again = self.of(shop, people["lead"])
        assert (again["accuracy"].n, again["unanswered"]) == (1, 1)

    def test_yesterday_is_the_measure_of_today(self, shop: Project) -> None:
        for hours in (1, 2, 30, 31, 60):
            inquiry = scene.inquire(shop, f"{hours} h ago")
            Inquiry.objects.filter(pk=inquiry.pk).update(received_at=timezone.now() - timedelta(hours=hours))
        assert selectors.arrivals(project_id=shop.pk) == (2, 2)

    def test_a_version_with_little_in_it_is_still_shown(self, shop: Project, people: dict[str, User]) -> None:
        version = scene.train_once(shop, people)
        type(version).objects.update(metrics={}, lineage={}, gates=[])
        rows = work(shop)["models"]
        assert [(r["accuracy"], r["labels"], r["failed"]) for r in rows] == [(None, None, 0)] * 2


class TestPolling:
    def test_an_unchanged_page_costs_a_304(self, shop: Project, people: dict[str, User], client: Client) -> None:
        client.force_login(people["lead"])
        first = client.get("/p/shop/loop/live")
        again = client.get("/p/shop/loop/live", headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        scene.fill_queue(shop, 1)
        changed = client.get("/p/shop/loop/live", headers={"If-None-Match": first.headers["ETag"]})
        assert changed.status_code == 200
        assert changed.headers["ETag"] != first.headers["ETag"]

    def test_the_page_takes_few_queries_however_much_there_is(
        self, shop: Project, people: dict[str, User], client: Client, django_assert_max_num_queries: Any
    ) -> None:
        scene.train_once(shop, people)
        scene.fill_queue(shop, 8)
        client.force_login(people["lead"])
        with django_assert_max_num_queries(37):
            client.get("/p/shop/loop")

    def test_strangers_get_nothing(self, shop: Project, client: Client) -> None:
        assert client.get("/p/shop/loop/live").status_code == 302


def test_the_decision_is_shown_to_agents_alone(shop: Project, people: dict[str, User], client: Client) -> None:
    inquiry = scene.inquire(shop, "Where is it?", shares={"delivery": 0.9, "refund": 0.1})
    path = f"/p/shop/inquiries/{inquiry.pk}/decision"
    for name, status in (("annotator", 403), ("expert", 403), ("agent", 200)):
        client.force_login(people[name])
        assert client.get(path).status_code == status
