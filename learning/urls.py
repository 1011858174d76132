"""The endpoints and pages of learning/, and the fragments that pages further left show."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from learning import cards_api, drift_api, drift_pages, model_pages, views

endpoints: list[URLPattern | URLResolver] = [
    path("drift", drift_api.DriftReports.as_view(), name="drift-reports"),
    path("drift/<int:report_id>", drift_api.OneDriftReport.as_view(), name="drift-report"),
    path("drift/verdicts", drift_api.Verdicts.as_view(), name="drift-verdicts"),
    path("drift/guard", drift_api.Guard.as_view(), name="loop-guard"),
    path("models/<int:number>/card", cards_api.ModelCard.as_view(), name="model-card"),
    path("models/<int:number>/data-card", cards_api.DatasetCard.as_view(), name="model-data-card"),
    path("models/<int:number>/lineage", cards_api.ModelLineage.as_view(), name="model-lineage"),
    path("inquiries/<uuid:inquiry_id>/explanation", cards_api.InquiryExplanation.as_view(), name="inquiry-explanation"),
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
    path("models/compare", model_pages.compare, name="models-compare"),
    path("models/<int:number>", model_pages.model, name="model-page"),
    path("inquiries/<uuid:inquiry_id>/decision", views.decision, name="decision"),
    path("inquiries/<uuid:inquiry_id>/explanation", model_pages.explanation, name="explanation"),
]
