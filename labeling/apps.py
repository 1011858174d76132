from __future__ import annotations

from django.apps import AppConfig


class LabelingConfig(AppConfig):
    name = "labeling"

    def ready(self) -> None:
        # Handlers of jobs, tasks and consumers of events register by being imported: whoever runs them must know them.
        from labeling import audited, breaches, webhooks  # noqa: F401
        from labeling.exchange import exports, label_import  # noqa: F401

        audited.register()
