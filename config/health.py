"""Is it alive, and is it ready."""

from __future__ import annotations

from functools import cache

import redis
from django.conf import settings
from django.db import connection
from django.http import HttpRequest, JsonResponse

from serving.served import served


def healthz(request: HttpRequest) -> JsonResponse:
    """The process answers."""
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> JsonResponse:
    """PostgreSQL and the encoder are there (503 otherwise); Redis may be away: wake-ups then come late, nothing is lost."""
    checks = {"database": _database(), "encoder": _encoder(), "redis": _redis()}
    ready = checks["database"] == checks["encoder"] == "ok"
    return JsonResponse({"status": "ready" if ready else "not ready", "checks": checks}, status=200 if ready else 503)


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Exception as error:
        return type(error).__name__
    return "ok"


def _encoder() -> str:
    try:
        served.encoder(settings.ENSO_ENCODER).encode(["ready?"])
        _warm()
    except Exception as error:
        return str(error)
    return "ok"


@cache
def _warm() -> None:
    """Once per process: whoever waits for readiness spares the first customers the opening of models."""
    served.warm()


def _redis() -> str:
    try:
        redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1).ping()
    except redis.RedisError as error:
        return type(error).__name__
    return "ok"
