"""The endpoints of feedback/: what apps post, and the jobs that run for them."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from feedback import api, jobs_api, privacy_api, webhooks_api

endpoints: list[URLPattern | URLResolver] = [
    path("feedback", api.feedback, name="feedback"),
    path("inquiries/<uuid:inquiry_id>/reveal", privacy_api.InquiryReveal.as_view(), name="inquiry-reveal"),
    path("webhooks", webhooks_api.Webhooks.as_view(), name="webhooks"),
    path("webhooks/<int:webhook_id>", webhooks_api.WebhookOne.as_view(), name="webhook"),
    path("webhooks/<int:webhook_id>/rotate", webhooks_api.WebhookRotate.as_view(), name="webhook-rotate"),
    path("webhooks/<int:webhook_id>/notices", webhooks_api.WebhookNotices.as_view(), name="webhook-notices"),
    path("webhooks/<int:webhook_id>/replay", webhooks_api.WebhookReplay.as_view(), name="webhook-replay"),
    path("notices/<int:notice_id>/replay", webhooks_api.NoticeReplay.as_view(), name="notice-replay"),
    path("jobs", jobs_api.Jobs.as_view(), name="jobs"),
    path("jobs/<int:job_id>/cancel", jobs_api.JobCancel.as_view(), name="job-cancel"),
]
