"""The endpoints and pages of learning/, and the fragments that pages further left show."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from learning import (
    cards_api,
    comparisons_api,
    drift_api,
    drift_pages,
    model_pages,
    reply_pages,
    run_pages,
    topic_pages,
    topics_api,
    views,
)

endpoints: list[URLPattern | URLResolver] = [
    path("comparisons", comparisons_api.Comparisons.as_view(), name="comparisons"),
    path("drift", drift_api.DriftReports.as_view(), name="drift-reports"),
    path("drift/<int:report_id>", drift_api.OneDriftReport.as_view(), name="drift-report"),
    path("drift/verdicts", drift_api.Verdicts.as_view(), name="drift-verdicts"),
    path("drift/guard", drift_api.Guard.as_view(), name="loop-guard"),
    path("models/<int:number>/card", cards_api.ModelCard.as_view(), name="model-card"),
    path("models/<int:number>/data-card", cards_api.DatasetCard.as_view(), name="model-data-card"),
    path("models/<int:number>/lineage", cards_api.ModelLineage.as_view(), name="model-lineage"),
    path("inquiries/<uuid:inquiry_id>/explanation", cards_api.InquiryExplanation.as_view(), name="inquiry-explanation"),
    path("topics", topics_api.Topics.as_view(), name="topics"),
    path("topics/runs", topics_api.TopicRuns.as_view(), name="topics-run"),
    path("topics/<int:topic>", topics_api.OneTopic.as_view(), name="topic"),
    path("topics/<int:topic>/merge", topics_api.TopicMerge.as_view(), name="topic-merge"),
    path("topics/<int:topic>/split", topics_api.TopicSplit.as_view(), name="topic-split"),
    path("topics/<int:topic>/label", topics_api.TopicLabel.as_view(), name="topic-label"),
    path("topics/<int:topic>/category", topics_api.TopicCategory.as_view(), name="topic-category"),
]

pages: list[URLPattern | URLResolver] = [
    path("loop", views.loop, name="loop"),
    path("loop/live", views.live, name="loop-live"),
    path("drift", drift_pages.drift, name="drift"),
    path("drift/live", drift_pages.drift_live, name="drift-live"),
    path("drift/check", drift_pages.drift_check, name="drift-check"),
    path("drift/settings", drift_pages.drift_settings, name="drift-settings"),
    path("drift/simulation", drift_pages.drift_simulation, name="drift-simulation"),
    path("charts/<slug:chart>.<slug:kind>", drift_pages.chart, name="chart"),
    path("replies", reply_pages.replies, name="replies"),
    path("replies/<slug:act>", reply_pages.reply_act, name="reply-act"),
    path("models/compare", model_pages.compare, name="models-compare"),
    path("models/<int:number>", model_pages.model, name="model-page"),
    path("runs/<int:run_id>/labels", run_pages.report, name="run-report"),
    path("runs/<int:run_id>/labels.html", run_pages.report_file, name="run-report-file"),
    path("inquiries/<uuid:inquiry_id>/decision", views.decision, name="decision"),
    path("inquiries/<uuid:inquiry_id>/explanation", model_pages.explanation, name="explanation"),
    path("topics", topic_pages.topics, name="topic-map"),
    path("topics/points", topic_pages.points, name="topic-points"),
    path("topics/run", topic_pages.run, name="topic-map-run"),
    path("topics/label", topic_pages.label, name="topic-map-label"),
    path("topics/<int:topic>", topic_pages.topic_page, name="topic-page"),
    path("topics/<int:topic>/<slug:act>", topic_pages.act, name="topic-act"),
]
