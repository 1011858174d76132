from __future__ import annotations

from django.apps import AppConfig


class ConfigConfig(AppConfig):
    name = "config"

    def ready(self) -> None:
        # Tasks that this process sends must go to our broker, not to Celery's default one.
        from config import celery  # noqa: F401
