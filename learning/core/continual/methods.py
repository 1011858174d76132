"""The methods that may challenge the closed form, their options, and what of them a search may move. Knows no torch.

Where a search starts is the geometric middle of its bounds; they are those of benchmarks/continual_methods.py, with the
weights of the penalties on a log scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Bounds = tuple[float, float]
BOUNDS: Mapping[str, Bounds] = {
    "rate": (1e-5, 1.0), "epochs": (1, 1000), "batch": (1, 10_000), "decay": (0.0, 1.0), "capacity": (1, 100_000),
    "ewc": (1e-6, 1e6), "ewc_gamma": (1e-3, 1.0), "der": (1e-6, 1e3), "lwf": (1e-6, 1e3),
}  # fmt: skip
WHOLE = ("epochs", "batch", "capacity")
PACE: Mapping[str, Bounds] = {"rate": (0.001, 0.05), "epochs": (10, 60)}
# How much of a label's weight what customers did adds to it: of the project, and so of every head.
FEEDBACK: Mapping[str, Bounds] = {"feedback_weight": (0.05, 2.0)}


@dataclass(frozen=True)
class Method:
    """``options`` are those of learning/core/continual/learner.py, ``searched`` the bounds of a search (on a log scale)."""

    options: Mapping[str, Any]
    searched: Mapping[str, Bounds] = field(default_factory=dict)

    def with_options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All options, some replaced. Raises ValueError naming one that this method lacks or whose value is out of bounds."""
        for name, value in given.items():
            if name not in self.settable:
                raise ValueError(f"{name!r} is no option of this method: choose from {', '.join(self.settable)}")
            low, high = BOUNDS[name]
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise ValueError(f"{name} must be a number from {low:g} to {high:g}, not {value!r}")
            if name in WHOLE and value != int(value):
                raise ValueError(f"{name} must be a whole number, not {value!r}")
        return {**self.options, **{n: int(v) if n in WHOLE else float(v) for n, v in given.items()}}

    @property
    def settable(self) -> tuple[str, ...]:
        return tuple(name for name in BOUNDS if name in self.options or name in ("batch", "decay"))


def whole(name: str, value: float) -> float | int:
    """A searched value as an option takes it."""
    return max(1, round(value)) if name in WHOLE else value


METHODS: Mapping[str, Method] = {
    "ewc_replay": Method(
        {"rate": 0.01, "epochs": 40, "capacity": 1000, "ewc": 3.0, "ewc_gamma": 0.95},
        {**PACE, **FEEDBACK, "ewc": (0.03, 300.0)},
    ),
    "derpp": Method(
        {"rate": 0.01, "epochs": 40, "capacity": 1000, "der": 0.05}, {**PACE, **FEEDBACK, "der": (0.003, 1.0)}
    ),
    # Nothing is replayed: how far an experience moves the network decides how much it forgets.
    "lwf": Method(
        {"rate": 0.003, "epochs": 10, "lwf": 1.7},
        {"rate": (0.0003, 0.03), "epochs": (2, 50), **FEEDBACK, "lwf": (0.1, 30.0)},
    ),
}
