"""The Celery application: queues `io` (short wake-ups), `learn` (training) and `bulk`, and what beat sends."""

from __future__ import annotations

import os
import resource
import warnings
from typing import Any

from celery import Celery
from celery.platforms import SecurityWarning  # type: ignore[attr-defined]
from celery.signals import beat_init, celeryd_init, worker_process_init

from config import connections, entry

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

# Whoever runs the demo as root knows it; the image of the Dockerfile does not.
warnings.filterwarnings("ignore", category=SecurityWarning)

app = Celery("enso")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.set_default()
app.conf.beat_schedule = {
    "relay the outbox": {"task": "feedback.relay_outbox", "schedule": 2.0, "options": {"expires": 4}},
    "fold scores": {"task": "feedback.fold_scores", "schedule": 5.0, "options": {"expires": 10}},
    "sweep orphaned events": {"task": "feedback.sweep_orphans", "schedule": 600.0, "options": {"expires": 1200}},
    "send webhook notices": {"task": "feedback.send_notices", "schedule": 5.0, "options": {"expires": 10}},
    "judge batches and fold the queue's counters": {
        "task": "labeling.keep_house",
        "schedule": 60.0,
        "options": {"expires": 120},
    },
    "re-send lost jobs": {"task": "feedback.sweep_jobs", "schedule": 5.0, "options": {"expires": 10}},
    "announce missed targets": {"task": "labeling.alert_breaches", "schedule": 30.0, "options": {"expires": 60}},
    "train where labels have come": {
        "task": "learning.schedule_trainings",
        "schedule": 60.0,
        "options": {"expires": 120},
    },
    "look at rollouts": {"task": "serving.advance_rollouts", "schedule": 30.0, "options": {"expires": 60}},
    "look at policies on trial": {
        "task": "serving.look_at_policy_trials",
        "schedule": 300.0,
        "options": {"expires": 600},
    },
    "distill encoders where texts have come": {
        "task": "learning.schedule_students",
        "schedule": 3600.0,
        "options": {"expires": 3600},
    },
    "learn which replies are preferred where votes have come": {
        "task": "learning.schedule_replies",
        "schedule": 300.0,
        "options": {"expires": 600},
    },
    "have drafts written for open cases": {
        "task": "learning.schedule_drafts",
        "schedule": 60.0,
        "options": {"expires": 120},
    },
    "keep the request log's days": {
        "task": "serving.keep_request_log",
        "schedule": 3600.0,
        "options": {"expires": 3600},
    },
    "check for drift": {"task": "learning.schedule_drift", "schedule": 20.0, "options": {"expires": 40}},
    "learn to read comments where rated ones have come": {
        "task": "learning.schedule_sentiment",
        "schedule": 300.0,
        "options": {"expires": 600},
    },
    "give new texts their topics": {"task": "learning.place_arrivals", "schedule": 60.0, "options": {"expires": 120}},
    "look after searches for options": {
        "task": "learning.schedule_searches",
        "schedule": 20.0,
        "options": {"expires": 40},
    },
    "look after selections": {
        "task": "learning.schedule_selections",
        "schedule": 20.0,
        "options": {"expires": 40},
    },
    "mirror runs to MLflow": {"task": "learning.schedule_mirrors", "schedule": 300.0, "options": {"expires": 600}},
    "find topics every night": {"task": "learning.schedule_topics", "schedule": 300.0, "options": {"expires": 600}},
}


@celeryd_init.connect
@beat_init.connect
def start_servers(**kwargs: Any) -> None:
    """A worker or beat that is started by hand needs its servers too."""
    entry.prepare()
    connections.keep_one_per_thread()


LEARNER = "learn@"
_learner = False


@celeryd_init.connect
def know_the_learner(sender: str = "", **kwargs: Any) -> None:
    """The worker whose name begins with learn@ trains; its children are limited."""
    global _learner
    _learner = str(sender).startswith(LEARNER)


@worker_process_init.connect
def limit_memory(**kwargs: Any) -> None:
    """A training that would take more memory gets a MemoryError, which its job reports, instead of taking the machine's."""
    from django.conf import settings

    if _learner and settings.ENSO_LEARNER_MEMORY_MB:
        allowed = settings.ENSO_LEARNER_MEMORY_MB * 2**20
        resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))
