from __future__ import annotations

from django.apps import AppConfig


class LabelingConfig(AppConfig):
    name = "labeling"

    def ready(self) -> None:
        # Handlers of jobs and consumers of events: whoever runs a job, a worker or a command, must know them.
        from labeling import audited, webhooks  # noqa: F401
        from labeling.exchange import exports, label_import  # noqa: F401

        audited.register()
