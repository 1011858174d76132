"""How many customers an A/B test of a rate needs: fixed-size sample size, power and smallest detectable drop.

Two-proportion z-test with pooled variance under the null (Fleiss 1981). ``serving.sequential.simulate`` gives the days
that the always-valid test needs. Standard library only.
"""

from __future__ import annotations

import math
from statistics import NormalDist

# A smaller difference takes more customers than there are people.
SMALLEST_DROP = 1e-5


def sample_size(base: float, drop: float, *, alpha: float = 0.05, power: float = 0.8, sides: int = 1) -> int:
    """Customers per arm that a fixed-size test of two proportions needs to see ``base`` fall to ``base - drop`` (Fleiss
    1981, eq. 3.14).

    An always-valid test needs more for the same power and may stop sooner: ``simulate`` says how much.
    """
    p, q = base, base - drop
    if not 0 < q <= 1 or not 0 < p < 1 or not abs(drop) >= SMALLEST_DROP:
        raise ValueError(f"base and base - drop must lie between 0 and 1, and differ by at least {SMALLEST_DROP}")
    mean = (p + q) / 2
    z_alpha, z_beta = NormalDist().inv_cdf(1 - alpha / sides), NormalDist().inv_cdf(power)
    spread = z_alpha * math.sqrt(2 * mean * (1 - mean)) + z_beta * math.sqrt(p * (1 - p) + q * (1 - q))
    return math.ceil((spread / drop) ** 2)


def power(base: float, drop: float, per_arm: int, *, alpha: float = 0.05, sides: int = 1) -> float:
    """Probability that ``per_arm`` customers in each arm show the drop: the inverse of ``sample_size``."""
    p, q = base, base - drop
    mean = (p + q) / 2
    z_alpha = NormalDist().inv_cdf(1 - alpha / sides)
    reach = abs(drop) * math.sqrt(per_arm) - z_alpha * math.sqrt(2 * mean * (1 - mean))
    return NormalDist().cdf(reach / math.sqrt(p * (1 - p) + q * (1 - q)))


def detectable_drop(base: float, per_arm: int, *, alpha: float = 0.05, wanted: float = 0.8, sides: int = 1) -> float:
    """The smallest drop that ``per_arm`` customers show with probability ``wanted`` (bisection; ``base`` where none
    is).
    """
    low, high = 0.0, base
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (
            (low, middle) if power(base, middle, per_arm, alpha=alpha, sides=sides) >= wanted else (middle, high)
        )
    return high
