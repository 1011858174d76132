"""PostgreSQL and Redis for those who name no servers of their own: real ones, started from Python wheels.

`database_url()`, `redis_url()` and `celery_broker_url()` are addresses and start nothing; `acquire()` starts what is
not running and stops it again with its last user. docs/servers.md tells the whole story.
"""

from config.embedded.errors import ServerError
from config.embedded.lifecycle import Status, acquire, release, reset, start, status, stop
from config.embedded.places import celery_broker_url, database_settings, database_url, home, redis_url

__all__ = [
    "ServerError",
    "Status",
    "acquire",
    "celery_broker_url",
    "database_settings",
    "database_url",
    "home",
    "redis_url",
    "release",
    "reset",
    "start",
    "status",
    "stop",
]
