"""Token buckets: in a real Redis, without it, and while it is killed and comes back."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from feedback import limits
from feedback.limits import Bucket, Limiter, LocalBuckets
from feedback.models import Event, Project
from tests.conftest import make_key
from tests.redis_server import Server

pytestmark = pytest.mark.servers


@pytest.fixture
def name() -> str:
    return f"test:{uuid.uuid4()}"


def granted(limiter: Limiter | LocalBuckets, bucket: Bucket, n: int, cost: float = 1.0) -> int:
    return sum(limiter.take([bucket], cost).wait == 0 for _ in range(n))


@pytest.fixture(params=["redis", "local"])
def buckets(request: pytest.FixtureRequest) -> Limiter | LocalBuckets:
    return Limiter(settings.REDIS_URL) if request.param == "redis" else LocalBuckets()


SLOW = 1e-6  # so slow an inflow that no clock of a test adds a unit


def test_a_bucket_grants_what_it_holds_and_then_says_how_long_to_wait(buckets: Any, name: str) -> None:
    bucket = Bucket(name, SLOW, 50)
    assert granted(buckets, bucket, 60) == 50
    verdict = buckets.take([bucket], 2)
    assert verdict.wait == pytest.approx(2 / SLOW, rel=1e-3)


def test_a_refusal_takes_nothing(buckets: Any, name: str) -> None:
    bucket = Bucket(name, SLOW, 5)
    assert granted(buckets, bucket, 3, cost=3) == 1
    assert granted(buckets, bucket, 3) == 2


def test_a_cost_above_the_size_takes_the_whole_bucket(buckets: Any, name: str) -> None:
    bucket = Bucket(name, SLOW, 5)
    assert granted(buckets, bucket, 2, cost=500) == 1
    assert granted(buckets, bucket, 1) == 0


def test_of_two_buckets_both_pay_or_none(buckets: Any, name: str) -> None:
    wide, narrow = Bucket(f"{{{name}}}:w", SLOW, 10), Bucket(f"{{{name}}}:n", SLOW, 2)
    results = [buckets.take([wide, narrow], 1).wait == 0 for _ in range(6)]
    assert results.count(True) == 2
    assert granted(buckets, wide, 20) == 8


@given(
    steps=st.lists(st.tuples(st.floats(0, 30), st.floats(0.1, 20)), min_size=1, max_size=40),
    rate=st.floats(0.1, 10),
    size=st.integers(1, 30),
)
def test_no_more_is_granted_than_the_bucket_held_and_what_flowed_in(
    steps: list[tuple[float, float]], rate: float, size: int
) -> None:
    now = [0.0]
    local, bucket, spent = LocalBuckets(clock=lambda: now[0]), Bucket("b", rate, size), 0.0
    for pause, cost in steps:
        now[0] += pause
        verdict = local.take([bucket], cost)
        if verdict.wait == 0:
            spent += min(cost, size)
        assert -1e-9 <= verdict.level <= size
        assert spent <= size + rate * now[0] + 1e-6


def test_units_flow_in_with_the_servers_clock(name: str) -> None:
    bucket, limiter = Bucket(name, 1e9, 5), Limiter(settings.REDIS_URL)
    assert granted(limiter, bucket, 100) == 100


def test_many_processes_at_once_are_granted_no_more_than_one_bucket(name: str) -> None:
    bucket = Bucket(name, SLOW, 640)
    processes = [Limiter(settings.REDIS_URL) for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda i: processes[i % 4].take([bucket], 1).wait == 0, range(2000)))
    # What a process drew ahead and did not spend is lost to the caller, never granted twice.
    assert 640 * (1 - 4 * limits.AHEAD_SHARE) <= results.count(True) <= 640


def test_a_busy_caller_costs_few_round_trips(name: str) -> None:
    bucket, limiter = Bucket(name, 1000, 60_000), Limiter(settings.REDIS_URL)
    before = commands()
    assert granted(limiter, bucket, 3000) == 3000
    assert commands() - before < 300


def test_a_seldom_caller_is_counted_exactly(name: str) -> None:
    bucket, now = Bucket(name, SLOW, 1000), [0.0]
    limiter = Limiter(settings.REDIS_URL, clock=lambda: now[0])
    for _ in range(20):
        now[0] += 2 * limits.AHEAD_SECONDS
        limiter.take([bucket], 1)
    assert float(server().hget(f"enso:limit:{name}", "level")) == pytest.approx(980, abs=0.01)


def test_a_bucket_that_nobody_uses_leaves_redis(name: str) -> None:
    Limiter(settings.REDIS_URL).take([Bucket(name, 1, 60)], 30)
    assert 0 < server().pttl(f"enso:limit:{name}") <= 32_000


def server() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL)


def commands() -> int:
    return int(server().info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0))


def test_the_local_buckets_stay_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_LOCAL", 5)
    local = LocalBuckets()
    for i in range(50):
        local.take([Bucket(str(i), 1, 10)], 1)
    assert len(local._kept) == 5


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Server]:
    with Server() as started:
        yield started


def test_a_killed_redis_leaves_limits_in_place_and_they_are_shared_again_when_it_is_back(
    own_redis: Server, name: str
) -> None:
    now = [0.0]
    limiter, bucket = Limiter(own_redis.url, clock=lambda: now[0]), Bucket(name, SLOW, 100)
    assert granted(limiter, bucket, 60) == 60
    own_redis.kill()
    now[0] += 2 * limits.AHEAD_SECONDS  # nothing is left of what was drawn ahead
    # The local bucket starts where the shared one was last seen, not full.
    assert 36 <= granted(limiter, bucket, 100) <= 40
    own_redis.start()
    assert limiter.take([bucket], 1).wait > 0, "Redis is left alone for a moment"
    now[0] += 2 * limits.AWAY_SECONDS
    assert granted(limiter, bucket, 200) == 100, "the restarted Redis was empty: a fresh bucket, shared again"


def test_while_redis_is_away_requests_do_not_wait_for_it(own_redis: Server, name: str) -> None:
    limiter, asked = Limiter(own_redis.url, clock=lambda: 0.0), []
    own_redis.kill()
    script = limiter._script
    limiter._script = lambda *a, **k: asked.append(1) or script(*a, **k)  # type: ignore[assignment]
    granted(limiter, Bucket(name, SLOW, 10), 50)
    assert len(asked) == 1


def test_a_redis_that_hangs_is_given_up_on(own_redis: Server, name: str) -> None:
    own_redis.freeze()
    try:
        assert granted(Limiter(own_redis.url), Bucket(name, SLOW, 10), 12) == 10
    finally:
        own_redis.thaw()


# --- at the edge ---------------------------------------------------------------------------------------------------


@pytest.fixture
def tight(project: Project) -> Project:
    Project.objects.filter(pk=project.pk).update(limit_per_minute=1, limit_burst=3)
    return project


@pytest.mark.django_db
def test_answers_say_what_is_left(post: Any, tight: Project) -> None:
    answer = post("feedback", {"inquiry": "x", "type": "click"}, secret=make_key(tight))
    assert answer["RateLimit-Limit"] == "3"
    assert answer["RateLimit-Remaining"] == "2"
    assert 0 < int(answer["RateLimit-Reset"]) <= 60
    assert answer["RateLimit-Policy"] == '"units";q=3;w=180'
    assert answer["RateLimit"].startswith('"units";r=2;t=')


@pytest.mark.django_db
def test_the_next_request_after_the_last_unit_is_refused_as_a_problem_and_stores_nothing(
    post: Any, tight: Project
) -> None:
    secret = make_key(tight)
    answers = [post("feedback", {"inquiry": "x", "type": "click"}, secret=secret) for _ in range(4)]
    assert [a.status_code for a in answers] == [201, 201, 201, 429]
    last = answers[-1]
    assert last["Content-Type"] == "application/problem+json"
    assert 0 < int(last["Retry-After"]) <= 60
    assert last["RateLimit-Remaining"] == "0"
    assert Event.objects.count() == 3


@pytest.mark.django_db
def test_a_batch_costs_its_share(post: Any, tight: Project) -> None:
    events = [{"inquiry": "x", "type": "click"}] * 11
    answer = post("feedback", events, secret=make_key(tight))
    assert (answer.status_code, answer["RateLimit-Remaining"]) == (201, "1")


@pytest.mark.django_db
def test_drf_views_are_limited_alike(client: Any, tight: Project) -> None:
    headers = {"Authorization": f"Api-Key {make_key(tight)}"}
    answers = [client.get("/api/v1/models", headers=headers) for _ in range(4)]
    assert [a.status_code for a in answers] == [200, 200, 200, 429]
    assert answers[0]["RateLimit-Remaining"] == "2"
    assert answers[-1]["Content-Type"] == "application/problem+json"
    assert int(answers[-1]["Retry-After"]) > 0


@pytest.mark.django_db
def test_each_key_has_its_own_limit(post: Any, tight: Project) -> None:
    for _ in range(4):
        post("feedback", {"inquiry": "x", "type": "click"}, secret=make_key(tight))
    assert Event.objects.count() == 4


@pytest.mark.django_db
def test_a_project_without_a_limit_has_none(post: Any, tight: Project) -> None:
    Project.objects.update(limit_per_minute=None)
    secret = make_key(tight)
    answers = [post("feedback", {"inquiry": "x", "type": "click"}, secret=secret) for _ in range(5)]
    assert {a.status_code for a in answers} == {201}
    assert "RateLimit-Limit" not in answers[0]


@pytest.mark.django_db
def test_limits_go_on_without_redis(post: Any, tight: Project, settings: Any) -> None:
    settings.REDIS_URL = f"unix:///nowhere/{uuid.uuid4().hex}.sock"
    secret = make_key(tight)
    answers = [post("feedback", {"inquiry": "x", "type": "click"}, secret=secret) for _ in range(4)]
    assert [a.status_code for a in answers] == [201, 201, 201, 429]


@pytest.mark.parametrize(
    ("proxies", "forwarded", "seen"),
    [
        (0, "203.0.113.9", "198.51.100.1"),  # nobody may name an address of their own
        (1, "192.0.2.66, 203.0.113.9", "203.0.113.9"),
        (2, "192.0.2.66, 203.0.113.9", "192.0.2.66"),
        (1, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
    ],
)
def test_the_callers_address_is_what_the_trusted_proxies_saw(
    proxies: int, forwarded: str, seen: str, settings: Any
) -> None:
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": proxies}
    request = RequestFactory().get("/", headers={"X-Forwarded-For": forwarded}, REMOTE_ADDR="198.51.100.1")
    assert limits.client_network(request) == seen
