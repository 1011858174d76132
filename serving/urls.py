"""The endpoints of serving/: inquiries, predictions, and the models that answer them."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from serving import api, policies_api, registry_api

endpoints: list[URLPattern | URLResolver] = [
    path("inquiries", api.inquiries, name="inquiries"),
    path("inquiries/<uuid:inquiry_id>", api.inquiry, name="inquiry"),
    path("inquiries/<uuid:inquiry_id>/escalate", api.escalate, name="inquiry-escalate"),
    path("predict", api.predict, name="predict"),
    path("predict/batch", api.predict_batch, name="predict-batch"),
    path("models", registry_api.Models.as_view(), name="models"),
    path("models/<int:number>", registry_api.Model.as_view(), name="model"),
    path("models/<int:number>/promote", registry_api.ModelPromote.as_view(), name="model-promote"),
    path("models/<int:number>/rollback", registry_api.ModelRollback.as_view(), name="model-rollback"),
    path("models/<int:number>/aliases/<slug:alias>", registry_api.ModelAlias.as_view(), name="model-alias"),
    path("policies", policies_api.Policies.as_view(), name="policies"),
    path("policies/<int:number>/rollback", policies_api.PolicyRollback.as_view(), name="policy-rollback"),
]
