"""Every URL, in one place."""

from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.urls import URLPattern, URLResolver, include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

import config.pages
import feedback.api
import feedback.jobs_api
import labeling.api
import labeling.urls
import learning.urls
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

pages: list[URLPattern | URLResolver] = [
    path("", config.pages.home, name="home"),
    path("sign-in", config.pages.SignIn.as_view(), name="sign-in"),
    path("sign-out", LogoutView.as_view(), name="sign-out"),
    path("preferences", config.pages.preferences, name="preferences"),
    path("language", config.pages.language, name="language"),
    path("theme", config.pages.theme, name="theme"),
    path("p/<slug:slug>/", config.pages.project, name="project"),
    path("p/<slug:slug>/", include(labeling.urls.pages)),
    path("p/<slug:slug>/", include(learning.urls.pages)),
]

urlpatterns = [
    path("", include(pages)),
    path("api/v1/", include([*api, *labeling.urls.endpoints])),
    path("api/schema", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
]
