from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from serving.breaker import Breaker, Circuit, LeftAlone, Rules

RULES = Rules(threshold=3, first=1.0, longest=8.0, patience=5.0)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock) -> Breaker:
    breaker = Breaker(RULES, clock)
    for _ in range(RULES.threshold):
        fail(breaker)
    return breaker


def fail(breaker: Breaker) -> None:
    with pytest.raises(ValueError, match="broken"), breaker.call():
        raise ValueError("broken")


def test_failures_in_a_row_open_it_and_nothing_goes_through():
    breaker = opened(Clock())
    with pytest.raises(LeftAlone), breaker.call():
        raise AssertionError("must not be reached")


def test_a_success_between_failures_keeps_it_closed():
    breaker = Breaker(RULES, Clock())
    for _ in range(10):
        fail(breaker)
        fail(breaker)
        with breaker.call():
            pass
    assert breaker.state == "closed"


def test_a_trial_that_succeeds_closes_it_and_one_that_fails_opens_it_for_twice_as_long():
    clock = Clock()
    breaker = opened(clock)
    clock.now = 1.0
    fail(breaker)
    clock.now = 2.9
    with pytest.raises(LeftAlone), breaker.call():
        pass
    clock.now = 3.0
    with breaker.call():
        pass
    assert breaker.state == "closed"


def test_only_one_trial_goes_through_at_a_time_and_a_lost_one_gives_way():
    clock = Clock()
    breaker = opened(clock)
    clock.now = 1.0
    with breaker.call():  # the trial is under way
        assert breaker.state == "half_open"
        with pytest.raises(LeftAlone), breaker.call():
            pass
        clock.now += RULES.patience
        with breaker.call():
            pass
    assert breaker.state == "closed"


def test_a_call_beyond_its_budget_counts_as_a_failure_and_its_result_is_kept():
    clock = Clock()
    breaker = Breaker(RULES, clock)
    for _ in range(RULES.threshold):
        with breaker.call(budget=0.1):
            clock.now += 0.2
    assert breaker.state == "open"


def test_a_call_from_before_it_opened_does_not_close_it():
    clock = Clock()
    breaker = Breaker(RULES, clock)
    with breaker.call():
        for _ in range(RULES.threshold):
            fail(breaker)
    assert breaker.state == "open"


def test_threads_that_ask_together_get_one_trial():
    clock = Clock()
    breaker = opened(clock)
    clock.now = 1.0
    through, gate = [], threading.Barrier(6)

    def ask() -> None:
        gate.wait()
        try:
            with breaker.call():
                through.append(1)
                gate.wait(5)
        except LeftAlone:
            gate.wait(5)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(through) == 1


@given(n=st.integers(0, 10_000))
def test_waits_double_up_to_the_longest(n):
    assert RULES.wait(n) == min(2.0 ** min(n, 100), RULES.longest)


class Walk(RuleBasedStateMachine):
    """Any order of asking, succeeding, failing and waiting, against the definition."""

    def __init__(self) -> None:
        super().__init__()
        self.circuit, self.now, self.in_a_row, self.through = Circuit(), 0.0, 0, False

    @rule()
    def ask(self) -> None:
        before = self.circuit
        self.circuit, self.through = before.asked(RULES, self.now)
        assert self.through == (before.state == "closed" or self.now >= before.until)

    @precondition(lambda self: self.through)
    @rule()
    def succeed(self) -> None:
        self.circuit, self.through, self.in_a_row = self.circuit.succeeded(), False, 0
        assert self.circuit == Circuit()

    @precondition(lambda self: self.through)
    @rule()
    def fail(self) -> None:
        trial, before = self.circuit.state == "half_open", self.circuit
        self.circuit, self.through, self.in_a_row = self.circuit.failed(RULES, self.now), False, self.in_a_row + 1
        assert (self.circuit.state == "open") == (trial or self.in_a_row >= RULES.threshold)
        if self.circuit.state == "open":
            assert self.circuit.until == self.now + RULES.wait(before.openings)

    @rule(seconds=st.floats(0, 20))
    def wait(self, seconds: float) -> None:
        if not self.through:
            self.now += seconds

    @invariant()
    def nothing_waits_longer_than_the_longest(self) -> None:
        assert self.circuit.until <= self.now + max(RULES.longest, RULES.patience)


TestWalk = Walk.TestCase
TestWalk.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
