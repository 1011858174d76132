"""The worked numbers in docstrings are true."""

from __future__ import annotations

import doctest

import pytest

from feedback import scores, totals


@pytest.mark.parametrize("module", [scores, totals], ids=lambda m: m.__name__)
def test_examples_in_docstrings_hold(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
