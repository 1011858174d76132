from __future__ import annotations

from django.apps import AppConfig


class LabelingConfig(AppConfig):
    name = "labeling"

    def ready(self) -> None:
        # Tasks and event consumers register by being imported.
        from labeling import breaches  # noqa: F401
