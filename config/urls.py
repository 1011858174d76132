"""Every URL, in one place."""

from __future__ import annotations

from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

import feedback.api
import feedback.jobs_api
import labeling.api
import serving.api
from config import health

api = [
    path("inquiries", serving.api.inquiries, name="inquiries"),
    path("inquiries/<uuid:inquiry_id>", serving.api.inquiry, name="inquiry"),
    path("inquiries/<uuid:inquiry_id>/escalate", serving.api.escalate, name="inquiry-escalate"),
    path("predict", serving.api.predict, name="predict"),
    path("predict/batch", serving.api.predict_batch, name="predict-batch"),
    path("feedback", feedback.api.feedback, name="feedback"),
    path("queue/next", labeling.api.QueueNext.as_view(), name="queue-next"),
    path("tasks/<int:task_id>/annotations", labeling.api.TaskAnnotations.as_view(), name="task-annotations"),
    path("tasks/<int:task_id>/heartbeat", labeling.api.TaskHeartbeat.as_view(), name="task-heartbeat"),
    path("tasks/<int:task_id>/release", labeling.api.TaskRelease.as_view(), name="task-release"),
    path("agreement", labeling.api.Agreement.as_view(), name="agreement"),
    path("jobs", feedback.jobs_api.Jobs.as_view(), name="jobs"),
    path("jobs/<int:job_id>/cancel", feedback.jobs_api.JobCancel.as_view(), name="job-cancel"),
    path("models", serving.api.Models.as_view(), name="models"),
    path("models/<int:number>/promote", serving.api.ModelAction.as_view(action="promote"), name="model-promote"),
    path("models/<int:number>/rollback", serving.api.ModelAction.as_view(action="rollback"), name="model-rollback"),
]

urlpatterns = [
    path("api/v1/", include(api)),
    path("api/schema", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
]
