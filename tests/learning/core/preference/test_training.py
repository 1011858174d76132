"""The whole path from raw votes to a policy or the reference, with the consensus that it fits itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from learning.core.preference.learners import learn
from learning.core.preference.training import TrainingConfig, proof, screen_evidence, train_reply_policy
from tests.learning.core.preference.worlds import town


@pytest.mark.parametrize(("attack", "per_bot"), [("flip", 30), ("campaign", 30), ("campaign", 1)])
def test_under_attack_it_comes_close_to_knowing_who_is_hostile(attack: str, per_bot: int) -> None:
    place = town(honest=2400, bots=1000, attack=attack, per_bot=per_bot)
    outcome = train_reply_policy(place.evidence)
    truth = (~place.hostile).astype(float)
    oracle = place.regret(learn("channel", replace(place.evidence, weights=truth)))
    assert outcome.fallback is None
    assert place.regret(outcome.policy) <= oracle + 0.03
    assert (1 - outcome.screening.weights[~place.hostile]).mean() < 0.02


def test_its_gain_is_measured_on_voters_it_has_not_seen() -> None:
    outcome = train_reply_policy(town(honest=2400).evidence)
    assert outcome.gain is not None
    assert 0 < outcome.gain.low < outcome.gain.value < outcome.gain.high


def test_votes_that_say_nothing_leave_the_reference_in_service_with_a_reason() -> None:
    place = town(honest=1500)
    noise = (np.random.default_rng(0).random(1500) < 0.5).astype(float)
    evidence = replace(place.evidence, votes=replace(place.evidence.votes, up=noise))
    outcome = train_reply_policy(evidence)
    assert outcome.policy is evidence.reference
    assert outcome.fallback


def test_evidence_that_is_too_dirty_leaves_the_reference_in_service() -> None:
    place = town(honest=20)
    outcome = train_reply_policy(place.evidence)
    assert outcome.policy is place.evidence.reference
    assert "votes' worth of evidence" in str(outcome.fallback)


def test_a_single_voter_cannot_put_a_policy_to_the_proof() -> None:
    place = town(honest=200)
    alone = replace(place.evidence.votes, voter=np.zeros(200, dtype=int))
    assert proof(replace(place.evidence, votes=alone), TrainingConfig()) is None


def test_weights_known_beforehand_are_kept() -> None:
    place = town(honest=1200, bots=600)
    ignored = replace(place.evidence, weights=(~place.hostile).astype(float))
    outcome = train_reply_policy(ignored)
    clean = place.regret(learn("channel", ignored))
    assert place.regret(outcome.policy) == pytest.approx(clean, abs=0.03)


def test_screening_is_the_same_for_the_same_votes() -> None:
    evidence = town(honest=600, bots=200).evidence
    first, second = (screen_evidence(evidence, TrainingConfig()) for _ in range(2))
    assert np.array_equal(first.weights, second.weights)
