"""The Celery application: queues `io` (short wake-ups), `learn` (training) and `bulk`, and what beat sends."""

from __future__ import annotations

from config import entry

entry.prepare()

from celery import Celery  # noqa: E402 - the servers come first

app = Celery("enso")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.conf.beat_schedule = {
    "relay the outbox": {"task": "feedback.relay_outbox", "schedule": 2.0, "options": {"expires": 4}},
    "re-send lost jobs": {"task": "feedback.sweep_jobs", "schedule": 5.0, "options": {"expires": 10}},
    "train where labels have come": {
        "task": "learning.schedule_trainings",
        "schedule": 60.0,
        "options": {"expires": 120},
    },
}
