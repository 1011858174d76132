"""feedback/ over HTTP: what apps post, the jobs that run for them, and the pages on which leads set a desk up."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from feedback import (
    api,
    jobs_api,
    page_events,
    pages,
    people_pages,
    privacy_api,
    scores_api,
    webhooks_api,
)

endpoints: list[URLPattern | URLResolver] = [
    path("feedback", api.feedback, name="feedback"),
    path("inquiries/<uuid:inquiry_id>/reveal", privacy_api.InquiryReveal.as_view(), name="inquiry-reveal"),
    path("scores", scores_api.Scores.as_view(), name="scores"),
    path("scores/preview", scores_api.ScoresPreview.as_view(), name="scores-preview"),
    path("scores/weights", scores_api.ScoresWeights.as_view(), name="scores-weights"),
    path("webhooks", webhooks_api.Webhooks.as_view(), name="webhooks"),
    path("webhooks/<int:webhook_id>", webhooks_api.WebhookOne.as_view(), name="webhook"),
    path("webhooks/<int:webhook_id>/rotate", webhooks_api.WebhookRotate.as_view(), name="webhook-rotate"),
    path("webhooks/<int:webhook_id>/notices", webhooks_api.WebhookNotices.as_view(), name="webhook-notices"),
    path("webhooks/<int:webhook_id>/replay", webhooks_api.WebhookReplay.as_view(), name="webhook-replay"),
    path("notices/<int:notice_id>/replay", webhooks_api.NoticeReplay.as_view(), name="notice-replay"),
    path("jobs", jobs_api.Jobs.as_view(), name="jobs"),
    path("jobs/<int:job_id>/cancel", jobs_api.JobCancel.as_view(), name="job-cancel"),
]

# Under /p/<slug>/.
project_pages: list[URLPattern | URLResolver] = [
    path("settings", pages.settings, name="settings"),
    path("settings/archive", pages.archive, name="archive"),
    path("categories", pages.categories, name="categories"),
    path("categories/<int:category_id>", pages.category, name="category"),
    path("categories/<int:category_id>/act", pages.category_act, name="category-act"),
    path("categories/<int:category_id>/reply", pages.reply, name="category-reply"),
    path("people", people_pages.members, name="people"),
    path("people/<int:user_id>", people_pages.member, name="person"),
]
own_pages: list[URLPattern | URLResolver] = [path("projects", pages.projects, name="projects")]

# What web pages of other origins ask for; short and stable, because it is written into their source.
public: list[URLPattern | URLResolver] = [
    path("feedback", page_events.feedback, name="page-feedback"),
    path("enso.js", page_events.script, name="page-script"),
]
