from __future__ import annotations

from django.apps import AppConfig


class FeedbackConfig(AppConfig):
    name = "feedback"

    def ready(self) -> None:
        # Job handlers and event consumers register by being imported.
        from feedback import audited, tasks  # noqa: F401

        audited.register()
