from __future__ import annotations

import itertools
import math
from datetime import timedelta

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from feedback.models import Category, Inquiry, InquiryScore, Project, ScoreCell
from feedback.services import NewInquiry, fold_scores, record_inquiry
from feedback.totals import Totals, nps, nps_interval, wilson
from tests.conftest import make_key, make_person

counts = st.integers(0, 200)


@pytest.mark.parametrize(("n", "share"), [(20, (0.5, 0.3)), (40, (0.9, 0.02)), (60, (0.2, 0.5)), (30, (0.05, 0.05))])
def test_the_interval_of_the_nps_covers_the_truth_as_often_as_it_says(n, share):
    """Exact coverage: the probability of every possible sample whose interval holds the true NPS."""
    p, d = share
    covered = 0.0
    for promoters, detractors in itertools.product(range(n + 1), repeat=2):
        passives = n - promoters - detractors
        if passives < 0:
            continue
        interval = nps_interval(promoters, passives, detractors)
        if interval.low <= 100 * (p - d) <= interval.high:
            ways = math.comb(n, promoters) * math.comb(n - promoters, detractors)
            covered += ways * p**promoters * d**detractors * (1 - p - d) ** passives
    assert 0.93 <= covered <= 0.995


@given(promoters=counts, passives=counts, detractors=counts)
def test_intervals_hold_their_figure_and_stay_in_range(promoters, passives, detractors):
    value = nps(promoters, passives, detractors)
    interval = nps_interval(promoters, passives, detractors)
    assert -100 <= interval.low <= interval.high <= 100
    if value is not None and promoters and detractors:
        assert interval.low <= value <= interval.high


@given(n=st.integers(1, 500), data=st.data())
def test_wilsons_interval_solves_its_equation(n, data):
    """Its ends are those shares p at which |p̂ − p| = z·√(p(1 − p)/n) (Wilson 1927)."""
    hits = data.draw(st.integers(0, n))
    interval, z = wilson(hits, n), 1.959963984540054
    for end in (interval.low, interval.high):
        assert abs(hits / n - end) == pytest.approx(z * math.sqrt(end * (1 - end) / n), abs=1e-6)


@given(
    st.lists(st.integers(-(10**12), 10**12), min_size=14, max_size=14),
    st.lists(st.integers(0, 9), min_size=14, max_size=14),
)
def test_what_is_added_and_taken_away_leaves_nothing(a, b):
    assert Totals(*a).plus(Totals(*b)).minus(Totals(*b)) == Totals(*a)


@pytest.fixture
def told(client, key):
    def ask(path: str, **query):
        return client.get(f"/api/v1/{path}", query, headers={"Authorization": f"Api-Key {key}"})

    return ask


@pytest.fixture
def desk(project, post):
    """Three inquiries of two categories and two versions, one of yesterday, with events."""
    for number, (category, model) in enumerate([("refund", "v1"), ("refund", "v2"), ("delivery", "v2")]):
        new = NewInquiry(text=f"Inquiry {number}?", request_sha=b"0" * 32, external_id=f"order-{number}")
        record_inquiry(
            project_id=project.pk, app_id=None, new=new, status="waiting", reply_id=None, model=model,
            category_id=Category.objects.get(project=project, key=category).pk,
        )  # fmt: skip
    Inquiry.objects.filter(external_id="order-2").update(received_at=timezone.now() - timedelta(days=1))
    events = [
        {"inquiry": "order-0", "type": "click"}, {"inquiry": "order-0", "type": "nps", "value": 10},
        {"inquiry": "order-1", "type": "impression"}, {"inquiry": "order-1", "type": "nps", "value": 3},
        {"inquiry": "order-1", "type": "thumbs", "value": "down"}, {"inquiry": "order-2", "type": "dwell", "value": 20},
    ]  # fmt: skip
    assert post("feedback", events).status_code == 201
    return project


@pytest.mark.django_db
class TestScoresApi:
    def test_figures_of_categories_come_with_exposure_and_intervals(self, told, desk):
        answer = told("scores", by="category").json()
        rows = {r["category"]: r for r in answer["scores"]}
        assert answer["pending"] == 0
        refund = rows["refund"]
        assert (refund["ctr"]["clicks"], refund["ctr"]["exposures"], refund["ctr"]["value"]) == (1, 2, 0.5)
        assert refund["nps"]["value"] == 0.0
        assert refund["nps"]["interval"]["low"] < 0 < refund["nps"]["interval"]["high"]
        assert refund["implicit"] == {"mean": pytest.approx(0.2), "n": 2}
        assert refund["thumbs"]["down"] == 1
        assert rows["delivery"]["implicit"]["mean"] == pytest.approx(0.4 * (1 - math.exp(-1)))

    def test_figures_of_versions_replies_and_days(self, told, desk):
        assert {r["model"]: r["inquiries"] for r in told("scores", by="model").json()["scores"]} == {"v1": 1, "v2": 2}
        assert [r["reply"] for r in told("scores", by="reply").json()["scores"]] == [None]
        days = told("scores", by="day").json()["scores"]
        assert [d["inquiries"] for d in days] == [1, 2]
        today = timezone.now().date().isoformat()
        assert [d["day"] for d in told("scores", by="day", **{"from": today}).json()["scores"]] == [today]

    @pytest.mark.parametrize("by", ["inquiry", "category", "model", "day"])
    def test_pages_hold_every_row_once(self, told, desk, by):
        whole = told("scores", by=by).json()["scores"]
        found, after = [], {}
        while True:
            page = told("scores", by=by, limit=1, **after).json()
            found += page["scores"]
            if page["next"] is None:
                break
            after = {"after": page["next"]}
        assert found == whole

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ({}, "by"), ({"by": "colour"}, "by"), ({"by": "day", "from": "yesterday"}, "from"), ({"by": "day", "limit": "0"}, "limit"),
            ({"by": "day", "limit": "x"}, "limit"), ({"by": "inquiry", "after": "x"}, "after"), ({"by": "reply", "after": "x"}, "after"),
        ],
    )  # fmt: skip
    def test_a_bad_question_is_refused_naming_the_field(self, told, desk, query, field):
        answer = told("scores", **query)
        assert (answer.status_code, answer.json()["field"]) == (422, field)

    def test_another_project_sees_none_of_it(self, client, desk, other_project):
        headers = {"Authorization": f"Api-Key {make_key(other_project)}"}
        assert client.get("/api/v1/scores", {"by": "category"}, headers=headers).json()["scores"] == []

    def test_a_preview_says_what_would_change_and_changes_nothing(self, post, desk):
        assert fold_scores(project_id=desk.pk)
        before = list(InquiryScore.objects.order_by("pk").values()), list(ScoreCell.objects.order_by("pk").values())
        answer = post("scores/preview", {"click_weight": 0.9}).json()
        assert answer["implicit"]["then"] - answer["implicit"]["now"] == pytest.approx(0.5 / 3)
        assert (answer["implicit"]["changed"], answer["explicit"]["changed"]) == (1, 0)
        assert (answer["inquiries"], answer["all"]) == (3, True)
        after = list(InquiryScore.objects.order_by("pk").values()), list(ScoreCell.objects.order_by("pk").values())
        assert after == before
        assert Project.objects.get(pk=desk.pk).click_weight == 0.4

    @pytest.mark.parametrize(
        ("body", "field"),
        [({"click_weight": 2}, "click_weight"), ({"colour": 1}, "colour"), ({"dwell_rate": 0}, "dwell_rate"),
         ({"dwell_curve": "cubic"}, "dwell_curve"), ({"nps_weight": "many"}, "nps_weight")],
    )  # fmt: skip
    def test_bad_weights_are_refused_naming_the_field(self, post, desk, body, field):
        answer = post("scores/preview", body)
        assert (answer.status_code, answer.json()["field"]) == (422, field)

    def test_an_admin_changes_the_weights_and_an_annotator_does_not(self, client, desk):
        for role, status in (("annotator", 403), ("admin", 200)):
            client.force_login(make_person(desk, f"person-{role}", role))
            answer = client.patch(
                "/api/v1/scores/weights?project=shop", {"click_weight": 1.0}, content_type="application/json"
            )
            assert answer.status_code == status
        assert fold_scores(project_id=desk.pk)
        assert InquiryScore.objects.get(inquiry__external_id="order-0").implicit == pytest.approx(1.0)
