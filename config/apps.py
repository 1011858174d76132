from __future__ import annotations

from django.apps import AppConfig
from django.conf import settings
from django.contrib.staticfiles.apps import StaticFilesConfig


class ConfigConfig(AppConfig):
    name = "config"
    default = True

    def ready(self) -> None:
        # Tasks that this process sends must go to our broker, not to Celery's default one.
        from config import celery  # noqa: F401

        if settings.ENSO_TRACES:
            from config import tracing

            tracing.begin()


class AssetsConfig(StaticFilesConfig):
    # htmx's optional extensions import it by a bare name that no storage can resolve; no page uses them.
    ignore_patterns = [*StaticFilesConfig.ignore_patterns, "django_htmx/ext/*"]
