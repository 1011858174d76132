"""What every entry point does first: read `.env`, and start the servers that nobody has named."""

from __future__ import annotations

import os
from pathlib import Path

import environ

from config import embedded

ROOT = Path(__file__).resolve().parent.parent


def prepare() -> None:
    """Point Django at its settings and have PostgreSQL and Redis running. Raises `embedded.ServerError`."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    if (ROOT / ".env").exists():
        environ.Env.read_env(ROOT / ".env")
    if uses_embedded_servers():
        embedded.acquire()


def uses_embedded_servers() -> bool:
    return not (os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL"))
