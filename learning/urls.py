"""The endpoints and pages of learning/, and the fragments that pages further left show."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from learning import cards_api, model_pages, views

endpoints: list[URLPattern | URLResolver] = [
    path("models/<int:number>/card", cards_api.ModelCard.as_view(), name="model-card"),
    path("models/<int:number>/data-card", cards_api.DatasetCard.as_view(), name="model-data-card"),
    path("models/<int:number>/lineage", cards_api.ModelLineage.as_view(), name="model-lineage"),
    path("inquiries/<uuid:inquiry_id>/explanation", cards_api.InquiryExplanation.as_view(), name="inquiry-explanation"),
]

pages: list[URLPattern | URLResolver] = [
    path("loop", views.loop, name="loop"),
    path("loop/live", views.live, name="loop-live"),
    path("models/compare", model_pages.compare, name="models-compare"),
    path("models/<int:number>", model_pages.model, name="model-page"),
    path("inquiries/<uuid:inquiry_id>/decision", views.decision, name="decision"),
    path("inquiries/<uuid:inquiry_id>/explanation", model_pages.explanation, name="explanation"),
]
