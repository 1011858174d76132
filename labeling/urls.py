"""The desk and the console: their pages, and what the desk asks for beyond the queue itself."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from labeling import (
    agreement_api,
    api,
    audit,
    case_actions,
    case_api,
    case_proposals,
    compare_page,
    comparison_api,
    console,
    desk,
    desk_api,
    guideline_pages,
    hours,
    quality,
    reveal,
    webhook_pages,
)
from labeling.exchange import api as exchange_api
from labeling.exchange import views as exchange

pages: list[URLPattern | URLResolver] = [
    path("label", desk.desk, name="desk"),
    path("adjudicate", desk.adjudicate, name="adjudicate"),
    path("compare", compare_page.compare, name="compare"),
    path("my-work", quality.my_work, name="my-work"),
    path("quality", quality.quality, name="quality"),
    path("quality/clear-leases", quality.clear_leases, name="clear-leases"),
    path("cases", console.cases, name="cases"),
    path("cases/<int:case_id>", console.case, name="case"),
    path("cases/hours", hours.service_level, name="service-level"),
    path("proposals", case_proposals.proposals, name="guideline-proposals"),
    path("proposals/<int:finding_id>", case_proposals.decide, name="guideline-decide"),
    path("cases/views", console.views, name="case-views"),
    path("cases/batch", case_actions.batch, name="case-batch"),
    path("cases/batch/<int:batch_id>/undo", case_actions.undo_batch, name="case-batch-undo"),
    path("cases/<int:case_id>/presence", console.presence, name="case-presence"),
    path("cases/<int:case_id>/resolve", case_actions.answer, name="case-resolve"),
    path("cases/<int:case_id>/assign", case_actions.assign, name="case-assign"),
    path("cases/<int:case_id>/snooze", case_actions.snooze, name="case-snooze"),
    path("cases/<int:case_id>/priority", case_actions.level, name="case-priority"),
    path("cases/<int:case_id>/note", case_actions.note, name="case-note"),
    path("cases/<int:case_id>/draft/dismiss", case_actions.dismiss_draft, name="case-draft-dismiss"),
    path("categories/<int:category_id>/guideline", guideline_pages.guideline, name="category-guideline"),
    path("inquiries/<uuid:inquiry_id>/reveal", reveal.reveal, name="reveal"),
    path("exchange", exchange.exchange, name="exchange"),
    path("exchange/live", exchange.live, name="exchange-live"),
    path("exchange/import", exchange.import_file, name="exchange-import"),
    path("exchange/export", exchange.export, name="exchange-export"),
    path("exchange/labels", exchange.labels, name="exchange-labels"),
    path("exchange/<int:exchange_id>/refused", exchange.faults, name="exchange-faults"),
    path("exchange/<int:exchange_id>/file", exchange.made, name="exchange-file"),
    path("exchange/<int:exchange_id>/cancel", exchange.cancel, name="exchange-cancel"),
    path("audit", audit.audit, name="audit"),
    path("webhooks", webhook_pages.webhook_list, name="webhook-list"),
    path("webhooks/<int:webhook_id>/<slug:action>", webhook_pages.webhook_action, name="webhook-action"),
    path("notices/<int:notice_id>/again", webhook_pages.notice_replay, name="notice-again"),
]

endpoints: list[URLPattern | URLResolver] = [
    path("queue/next", desk_api.next_item, name="queue-next"),
    path("queue/history", api.DeskHistory.as_view(), name="queue-history"),
    path("queue/statistics", api.DeskStatistics.as_view(), name="queue-statistics"),
    path("queue/clear-leases", api.ClearLeases.as_view(), name="queue-clear-leases"),
    path("queue/status", api.DeskStatus.as_view(), name="queue-status"),
    path("tasks/<int:task_id>/annotations", desk_api.answer_item, name="task-annotations"),
    path("tasks/<int:task_id>/heartbeat", desk_api.heartbeat, name="task-heartbeat"),
    path("tasks/<int:task_id>/release", api.TaskRelease.as_view(), name="task-release"),
    path("tasks/<int:task_id>/skip", api.TaskSkip.as_view(), name="task-skip"),
    path("tasks/<int:task_id>/escalate", api.TaskEscalate.as_view(), name="task-escalate"),
    path("tasks/<int:task_id>/flag", api.TaskFlag.as_view(), name="task-flag"),
    path("tasks/<int:task_id>/return", api.TaskReturn.as_view(), name="task-return"),
    path("tasks/<int:task_id>/undo", api.TaskUndo.as_view(), name="task-undo"),
    path("comparisons/next", comparison_api.ComparisonNext.as_view(), name="comparison-next"),
    path("comparisons/status", comparison_api.ComparisonStatus.as_view(), name="comparison-status"),
    path(
        "comparisons/<int:comparison_id>/verdict", comparison_api.ComparisonVerdict.as_view(), name="comparison-verdict"
    ),
    path(
        "comparisons/<int:comparison_id>/heartbeat",
        comparison_api.ComparisonHeartbeat.as_view(),
        name="comparison-heartbeat",
    ),
    path(
        "comparisons/<int:comparison_id>/release", comparison_api.ComparisonRelease.as_view(), name="comparison-release"
    ),
    path("comparisons/<int:comparison_id>/undo", comparison_api.ComparisonUndo.as_view(), name="comparison-undo"),
    path("agreement", agreement_api.Agreement.as_view(), name="agreement"),
    path("reliability", agreement_api.Reliability.as_view(), name="reliability"),
    path("gold", agreement_api.Gold.as_view(), name="gold"),
    path("qualifications", agreement_api.Qualifications.as_view(), name="qualifications"),
    path("escalations", case_api.Escalations.as_view(), name="escalations"),
    path("escalations/<int:case_id>", case_api.EscalationDetail.as_view(), name="escalation"),
    path("escalations/<int:case_id>/assign", case_api.EscalationAssign.as_view(), name="escalation-assign"),
    path("escalations/<int:case_id>/snooze", case_api.EscalationSnooze.as_view(), name="escalation-snooze"),
    path("escalations/<int:case_id>/priority", case_api.EscalationPriority.as_view(), name="escalation-priority"),
    path("escalations/<int:case_id>/note", case_api.EscalationNote.as_view(), name="escalation-note"),
    path("escalations/<int:case_id>/reply", case_api.EscalationReply.as_view(), name="escalation-reply"),
    path("escalations/<int:case_id>/resolve", case_api.EscalationResolve.as_view(), name="escalation-resolve"),
    path("labels", exchange_api.labels, name="labels"),
]
