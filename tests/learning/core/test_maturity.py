from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.core.maturity import LEVELS, maturity, recoveries


def test_a_loop_that_runs_by_itself_has_all_points() -> None:
    found = maturity(automated=(90, 100), gates=(20, 20), deployments=14, recoveries=[0.2, 0.3])
    assert found.score == 100
    assert [a.level for a in found.aspects] == [LEVELS] * 4
    assert found.missing == ()


def test_what_has_not_happened_does_not_count_and_is_named() -> None:
    found = maturity(automated=(50, 100), gates=(0, 0), deployments=None, recoveries=[])
    assert found.score == 75  # automation alone: three of four levels
    assert found.missing == ("gates", "deployments", "recovery")


def test_nothing_measured_is_no_score() -> None:
    assert maturity(automated=(0, 0), gates=(0, 0), deployments=None, recoveries=[]).score is None


def test_versions_without_any_that_went_live_count_as_none() -> None:
    found = maturity(automated=(0, 0), gates=(0, 0), deployments=0, recoveries=[])
    assert found.score == 0


def test_one_long_outage_does_not_rule() -> None:
    found = {
        a.name: a for a in maturity(automated=(0, 0), gates=(0, 0), deployments=1, recoveries=[0.4, 0.4, 60]).aspects
    }
    assert found["recovery"].value == 0.4


@pytest.mark.parametrize(("hits", "level"), [(9, 0), (10, 1), (30, 2), (50, 3), (69, 3), (70, 4)])
def test_a_level_begins_at_its_bound(hits: int, level: int) -> None:
    assert maturity(automated=(hits, 100), gates=(0, 0), deployments=None, recoveries=[]).aspects[0].level == level


def test_alarms_before_the_next_version_are_one_outage() -> None:
    assert recoveries([1.0, 1.4, 6.0], [2.0, 8.0]) == [1.0, 2.0]


def test_an_alarm_that_nothing_followed_has_not_been_recovered_from() -> None:
    assert recoveries([5.0], [1.0, 2.0]) == []


TIMES = st.lists(st.floats(min_value=0, max_value=100), max_size=20)


@given(TIMES, TIMES)
def test_recoveries_are_never_negative_nor_more_than_there_were_deployments(
    alarms: list[float], live: list[float]
) -> None:
    found = recoveries(alarms, live)
    assert all(days >= 0 for days in found)
    assert len(found) <= min(len(alarms), len(live))
