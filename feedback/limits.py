"""How much a caller may ask for: token buckets in Redis, min(B, tokens + r·Δt − c), by one atomic script.

A round trip per request would cost more than some requests do. So a process that asks often draws some units ahead, up to
a sixteenth of what the bucket still holds, and spends them by itself: the sum that is granted never exceeds the limit,
because what is drawn has left the bucket. A caller that comes seldom, or whose bucket runs low, is counted exactly.
While Redis is away each process keeps buckets of its own: the limits go on, they only stop being shared.
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import redis
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from redis.backoff import NoBackoff
from redis.retry import Retry
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from feedback.principals import Allowance, Principal, PublicPrincipal
from feedback.problems import Problem

if TYPE_CHECKING:
    from rest_framework.views import APIView  # its module reads the settings, which name a class of this one

log = logging.getLogger(__name__)
# An event in a batch costs this much of a request of its own.
EVENT_SHARE = 0.1
TIMEOUT_SECONDS = 0.25
# After a failure Redis is left alone for this long: a dead server must not cost every request a timeout.
AWAY_SECONDS = 1.0
# What was drawn ahead is given up after this long, and is at most this share of the bucket.
AHEAD_SECONDS = 1.0
AHEAD_SHARE = 1 / 32
MAX_LOCAL = 10_000

# KEYS: buckets; ARGV: cost, units to draw ahead, then rate and size of each bucket. All buckets pay or none does.
# Returns what was drawn, the seconds to wait (0 when it was granted) and the first bucket's level, as texts: Redis would
# cut numbers to integers. The clock is the server's own, so web processes need not agree on the time.
SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local cost, ahead = tonumber(ARGV[1]), tonumber(ARGV[2])
local levels, wait = {}, 0
for i, key in ipairs(KEYS) do
  local rate, size = tonumber(ARGV[2 * i + 1]), tonumber(ARGV[2 * i + 2])
  local kept = redis.call('HMGET', key, 'level', 'at')
  local level = size
  if kept[1] then
    level = math.min(size, tonumber(kept[1]) + rate * math.max(0, now - tonumber(kept[2])))
  end
  levels[i] = level
  local need = math.min(cost, size)
  if level < need then wait = math.max(wait, (need - level) / rate) end
  ahead = math.max(0, math.min(ahead, math.floor((level - cost) / 16)))
end
local drawn = 0
if wait == 0 then
  drawn = cost + ahead
  for i, key in ipairs(KEYS) do
    local rate, size = tonumber(ARGV[2 * i + 1]), tonumber(ARGV[2 * i + 2])
    levels[i] = levels[i] - math.min(drawn, size)
    redis.call('HSET', key, 'level', levels[i], 'at', now)
    redis.call('PEXPIRE', key, math.ceil((size - levels[i]) / rate * 1000) + 1000)
  end
end
return {tostring(drawn), tostring(wait), tostring(levels[1])}
"""


@dataclass(frozen=True)
class Bucket:
    """`rate` units per second flow in, at most `size` are kept."""

    name: str
    rate: float
    size: float


@dataclass(frozen=True)
class Verdict:
    """Whether a request may go on; the first bucket's size and level; and the seconds to wait where it may not."""

    bucket: Bucket
    level: float
    wait: float = 0.0

    @property
    def headers(self) -> dict[str, str]:
        """RateLimit fields of the IETF draft: the three that clients know, and the two that take their place."""
        size, left = int(self.bucket.size), max(int(self.level), 0)
        full_in = math.ceil(max(self.bucket.size - self.level, 0.0) / self.bucket.rate)
        window = math.ceil(self.bucket.size / self.bucket.rate)
        return {
            "RateLimit-Limit": str(size), "RateLimit-Remaining": str(left), "RateLimit-Reset": str(full_in),
            "RateLimit-Policy": f'"units";q={size};w={window}', "RateLimit": f'"units";r={left};t={full_in}',
        }  # fmt: skip


class LocalBuckets:
    """Buckets of this process alone; bounded, those that nobody used for longest give way."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._kept, self._lock = clock, dict[str, tuple[float, float]](), threading.Lock()

    def take(self, buckets: Sequence[Bucket], cost: float) -> Verdict:
        with self._lock:
            now = self._clock()
            levels = [self._level(b, now) for b in buckets]
            short = [
                (need - level) / b.rate
                for b, level in zip(buckets, levels, strict=True)
                if level < (need := min(cost, b.size))
            ]
            if short:
                return Verdict(buckets[0], levels[0], max(short))
            for b, level in zip(buckets, levels, strict=True):
                self._kept[b.name] = level - min(cost, b.size), now
            while len(self._kept) > MAX_LOCAL:
                del self._kept[next(iter(self._kept))]
            return Verdict(buckets[0], levels[0] - min(cost, buckets[0].size))

    def start_at(self, bucket: Bucket, level: float) -> None:
        """Go on from a level that was seen elsewhere, unless this process has a lower one of its own."""
        with self._lock:
            own = self._level(bucket, self._clock())
            self._kept[bucket.name] = min(own, level), self._clock()

    def _level(self, bucket: Bucket, now: float) -> float:
        level, at = self._kept.pop(bucket.name, (bucket.size, now))  # put back at the end: the order is that of use
        self._kept[bucket.name] = level, at
        return min(bucket.size, level + bucket.rate * (now - at))


@dataclass
class Ahead:
    """Units of one bucket that this process has drawn but not spent, and how many it draws at a time."""

    left: float = 0.0
    step: float = 0.0
    level: float = 0.0
    drawn_at: float = -math.inf


class Limiter:
    """Buckets shared through the Redis at `url`, and local ones while it is away. Used by many threads at once."""

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        server = redis.Redis.from_url(
            url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS, retry=Retry(NoBackoff(), 0)
        )
        self._script, self._clock = server.register_script(SCRIPT), clock
        self._ahead: dict[str, Ahead] = {}
        self._lock = threading.Lock()
        self._away_until = -math.inf
        self.local = LocalBuckets(clock)

    def take(self, buckets: Sequence[Bucket], cost: float) -> Verdict:
        """Spend `cost` units of each bucket, or of none. A cost above a bucket's size takes the whole bucket."""
        if self._clock() < self._away_until:
            return self.local.take(buckets, cost)
        if len(buckets) > 1:
            return self._ask(buckets, cost, 0.0)
        bucket = buckets[0]
        with self._lock:
            kept = self._ahead_of(bucket)
            if kept.left >= cost:
                kept.left -= cost
                return Verdict(bucket, kept.level + kept.left)
            step = kept.step
        return self._ask(buckets, cost, step)

    def _ahead_of(self, bucket: Bucket) -> Ahead:
        """What is still good of the units drawn ahead; the more often they run out, the more are drawn next time."""
        kept = self._ahead.get(bucket.name)
        if kept is None:
            while len(self._ahead) >= MAX_LOCAL:
                del self._ahead[next(iter(self._ahead))]
            kept = self._ahead[bucket.name] = Ahead()
        if self._clock() - kept.drawn_at > AHEAD_SECONDS:
            kept.left = kept.step = 0.0
        return kept

    def _ask(self, buckets: Sequence[Bucket], cost: float, ahead: float) -> Verdict:
        arguments = [cost, ahead, *(part for b in buckets for part in (b.rate, b.size))]
        try:
            drawn, wait, level = map(float, self._script([f"enso:limit:{b.name}" for b in buckets], arguments))
        except redis.RedisError as error:
            return self._ask_locally(buckets, cost, error)
        if len(buckets) == 1:
            self._keep(buckets[0], drawn - cost if wait == 0 else 0.0, level)
        return Verdict(buckets[0], level, wait)

    def _keep(self, bucket: Bucket, extra: float, level: float) -> None:
        with self._lock:
            kept = self._ahead_of(bucket)
            busy = self._clock() - kept.drawn_at <= AHEAD_SECONDS
            kept.step = min(max(2 * kept.step, 1.0), bucket.size * AHEAD_SHARE // 1) if busy else 0.0
            kept.left, kept.level, kept.drawn_at = kept.left + max(extra, 0.0), level, self._clock()

    def _ask_locally(self, buckets: Sequence[Bucket], cost: float, error: redis.RedisError) -> Verdict:
        if self._clock() >= self._away_until:
            log.warning("Redis is away (%s): this process limits by itself", error)
        self._away_until = self._clock() + AWAY_SECONDS
        with self._lock:
            seen = [(b, self._ahead.get(b.name)) for b in buckets]
            known = [(b, kept.level) for b, kept in seen if kept is not None and kept.drawn_at > -math.inf]
        for bucket, level in known:
            self.local.start_at(bucket, level)
        return self.local.take(buckets, cost)


@cache
def limiter(url: str) -> Limiter:
    """The limiter of this process."""
    return Limiter(url)


def spend(request: HttpRequest, principal: Principal | PublicPrincipal, cost: float = 1.0) -> None:
    """Charge a caller; 429 with the seconds to wait where it has spent what it may. Nothing is charged then."""
    allowance = principal.allowance
    if allowance.rate is None or cost <= 0:
        return
    _take(request, [_shared(allowance)], cost)


def spend_page(request: HttpRequest, page: PublicPrincipal, cost: float = 1.0) -> None:
    """Charge a web page: its key, and the visitor's address, so that one visitor cannot use up what all share."""
    digest = hashlib.sha256(client_network(request).encode()).hexdigest()[:24]
    buckets = [Bucket(f"{{{page.allowance.name}}}:{digest}", page.page_rate, max(60 * page.page_rate, 1.0))]
    if page.allowance.rate is not None:
        buckets.append(_shared(page.allowance))
    _take(request, buckets, cost)


def _shared(allowance: Allowance) -> Bucket:
    assert allowance.rate is not None
    # The braces let a cluster keep all buckets of one key on one server, as the script needs.
    return Bucket(f"{{{allowance.name}}}", allowance.rate, allowance.burst)


def _take(request: HttpRequest, buckets: Sequence[Bucket], cost: float) -> None:
    verdict = limiter(settings.REDIS_URL).take(buckets, cost)
    request.enso_limit = verdict  # type: ignore[attr-defined]
    if verdict.wait > 0:
        seconds = math.ceil(verdict.wait)
        raise Problem(
            429,
            "too-many-requests",
            f"The limit of this key is spent. Send this again in {seconds} s.",
            retry_after=seconds,
        )


def mark(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """The rate-limit headers of what the request was charged, if it was."""
    verdict: Verdict | None = getattr(request, "enso_limit", None)
    if verdict is not None:
        for name, value in verdict.headers.items():
            response[name] = value
    return response


def client_network(request: HttpRequest) -> str:
    """The caller's address, behind NUM_PROXIES trusted proxies that which the outermost saw; of IPv6 its /64 (one line)."""
    given = str(BaseThrottle().get_ident(request))  # type: ignore[arg-type]
    try:
        address = ipaddress.ip_address(given.strip("[]"))
    except ValueError:
        return given
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else str(address)


class KeyThrottle(BaseThrottle):
    """Charges apps on DRF views; people are not limited here. The headers are set by `RateLimitHeaders`."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        if isinstance(request.user, Principal):
            spend(request._request, request.user, getattr(view, "cost", 1.0))
        return True


class RateLimitHeaders:
    """Middleware: says on the answers of DRF views what the plain endpoints say by themselves."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return mark(request, self.get_response(request))
