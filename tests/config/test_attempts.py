"""Sign-in attempts are limited, with Redis and without it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.test import Client

from config import attempts
from feedback.models import User

pytestmark = pytest.mark.servers


@pytest.fixture(params=["redis", "without redis"])
def address(request: pytest.FixtureRequest, settings: object) -> str:
    """An address that nobody has used yet, with the counts in Redis or in this process."""
    if request.param == "without redis":
        settings.REDIS_URL = f"unix:///nowhere/{uuid.uuid4().hex}.sock"  # type: ignore[attr-defined]
    return f"test-{uuid.uuid4()}"


def tries(address: str, n: int, account: str = "annotator") -> list[int | None]:
    return [attempts.begin(account=account, address=address) for _ in range(n)]


def test_it_stops_after_the_allowed_number_and_says_for_how_long(address: str) -> None:
    *allowed, refused = tries(address, attempts.PER_ACCOUNT + 1)
    assert set(allowed) == {None}
    assert refused is not None
    assert 0 < refused <= attempts.WINDOW_SECONDS


def test_it_does_not_lock_the_account_for_another_address(address: str) -> None:
    tries(address, attempts.PER_ACCOUNT + 1)
    assert attempts.begin(account="annotator", address=address + "-elsewhere") is None


def test_it_counts_spellings_of_one_account_together(address: str) -> None:
    tries(address, attempts.PER_ACCOUNT, "Annotator ")
    assert attempts.begin(account="annotator", address=address) is not None


def test_it_limits_an_address_that_tries_many_accounts(address: str) -> None:
    results = [attempts.begin(account=f"account-{i}", address=address) for i in range(attempts.PER_ADDRESS + 1)]
    assert results[-1] is not None
    assert set(results[:-1]) == {None}


def test_it_starts_again_after_the_right_password(address: str) -> None:
    tries(address, attempts.PER_ACCOUNT)
    attempts.succeeded(account="annotator", address=address)
    assert attempts.begin(account="annotator", address=address) is None


def test_it_counts_attempts_that_come_at_once(address: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: attempts.begin(account="annotator", address=address), range(40)))
    assert results.count(None) == attempts.PER_ACCOUNT


def test_the_local_counts_start_again_after_the_window() -> None:
    now = [time.monotonic()]
    counts = attempts.LocalCounts(clock=lambda: now[0])
    assert [counts.add("k")[0] for _ in range(3)] == [1, 2, 3]
    now[0] += attempts.WINDOW_SECONDS + 1
    assert counts.add("k") == (1, attempts.WINDOW_SECONDS)


def test_the_local_counts_stay_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "MAX_LOCAL", 5)
    counts = attempts.LocalCounts()
    for i in range(50):
        counts.add(str(i))
    assert len(counts._counts) == 5


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["annotator", "no-such-account"])
def test_the_page_answers_429_whether_or_not_the_account_exists(
    name: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "_add", attempts.LocalCounts().add)
    User.objects.create_user("annotator", password="correct horse battery")
    post: Callable[[str], int] = lambda p: client.post("/sign-in", {"username": name, "password": p}).status_code  # noqa: E731
    assert {post("wrong") for _ in range(attempts.PER_ACCOUNT)} == {422}
    assert post("correct horse battery") == 429
    assert "_auth_user_id" not in client.session
