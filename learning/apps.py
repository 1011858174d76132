from __future__ import annotations

from django.apps import AppConfig


class LearningConfig(AppConfig):
    name = "learning"

    def ready(self) -> None:
        # Job handlers and event consumers register by being imported.
        from learning import (  # noqa: F401
            audited,
            comparisons,
            draft_tasks,
            drift_tasks,
            mirror_tasks,
            reply_tasks,
            search_tasks,
            selection_tasks,
            sentiment_tasks,
            tasks,
            topic_tasks,
            topic_webhooks,
            webhooks,
        )

        audited.register()
