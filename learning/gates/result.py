"""What a gate found, and the thresholds that a project may move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

# Fewer texts or labels than this show nothing: the gate then passes, and says so.
ENOUGH = 30


@dataclass(frozen=True)
class Result:
    """What a gate found, in numbers and in a sentence."""

    name: str
    passed: bool
    value: float | None
    threshold: float | None
    detail: str


@dataclass(frozen=True)
class Thresholds:
    """Shares in [0, 1] unless said otherwise."""

    parity: float = 1e-5  # largest difference of a probability between the trained and the served head
    size_mb: float = 50.0
    latency_ms: float = 10.0  # CPU time of the head for one text
    encoder_flips: float = 0.01  # answers that change when known texts are embedded anew
    leakage: float = 0.05  # test texts that embed like one that was trained on (the same text: never)
    margin: float = 0.02  # accuracy that a new version may lose against the one in service
    audit_accuracy: float = 0.5  # on blind random draws: the interval must reach this
    category_recall: float = 0.2  # of every category: the interval must reach this
    forgetting: float = 0.02  # accuracy that may be lost on what a past version knew
    calibration: float = 0.1  # expected calibration error
    functionality: float = 0.9  # texts of the project's own checks with the expected answer
    invariance: float = 0.25  # answers that change under typos, case, greetings, names, numbers
    directional: float = 0.9  # texts whose probability moves as the project's checks say
    fairness: float = 0.1  # accuracy of any slice below that of all others
    robustness: float = 0.05  # answers that change under noise of 2 % of an embedding's length
    hacking: float = 0.0  # customers that a reply may surely fail more often while it wins clicks and thumbs
    person_share: float = 0.2  # of inquiries that a reply policy may hand to people
    distribution: float = 0.25  # PSI of the predicted categories against the version in service

    def moved(self, given: Mapping[str, Any]) -> Thresholds:
        """With a project's own values; raises ValueError naming one that does not exist or is no number."""
        known = {f.name for f in fields(self)}
        for name, value in given.items():
            if name not in known:
                raise ValueError(f"there is no gate threshold {name!r}: choose from {', '.join(sorted(known))}")
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
                raise ValueError(f"the threshold {name} must be a number that is not negative, not {value!r}")
        return replace(self, **{name: float(value) for name, value in given.items()})

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


DEFAULTS = Thresholds()
