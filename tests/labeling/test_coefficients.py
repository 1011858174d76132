"""Fleiss' κ and Krippendorff's α against their oracles, from arrays and from counts that are kept answer by answer."""

from __future__ import annotations

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import aggregate_raters
from statsmodels.stats.inter_rater import fleiss_kappa as fleiss_oracle

from feedback.models import Project, User
from labeling import actions, tallies
from labeling.agreement import (
    by_pair,
    cohen_kappa,
    fleiss_kappa,
    kappa_of_table,
    krippendorff_alpha,
    mean_kappa,
    one_against_rest,
    tally,
)
from labeling.models import AgreementTally
from tests.conftest import make_person
from tests.labeling.test_queue import add_task, answer, claim


def ratings(seed: int, *, items: int = 60, people: int = 5, labels: int = 4, missing: float = 0.4) -> np.ndarray:
    """Annotators × items, NaN where somebody did not answer; half of the answers follow the item."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, labels, items)
    said = np.where(rng.random((people, items)) < 0.5, truth, rng.integers(0, labels, (people, items))).astype(float)
    said[rng.random((people, items)) < missing] = np.nan
    return said


def pairs_of(matrix: np.ndarray):
    annotators, items = np.nonzero(~np.isnan(matrix))
    return tally(items, annotators, matrix[annotators, items].astype(np.int64))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.floats(0, 0.7))
def test_krippendorffs_alpha_equals_its_oracle(seed: int, missing: float) -> None:
    matrix = ratings(seed, missing=missing)
    theirs = krippendorff.alpha(reliability_data=matrix, level_of_measurement="nominal")
    assert krippendorff_alpha(pairs_of(matrix)).value == pytest.approx(theirs, abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_fleiss_kappa_equals_its_oracle(seed: int, people: int) -> None:
    matrix = ratings(seed, people=people, missing=0.0)
    theirs = fleiss_oracle(aggregate_raters(matrix.T.astype(int))[0])
    assert fleiss_kappa(pairs_of(matrix)).value == pytest.approx(theirs, abs=1e-9)


def test_fleiss_kappa_takes_the_items_of_the_most_frequent_number_of_answers() -> None:
    matrix = ratings(3, people=4, missing=0.0)
    matrix[3, :20] = np.nan
    found = fleiss_kappa(pairs_of(matrix))
    assert found.items == 40
    assert found.value == pytest.approx(fleiss_oracle(aggregate_raters(matrix[:, 20:].T.astype(int))[0]), abs=1e-9)


def test_where_a_coefficient_is_undefined_it_says_why() -> None:
    same = tally(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.array([2, 2, 2, 2]))
    for found in (
        fleiss_kappa(same),
        krippendorff_alpha(same),
        mean_kappa([kappa_of_table(t) for t in by_pair(same).values()]),
    ):
        assert found.value is None
        assert "one category" in found.why
    for found in (fleiss_kappa([]), krippendorff_alpha([]), mean_kappa([])):
        assert (found.value, found.items) == (None, 0)
        assert "two people" in found.why


def test_the_mean_weighs_pairs_by_the_items_they_share() -> None:
    little = cohen_kappa([(0, 0), (1, 1), (0, 1), (1, 1)])
    much = cohen_kappa([(0, 0)] * 20 + [(1, 1)] * 20 + [(0, 1)] * 4)
    found = mean_kappa([little, much, cohen_kappa([])])
    assert found.value == pytest.approx((4 * little.value + 44 * much.value) / 48)
    assert found.low < found.value < found.high
    assert (much.high - much.low) * 44 / 48 < 2 * found.half < (little.high - little.low)


def test_one_category_against_the_rest_is_a_table_of_two() -> None:
    table = one_against_rest({("a", "a"): 3, ("a", "b"): 2, ("c", "b"): 4}, "a")
    assert table == {(True, True): 3, (True, False): 2, (False, False): 4}


@pytest.mark.django_db
def test_counts_that_are_kept_equal_counts_from_scratch(project: Project) -> None:
    """Whatever is answered and taken back, the table holds what counting the answers gives."""
    people: list[User] = [make_person(project, f"person{n}", "annotator") for n in range(3)]
    rng = np.random.default_rng(0)
    for n in range(12):
        add_task(project, f"text {n}", overlap=3)
    said = []
    for person in people:
        for _ in range(12 if person is not people[2] else 5):
            lease = claim(project, person)
            category = ("refund", "delivery", "fraud")[rng.integers(3)]
            row = answer(project, person, lease, category)
            said.append((row.task_id, person.pk, row.category_id))
    tasks, annotators, categories = np.array(said).T
    expected = {p[1:] for p in tally(tasks, annotators, categories)}
    assert {tuple(p)[1:] for p in tallies.read(project_id=project.pk)} == expected


@pytest.mark.django_db
def test_an_answer_that_is_taken_back_leaves_the_counts(project: Project, annotator: User, colleague: User) -> None:
    task = add_task(project, overlap=2)
    for person in (annotator, colleague):
        answer(project, person, claim(project, person))
    assert [t.items for t in AgreementTally.objects.all()] == [1]
    actions.undo(project_id=project.pk, task_id=task.pk, annotator_id=colleague.pk, seconds=60)
    assert tallies.read(project_id=project.pk) == []
