"""The course of a rollout: sticky places, allowed moves, and what follows from a look. Pure."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from serving.rollout import (
    AB_TEST,
    ACTIVE,
    GUARDS,
    STEPWISE,
    WATCHED,
    Course,
    Limits,
    NotAllowed,
    Seen,
    outcome,
    percents,
    place,
    takes_candidate,
)
from serving.sequential import Verdict, simulate

LIMITS = Limits(minimum_per_arm=100, minimum_audited=20, maximum_looks=5)
UNITS = st.text(min_size=1, max_size=40)


def verdict(action: str = "advance") -> Verdict:
    harmful = action == "rollback"
    return Verdict(action, "harm" if harmful else "evidence is in", 25.0 if harmful else 0.5, 0.04, "accuracy", {})


def look(course: Course, *, harm: bool = False, **seen: int) -> tuple[str, dict]:
    full = Seen(**{"customers": 100, "looks": 1, "audited": 20, **seen})
    return outcome(course, LIMITS, verdict("rollback" if harm else "advance"), full)


@settings(max_examples=30, deadline=None)
@given(salt=st.text(min_size=1, max_size=32), unit=UNITS)
def test_a_customer_keeps_the_candidate_when_the_share_grows(salt, unit):
    given_it = [takes_candidate(salt, unit, percent) for percent in STEPWISE]
    assert given_it == sorted(given_it)
    assert (given_it[0], given_it[-1]) == (False, True)


@settings(max_examples=30, deadline=None)
@given(salt=st.text(min_size=1, max_size=32), unit=UNITS)
def test_a_customer_stands_in_one_place(salt, unit):
    assert place(salt, unit) == place(salt, unit)
    assert 0 <= place(salt, unit) < 1


@pytest.mark.parametrize("percent", [1, 5, 25, 50])
def test_each_step_takes_its_share_of_customers(percent):
    n = 20_000
    taken = sum(takes_candidate("salt", f"customer {i}", percent) for i in range(n))
    share = percent / 100
    assert abs(taken / n - share) < 4.5 * math.sqrt(share * (1 - share) / n)


def test_another_rollout_chooses_other_customers():
    first, second = ({i for i in range(4_000) if takes_candidate(salt, f"customer {i}", 50)} for salt in ("one", "two"))
    assert 0.4 < len(first & second) / len(first) < 0.6


def test_evidence_takes_a_candidate_from_the_shadow_to_everybody():
    course, walked = Course(STEPWISE), []
    while course.state == "running":
        walked.append(course.percent)
        assert look(course)[0] == "advance"
        course = course.advanced()
    assert walked == [0, 1, 5, 25, 50]
    assert (course.state, course.percent) == ("completed", 100)


def test_harm_rolls_back_at_every_step_also_while_a_person_holds():
    for step in range(len(STEPWISE) - 1):
        for course in (Course(STEPWISE, step), Course(STEPWISE, step).held()):
            action, reason = look(course, harm=True, customers=0, audited=0)
            assert (action, reason["code"], reason["metric"]) == ("rollback", "harm", "accuracy")
            assert course.rolled_back().percent == 0


def test_a_step_without_evidence_holds_and_says_what_is_missing():
    action, reason = look(Course(STEPWISE, 1), customers=12)
    assert (action, reason["code"]) == ("hold", "wait")
    assert reason["lacks"] == [{"code": "customers", "seen": 12, "needed": 100}]


def test_a_step_that_waited_too_long_says_so_and_still_does_not_go_on():
    action, reason = look(Course(STEPWISE, 1), customers=12, looks=5)
    assert (action, reason["code"]) == ("hold", "late")


def test_nobody_is_promoted_without_audited_answers():
    assert look(Course(STEPWISE, 3), audited=0)[0] == "advance"
    action, reason = look(Course(STEPWISE, 4), audited=19)
    assert action == "hold"
    assert reason["lacks"] == [{"code": "audited", "seen": 19, "needed": 20}]


def test_a_candidate_that_answers_much_otherwise_leaves_the_shadow_by_a_person_only():
    assert look(Course(STEPWISE), differing=25, mirrored=100)[0] == "advance"
    action, reason = look(Course(STEPWISE), differing=26, mirrored=100)
    assert action == "hold"
    assert reason["lacks"] == [{"code": "differs", "seen": 26, "of": 100}]
    assert look(Course(STEPWISE, 1), differing=26, mirrored=100)[0] == "advance"


def test_a_held_rollout_does_not_go_on_by_itself():
    assert look(Course(STEPWISE, 2).held())[0] == "hold"


def test_an_ab_test_gives_half_of_the_customers_the_candidate_at_once():
    assert Course(AB_TEST).percent == 50
    assert Course(AB_TEST).advanced().state == "completed"


@pytest.mark.parametrize("plan", [(), (100,), (0, 50), (50, 25, 100), (0, 0, 100), (-1, 100)])
def test_a_plan_that_does_not_rise_to_everybody_is_refused(plan):
    with pytest.raises(ValueError, match="rises to 100"):
        percents(plan)


class Rollouts(RuleBasedStateMachine):
    """Whatever people and looks do in whatever order: shares only rise, an end is an end, harm always ends."""

    def __init__(self) -> None:
        super().__init__()
        self.course = Course(STEPWISE)
        self.harmed = self.stopped = False
        self.shown: list[int] = [0]

    def _try(self, move: str) -> None:
        before = self.course
        try:
            self.course = getattr(before, move)()
        except NotAllowed:
            self.course = before

    @rule(harm=st.booleans(), customers=st.integers(0, 200), audited=st.integers(0, 40), looks=st.integers(1, 9))
    def look(self, harm, customers, audited, looks):
        if self.course.state not in ACTIVE:
            return
        before = self.course
        action, reason = look(before, harm=harm, customers=customers, audited=audited, looks=looks)
        self.course = {"advance": before.advanced, "rollback": before.rolled_back, "hold": lambda: before}[action]()
        assert reason["code"]
        if harm:
            assert self.course.state == "rolled_back"
        elif before.state == "held" or customers < LIMITS.minimum_per_arm:
            assert self.course == before

    @rule(move=st.sampled_from(["advanced", "held", "resumed", "aborted", "rolled_back"]))
    def by_hand(self, move):
        self._try(move)

    @precondition(lambda self: self.course.state not in ACTIVE)
    @rule(move=st.sampled_from(["advanced", "held", "resumed", "aborted", "rolled_back"]))
    def after_the_end_nothing_moves(self, move):
        with pytest.raises(NotAllowed):
            getattr(self.course, move)()

    @invariant()
    def shares_rise_until_it_ends(self):
        if self.course.state in ("rolled_back", "aborted"):
            assert self.course.percent == 0
        else:
            assert self.course.percent >= self.shown[-1]
            assert self.course.percent in STEPWISE
            assert (self.course.percent == 100) == (self.course.state == "completed")
            self.shown.append(self.course.percent)


Rollouts.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestRollouts = Rollouts.TestCase


def test_the_watched_figures_stop_a_harmless_candidate_in_at_most_five_percent_of_months():
    quiet = simulate(WATCHED, per_arm=200, looks=30, runs=800, rng=np.random.default_rng(11))
    assert quiet.rollback_share <= 0.05


def test_the_watched_figures_stop_a_drop_of_five_points_within_a_week():
    rng = np.random.default_rng(12)
    drop = simulate(WATCHED, per_arm=200, looks=30, runs=400, rng=rng, harm={"accuracy": 0.05})
    assert drop.median_day <= 7


def test_what_is_looked_at_all_the_time_is_watched():
    assert {m.name for m in WATCHED} >= GUARDS
