"""Every strategy by the name under which a project asks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from learning.selection.badge import Badge
from learning.selection.cluster_margin import ClusterMargin
from learning.selection.equiangular import Equiangular
from learning.selection.herding import Herding
from learning.selection.informative import Uncertain, Uniform
from learning.selection.msal import KCenter, Msal
from learning.selection.picks import Strategy
from learning.selection.typiclust import TypiClust

STRATEGIES: Mapping[str, Callable[..., Strategy]] = {
    "herding": Herding,
    "random": Uniform,
    "margin": partial(Uncertain, measure="margin"),
    "least_confidence": partial(Uncertain, measure="least_confidence"),
    "entropy": partial(Uncertain, measure="entropy"),
    "msal": Msal,
    "msal_equiangular": Equiangular,
    "k_center": KCenter,
    "cluster_margin": ClusterMargin,
    "badge": Badge,
    "typiclust": TypiClust,
}
DEFAULT = "herding"


def get(name: str = "default", **params: Any) -> Strategy:
    """The strategy called ``name`` ("default" for the measured winner). Raises ValueError for an unknown name or
    parameter."""
    chosen = DEFAULT if name == "default" else name
    if chosen not in STRATEGIES:
        raise ValueError(f"no strategy is called {name}: there are {', '.join(sorted(STRATEGIES))}")
    try:
        return STRATEGIES[chosen](**params)
    except TypeError as error:
        raise ValueError(f"the strategy {name} does not take these parameters: {error}") from error
