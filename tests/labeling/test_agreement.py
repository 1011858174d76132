from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import cohens_kappa

from labeling import agreement
from labeling.agreement import cohen_kappa

pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60)


def test_the_worked_example_holds():
    assert doctest.testmod(agreement).failed == 0


@given(pairs)
def test_it_equals_scikit_learn(items):
    mine = cohen_kappa(items)
    assume(mine.value is not None)
    a, b = zip(*items, strict=True)
    assert mine.value == pytest.approx(cohen_kappa_score(a, b), abs=1e-9)


@given(pairs)
def test_its_interval_equals_statsmodels(items):
    mine = cohen_kappa(items)
    assume(mine.value is not None)
    table = np.zeros((5, 5))
    for a, b in items:
        table[a, b] += 1
    theirs = cohens_kappa(table)
    assume(theirs.var_kappa > 1e-12)  # rounding leaves a variance of zero on either side of it
    assert mine.low == pytest.approx(max(theirs.kappa_low, -1), abs=1e-7)
    assert mine.high == pytest.approx(min(theirs.kappa_upp, 1), abs=1e-7)


@pytest.mark.parametrize("items", [[], [("a", "a")] * 9])
def test_where_kappa_is_undefined_it_says_why_instead_of_nan(items):
    kappa = cohen_kappa(items)
    assert kappa.value is None
    assert kappa.why
