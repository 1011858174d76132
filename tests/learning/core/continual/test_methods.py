"""Options of challengers: what may be set, and what a wrong one is told."""

from __future__ import annotations

import pytest

from learning.core.continual.learner import Options
from learning.core.continual.methods import METHODS


@pytest.mark.parametrize("method", METHODS)
def test_the_options_of_every_method_are_those_of_the_learner(method: str) -> None:
    assert Options(**METHODS[method].with_options({})).network == "linear"


def test_given_options_replace_a_methods_own() -> None:
    assert METHODS["lwf"].with_options({"rate": 0.02, "epochs": 7.0}) == {"rate": 0.02, "epochs": 7, "lwf": 1.7}


@pytest.mark.parametrize(
    ("given", "why"),
    [({"ewc": 1.0}, "'ewc' is no option"), ({"rate": 2.0}, "rate must be a number from"), ({"epochs": 2.5}, "whole number"),
     ({"rate": True}, "rate must be"), ({"rate": "fast"}, "rate must be"), ({"rate": float("nan")}, "rate must be")],
)  # fmt: skip
def test_a_wrong_option_is_named(given: dict, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        METHODS["derpp"].with_options(given)
