from __future__ import annotations

import doctest
import heapq
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling import staffing


def test_the_worked_examples_hold():
    assert doctest.testmod(staffing).failed == 0


@given(st.floats(0, 5000), st.floats(1, 600), st.integers(0, 100_000), st.floats(0.5, 48), st.integers(0, 50))
def test_those_who_also_clear_a_backlog_are_never_fewer(per_hour, seconds, backlog, hours, present):
    advice = staffing.advise(
        arrivals_per_hour=per_hour, handling_seconds=seconds, backlog=backlog, clear_hours=hours, present=present
    )
    assert advice.needed >= advice.steady >= advice.busy
    assert (advice.waits_seconds is None) == (backlog > 0 and present == 0)


def test_the_advice_keeps_a_simulated_queue_short_and_one_person_fewer_than_busy_does_not():
    """An oracle of its own: customers drawn at random, served by as many people as advised."""
    advice = staffing.advise(arrivals_per_hour=400, handling_seconds=30, backlog=0)
    assert advice.busy == pytest.approx(10 / 3)
    assert _mean_wait(advice.steady) < 60
    assert _mean_wait(int(advice.busy)) > 600


def _mean_wait(people: int) -> float:
    rng, free, clock, waited = random.Random(5), [0.0] * people, 0.0, 0.0
    for _ in range(20_000):
        clock += rng.expovariate(400 / 3600)
        begins = max(clock, heapq.heappop(free))
        waited += begins - clock
        heapq.heappush(free, begins + rng.expovariate(1 / 30))
    return waited / 20_000


@pytest.mark.parametrize("wrong", [{"arrivals_per_hour": -1}, {"clear_hours": 0}, {"utilisation": 0}, {"backlog": -1}])
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="not negative"):
        staffing.advise(**{"arrivals_per_hour": 1, "handling_seconds": 30, "backlog": 0} | wrong)
