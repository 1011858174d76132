"""Every learner moves the reference towards what people liked, and is a policy that can be exported."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from learning.core.preference.learners import DEFAULT, LEARNERS, Evidence, LearnerConfig, learn
from learning.core.preference.pairs import pairs_from_replacements
from learning.core.preference.policy import export_policy
from tests.learning.core.preference.worlds import Town, town

QUICK = LearnerConfig(iterations=25, rlhf_rounds=30)


@pytest.fixture(scope="module")
def place() -> Town:
    return town(honest=2500, inquiries=300)


@pytest.mark.parametrize("name", list(LEARNERS))
def test_every_learner_sends_better_replies_than_the_reference(name: str, place: Town) -> None:
    policy = learn(name, place.evidence, QUICK)
    assert place.regret(policy) < place.regret(place.evidence.reference)
    assert export_policy(policy, check_on=place.evidence.pool)[1] <= 1e-5


@pytest.mark.parametrize("name", ["dpo", "kto", "ips"])
def test_an_mlp_policy_learns_and_is_exported_too(name: str, place: Town) -> None:
    policy = learn(name, place.evidence, replace(QUICK, hidden=16))
    assert policy.hidden is not None
    assert place.regret(policy) < place.regret(place.evidence.reference)
    assert export_policy(policy, check_on=place.evidence.pool)[1] <= 1e-5


@pytest.mark.parametrize("name", list(LEARNERS))
def test_without_evidence_the_reference_stays(name: str, place: Town) -> None:
    nothing = replace(place.evidence, weights=np.zeros(len(place.evidence.votes)))
    assert learn(name, nothing) is place.evidence.reference


@pytest.mark.parametrize("name", [DEFAULT, "dpo", "rlhf"])
def test_the_same_evidence_and_seed_give_the_same_policy(name: str) -> None:
    few = town(honest=400).evidence
    first, second = learn(name, few, QUICK), learn(name, few, QUICK)
    assert np.array_equal(first.weights, second.weights)


def test_a_strong_prior_keeps_the_policy_at_the_reference(place: Town) -> None:
    held = learn("dpo", place.evidence, replace(QUICK, penalty_shared=1e9, penalty_own=1e9))
    expected = place.evidence.reference.probabilities(place.evidence.pool)
    assert held.probabilities(place.evidence.pool) == pytest.approx(expected, abs=1e-3)


def test_agents_replacements_alone_teach_a_pairwise_learner(place: Town) -> None:
    e = place.evidence
    asked = np.arange(len(e.pool))
    best, sent = place.utility.argmax(axis=1), e.reference.scores(e.pool).argmax(axis=1)
    taught = Evidence(
        e.pool, e.replies, e.votes.take(np.zeros(len(e.votes), dtype=bool)), np.zeros(0), e.reference,
        comparisons=pairs_from_replacements(asked, sent, best),
    )  # fmt: skip
    assert place.regret(learn("dpo", taught, QUICK)) < 0.5 * place.regret(e.reference)


def test_a_name_that_is_no_learner_is_an_error(place: Town) -> None:
    with pytest.raises(KeyError):
        learn("nobody", place.evidence)
