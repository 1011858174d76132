"""Failed sign-ins are counted per account and address: guessing is slow, and nobody can lock somebody else out.

An attempt is counted before the password is looked at, so that many at once are not many for free. The counts lie in
Redis; while Redis is away each process counts for itself.
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections.abc import Callable
from functools import cache

import redis
from django.conf import settings

WINDOW_SECONDS = 900
PER_ACCOUNT = 8
PER_ADDRESS = 100
MAX_LOCAL = 10_000
ROUNDING = 1e-6  # of the clock: what lies this little above a second is that second


class LocalCounts:
    """Counts of this process alone, for the time that Redis is away; bounded, the oldest give way."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._counts, self._lock = clock, dict[str, tuple[int, float]](), threading.Lock()

    def add(self, key: str) -> tuple[int, int]:
        """One more; returns the count and the seconds until it starts again."""
        with self._lock:
            now = self._clock()
            count, ends = self._counts.pop(key, (0, 0.0))
            if ends <= now:
                count, ends = 0, now + WINDOW_SECONDS
            self._counts[key] = count + 1, ends
            if len(self._counts) > MAX_LOCAL:
                del self._counts[next(iter(self._counts))]
            return count + 1, max(math.ceil(ends - now - ROUNDING), 1)

    def clear(self, key: str) -> None:
        with self._lock:
            self._counts.pop(key, None)


local = LocalCounts()


@cache
def _server(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=0.5, socket_connect_timeout=0.5)


def _add(key: str) -> tuple[int, int]:
    try:
        pipe = _server(settings.REDIS_URL).pipeline()
        pipe.set(key, 0, ex=WINDOW_SECONDS, nx=True)
        pipe.incr(key)
        pipe.ttl(key)
        _, count, left = pipe.execute()
    except redis.RedisError:
        return local.add(key)
    return int(count), max(int(left), 1)


def begin(*, account: str, address: str) -> int | None:
    """Count an attempt; None when it may go on, else the seconds to wait. Unknown accounts count like known ones."""
    waits = [
        left
        for key, limit in ((_pair(account, address), PER_ACCOUNT), (_alone(address), PER_ADDRESS))
        for count, left in [_add(key)]
        if count > limit
    ]
    return max(waits, default=None)


def succeeded(*, account: str, address: str) -> None:
    """The right password: the account's count from this address starts again."""
    key = _pair(account, address)
    local.clear(key)
    try:
        _server(settings.REDIS_URL).delete(key)
    except redis.RedisError:
        return


def _pair(account: str, address: str) -> str:
    return "enso:signin:" + hashlib.sha256(f"{account.strip().casefold()}\0{address}".encode()).hexdigest()


def _alone(address: str) -> str:
    return "enso:signin:" + hashlib.sha256(address.encode()).hexdigest()
