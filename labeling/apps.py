from __future__ import annotations

from django.apps import AppConfig


class LabelingConfig(AppConfig):
    name = "labeling"

    def ready(self) -> None:
        # Event consumers register by being imported.
        from labeling import webhooks  # noqa: F401
