"""How many annotators a queue needs. Pure.

Little's law, L = λ·W (Little, "A Proof for the Queuing Formula L = λW", Operations Research 9, 1961): the mean number of
items in a system is the rate at which they come times the mean time that each stays. Applied to the people, L is how many
are busy and W how long an item is in hand; applied to the queue, what waits now and the rate say how long an item will wait.
It holds whatever the distributions are, for means, and in a steady state: a rush within the hour it does not see.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

# Busier people leave no room for chance: in any queue with random arrivals the wait grows as 1/(1 − utilisation).
UTILISATION = 0.8


@dataclass(frozen=True)
class Advice:
    """`steady` people keep pace, `needed` also take the backlog within the time that was asked for.

    `busy` is the mean number of people at work (L of Little's law); `waits_seconds` how long an item that comes now will
    wait with `present` people, None where they never get to it.
    """

    busy: float
    steady: int
    needed: int
    waits_seconds: float | None


def advise(
    *, arrivals_per_hour: float, handling_seconds: float, backlog: int, clear_hours: float = 8.0, present: int = 0,
    utilisation: float = UTILISATION,
) -> Advice:  # fmt: skip
    """Advice for a queue into which `arrivals_per_hour` annotations come that each take `handling_seconds`.

    `backlog` annotations wait already and should be done in `clear_hours`. ValueError for what cannot be.

    >>> advise(arrivals_per_hour=120, handling_seconds=30, backlog=0)
    Advice(busy=1.0, steady=2, needed=2, waits_seconds=0.0)
    >>> advise(arrivals_per_hour=120, handling_seconds=30, backlog=960, clear_hours=8, present=2)
    Advice(busy=1.0, steady=2, needed=3, waits_seconds=14400.0)
    """
    if min(arrivals_per_hour, handling_seconds, backlog, present) < 0 or clear_hours <= 0 or not 0 < utilisation <= 1:
        raise ValueError("rates, times and counts are not negative, and utilisation lies in (0, 1]")
    busy = arrivals_per_hour * handling_seconds / 3600
    with_backlog = busy + backlog * handling_seconds / (clear_hours * 3600)
    return Advice(
        busy, math.ceil(busy / utilisation), math.ceil(with_backlog / utilisation),
        _wait(backlog, handling_seconds, present),
    )  # fmt: skip


def _wait(backlog: int, handling_seconds: float, present: int) -> float | None:
    """What waits, over the rate at which it is worked off: W = L/λ with λ = people / handling time."""
    if backlog == 0:
        return 0.0
    return backlog * handling_seconds / present if present else None
