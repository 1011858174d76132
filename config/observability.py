"""GET /metrics: what Prometheus scrapes. Counts of all web processes of this machine or pod, and gauges from PostgreSQL."""

from __future__ import annotations

import hmac
import ipaddress
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from psycopg.errors import QueryCanceled
from psycopg_pool import PoolTimeout

from feedback import gauges as _feedback_gauges  # noqa: F401 - metrics register by being imported
from feedback import metric_files
from feedback.metrics import BUCKETS, Group, Labels, Metric, Sample, Sums, declare, groups, known
from feedback.problems import Problem, problem_response
from labeling import gauges as _labeling_gauges  # noqa: F401
from learning import gauges as _learning_gauges  # noqa: F401
from serving import gauges as _serving_gauges  # noqa: F401

log = logging.getLogger(__name__)
# A figure that takes longer than this is not worth what it costs those who wait for an answer.
STATEMENT_TIMEOUT = "2s"
REQUESTS = declare(
    "counter", "enso_http_requests", "Requests by endpoint (the name of its URL), method and status.",
    ("endpoint", "method", "status"),
)  # fmt: skip
SECONDS = declare("histogram", "enso_http_request_seconds", "From the request to its answer.", ("endpoint",), unit="s")
READ = declare(
    "gauge", "enso_metrics_group_up", "1 where the gauges of a group were read at the last look.", ("group",)
)
Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """For the holder of ENSO_METRICS_TOKEN; without a token, for this machine alone."""
    if not _may_read(request):
        return problem_response(
            request, Problem(403, "not-allowed", "Metrics are for the holder of ENSO_METRICS_TOKEN, or this machine.")
        )
    return HttpResponse(exposition(), content_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})


# Past sessions and the check of the host: a scraper names a pod by its address.
metrics.enso_endpoint = (("GET",), "operator")  # type: ignore[attr-defined]


def _may_read(request: HttpRequest) -> bool:
    if token := settings.ENSO_METRICS_TOKEN:
        given = request.headers.get("Authorization", "")
        return hmac.compare_digest(given.encode(), f"Bearer {token}".encode())
    # A proxy on this machine would make everybody local: what it passes on names whom it came from.
    passed_on = any(name in request.headers for name in ("X-Forwarded-For", "Forwarded", "X-Real-Ip", "Via"))
    return (
        not passed_on and not settings.REST_FRAMEWORK["NUM_PROXIES"] and _is_local(request.META.get("REMOTE_ADDR", ""))
    )


def _is_local(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


class _Everything:
    """What prometheus_client asks for all that there is."""

    def collect(self) -> Iterator[Family]:
        found: dict[Metric, list[tuple[Labels, float]]] = defaultdict(list)
        for metric, labels, value in looks.samples():
            found[metric].append((labels, value))
        yield from _counted(metric_files.everything())
        for metric in known.values():
            if metric.kind == "gauge":
                family = GaugeMetricFamily(metric.name, metric.about, labels=metric.labels)
                for labels, value in found[metric]:
                    family.add_metric(labels, value)
                yield family


def _counted(sums: Sums) -> Iterator[Family]:
    for metric in known.values():
        own = [(labels, row) for (name, labels), row in sorted(sums.items()) if name == metric.name]
        if metric.kind == "counter":
            counter = CounterMetricFamily(metric.name, metric.about, labels=metric.labels)
            for labels, row in own:
                counter.add_metric(labels, row[0])
            yield counter
        elif metric.kind == "histogram":
            histogram = HistogramMetricFamily(metric.name, metric.about, labels=metric.labels)
            for labels, row in own:
                histogram.add_metric(labels, _cumulated(row), sum_value=row[-1])
            yield histogram


def _cumulated(row: list[float]) -> list[tuple[str, float]]:
    """Counts per bucket as Prometheus has them: each with all that is below."""
    below, found = 0.0, []
    for bound, n in zip((*map(str, BUCKETS), "+Inf"), row, strict=False):
        below += n
        found.append((bound, below))
    return found


class _Looks:
    """Gauges, each group read at most once in its seconds by this process, however many ask."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._kept: dict[str, tuple[float, list[Sample]]] = {}

    def samples(self) -> Iterator[Sample]:
        away = False
        with self._lock:
            for group in list(groups.values()):
                until, have = self._kept.get(group.name, (0.0, []))
                if self._clock() >= until:
                    # Each group would wait for a connection until the pool gives up: once is enough.
                    have, away = ([_up(group, 0.0)], True) if away else _read(group)
                    self._kept[group.name] = (self._clock() + group.seconds, have)
                yield from have

    def forget(self) -> None:
        with self._lock:
            self._kept.clear()


looks = _Looks()


def _up(group: Group, value: float) -> Sample:
    return READ, (group.name,), value


def _read(group: Group) -> tuple[list[Sample], bool]:
    """The gauges of a group, and whether the database is away.

    A group that cannot be read is left out and said to be: the others are still worth having.
    """
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}'")
            return [*group.read(), _up(group, 1.0)], False
    except Exception as error:
        log.warning("gauges of %s could not be read", group.name, exc_info=True)
        away = isinstance(error, InterfaceError | PoolTimeout) or (
            isinstance(error, OperationalError) and not isinstance(error.__cause__, QueryCanceled)
        )
        return [_up(group, 0.0)], away


_registry = CollectorRegistry(auto_describe=False)
_registry.register(_Everything())  # type: ignore[arg-type]


def exposition() -> bytes:
    """Everything in Prometheus's text format."""
    return generate_latest(_registry)
