"""When a request is sent again, and how long to wait. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass

import httpx

from enso_client.errors import retry_after

# The server says of these that nothing was done: 429 the limit is spent, 503 it could not store anything.
NOTHING_DONE = frozenset({429, 503})
# These leave open whether something was done: only a request that may be repeated is sent again.
UNCLEAR = frozenset({500, 502, 504})


@dataclass(frozen=True)
class Retries:
    """Up to `attempts` tries in all; waits grow from `first` seconds, doubled each time and drawn at random up to that, to
    `most`. A server that names a time (Retry-After) is waited for so long, unless that is more than `patience` seconds."""

    attempts: int = 5
    first: float = 0.25
    most: float = 10.0
    patience: float = 60.0

    def wait_after(
        self, attempt: int, outcome: httpx.Response | httpx.TransportError, *, repeatable: bool
    ) -> float | None:
        """Seconds until the next try after the `attempt`-th (from 1), or None where there is none."""
        if attempt >= self.attempts:
            return None
        drawn = random.uniform(0, min(self.first * 2 ** (attempt - 1), self.most))  # noqa: S311 - spreads the load
        if isinstance(outcome, httpx.TransportError):
            unsent = isinstance(outcome, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
            return drawn if unsent or repeatable else None
        named = retry_after(outcome)
        twin = outcome.status_code == 409 and named is not None  # the same request is still being worked on
        again = outcome.status_code in NOTHING_DONE or (repeatable and (outcome.status_code in UNCLEAR or twin))
        if not again or (named or 0.0) > self.patience:
            return None
        return named + drawn if named is not None else drawn
