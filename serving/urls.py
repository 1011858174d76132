"""The endpoints of serving/: inquiries, predictions, and the models that answer them."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from serving import api, policies_api

endpoints: list[URLPattern | URLResolver] = [
    path("inquiries", api.inquiries, name="inquiries"),
    path("inquiries/<uuid:inquiry_id>", api.inquiry, name="inquiry"),
    path("inquiries/<uuid:inquiry_id>/escalate", api.escalate, name="inquiry-escalate"),
    path("predict", api.predict, name="predict"),
    path("predict/batch", api.predict_batch, name="predict-batch"),
    path("models", api.Models.as_view(), name="models"),
    path("models/<int:number>/promote", api.ModelAction.as_view(action="promote"), name="model-promote"),
    path("models/<int:number>/rollback", api.ModelAction.as_view(action="rollback"), name="model-rollback"),
    path("policies", policies_api.Policies.as_view(), name="policies"),
    path("policies/<int:number>/rollback", policies_api.PolicyRollback.as_view(), name="policy-rollback"),
]
