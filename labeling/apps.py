from __future__ import annotations

from django.apps import AppConfig


class LabelingConfig(AppConfig):
    name = "labeling"

    def ready(self) -> None:
        # Handlers of jobs: whoever runs a job, a worker or a command, must know them.
        from labeling import audited
        from labeling.exchange import exports, label_import  # noqa: F401

        audited.register()
