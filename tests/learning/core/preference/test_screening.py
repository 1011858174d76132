"""Screening: hostile voters weigh little, honest ones keep their say, and every decision can be read and undone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from learning.core.preference.evidence import Flags, Floats, Votes
from learning.core.preference.screening import Screening, ScreeningConfig, screen
from tests.learning.core.preference.worlds import Town, expected_showings, town, true_approval


def screened(place: Town, config: ScreeningConfig | None = None, votes: Votes | None = None) -> Screening:
    """Screened against the truth as consensus: what the fitted one does is tested in test_training."""
    evidence = place.evidence if votes is None else replace(place.evidence, votes=votes)
    truth = true_approval(place)

    def consensus(_: Votes, __: Floats) -> Floats:
        return truth

    return screen(evidence.votes, expected_showings(evidence), consensus, evidence.pool, config or ScreeningConfig())


@pytest.mark.parametrize(("attack", "per_bot"), [("flip", 30), ("coin", 50), ("campaign", 30), ("campaign", 1)])
def test_hostile_votes_lose_most_of_their_weight_and_honest_ones_hardly_any(attack: str, per_bot: int) -> None:
    place = town(bots=500, attack=attack, per_bot=per_bot)
    found = screened(place)
    assert found.weights[place.hostile].mean() < 0.25
    assert (1 - found.weights[~place.hostile]).mean() < 0.02


def test_honest_votes_alone_are_kept() -> None:
    found = screened(town(honest=1500))
    assert found.lost < 0.02
    assert found.too_dirty is None


def test_each_hostile_voter_comes_with_a_reason() -> None:
    place = town(bots=300)
    reasons = screened(place).reasons()
    hostile = set(place.evidence.votes.voter[place.hostile].tolist())
    assert hostile <= reasons.keys()
    assert all("against what other voters say" in reasons[v] for v in hostile)
    assert len(reasons.keys() - hostile) <= 2


def test_a_pardoned_voter_is_believed_again() -> None:
    place = town(bots=300)
    voter = int(place.evidence.votes.voter[place.hostile][0])
    rows = place.evidence.votes.voter == voter
    assert screened(place).weights[rows].max() < 0.1
    pardoned = screened(place, ScreeningConfig(pardoned=frozenset({voter})))
    assert (pardoned.weights[rows] == 1).all()


def test_the_votes_of_the_projects_own_agents_are_never_weighed_down() -> None:
    place = town(bots=300)
    votes = replace(place.evidence.votes, trusted=place.hostile)
    assert (screened(place, votes=votes).weights[place.hostile] == 1).all()


def test_accounts_behind_one_network_are_judged_together() -> None:
    place = town(bots=300, per_bot=1)
    votes = place.evidence.votes
    network: Flags | np.ndarray = np.where(place.hostile, 0, 1 + votes.voter)
    alone = screened(place).weights[place.hostile].mean()
    together = screened(place, votes=replace(votes, network=network)).weights[place.hostile].mean()
    assert together < 0.05 < alone


def test_what_screening_takes_from_each_group_is_reported() -> None:
    place = town(bots=300)
    found = screened(place)
    group = np.where(place.hostile, "bots", "people")
    dropped = found.dropped(group)
    assert dropped["bots"] > 0.9
    assert dropped["people"] == pytest.approx(1 - found.weights[~place.hostile].mean())
    assert found.lost == pytest.approx(1 - found.weights.mean())


def test_evidence_that_is_mostly_hostile_is_called_too_dirty() -> None:
    place = town(honest=600, bots=700, attack="coin", per_bot=70)
    assert "look hostile" in str(screened(place).too_dirty)


def test_too_few_votes_are_called_too_few() -> None:
    assert "Only 16 votes" in str(screened(town(honest=16)).too_dirty)
