"""The desk and the console: their pages, and what the desk asks for beyond the queue itself."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from labeling import api, console, desk, reveal, webhook_pages

pages: list[URLPattern | URLResolver] = [
    path("label", desk.desk, name="desk"),
    path("adjudicate", desk.adjudicate, name="adjudicate"),
    path("cases", console.cases, name="cases"),
    path("cases/<int:case_id>", console.case, name="case"),
    path("cases/<int:case_id>/resolve", console.resolve, name="case-resolve"),
    path("cases/<int:case_id>/assign", console.assign, name="case-assign"),
    path("inquiries/<uuid:inquiry_id>/reveal", reveal.reveal, name="reveal"),
    path("webhooks", webhook_pages.webhook_list, name="webhook-list"),
    path("webhooks/<int:webhook_id>/<slug:action>", webhook_pages.webhook_action, name="webhook-action"),
    path("notices/<int:notice_id>/again", webhook_pages.notice_replay, name="notice-again"),
]

endpoints: list[URLPattern | URLResolver] = [
    path("queue/next", api.QueueNext.as_view(), name="queue-next"),
    path("queue/status", api.DeskStatus.as_view(), name="queue-status"),
    path("tasks/<int:task_id>/annotations", api.TaskAnnotations.as_view(), name="task-annotations"),
    path("tasks/<int:task_id>/heartbeat", api.TaskHeartbeat.as_view(), name="task-heartbeat"),
    path("tasks/<int:task_id>/release", api.TaskRelease.as_view(), name="task-release"),
    path("tasks/<int:task_id>/skip", api.TaskSkip.as_view(), name="task-skip"),
    path("tasks/<int:task_id>/escalate", api.TaskEscalate.as_view(), name="task-escalate"),
    path("tasks/<int:task_id>/flag", api.TaskFlag.as_view(), name="task-flag"),
    path("tasks/<int:task_id>/undo", api.TaskUndo.as_view(), name="task-undo"),
    path("agreement", api.Agreement.as_view(), name="agreement"),
]
