from __future__ import annotations

from django.apps import AppConfig


class ServingConfig(AppConfig):
    name = "serving"

    def ready(self) -> None:
        # Job handlers and event consumers register by being imported.
        from serving import audited, batch, blocked, exchange, policy_trials, rollout_tasks, tasks, webhooks  # noqa: F401

        audited.register()
