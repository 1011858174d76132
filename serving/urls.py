"""The endpoints of serving/: inquiries, predictions, and the models that answer them."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from serving import api, batch_api, model_pages, policies_api, registry_api, rollouts_api

endpoints: list[URLPattern | URLResolver] = [
    path("inquiries", api.inquiries, name="inquiries"),
    path("inquiries/<uuid:inquiry_id>", api.inquiry, name="inquiry"),
    path("inquiries/<uuid:inquiry_id>/escalate", api.escalate, name="inquiry-escalate"),
    path("predict", api.predict, name="predict"),
    path("predict/batch", api.predict_batch, name="predict-batch"),
    path("predict/stream", batch_api.predict_stream, name="predict-stream"),
    path("predict/files", batch_api.predict_files, name="predict-files"),
    path("predict/files/<int:prediction_id>", batch_api.predict_file, name="predict-file"),
    path("predict/files/<int:prediction_id>/result", batch_api.predict_result, name="predict-result"),
    path("predict/files/<int:prediction_id>/cancel", batch_api.predict_cancel, name="predict-cancel"),
    path("models", registry_api.Models.as_view(), name="models"),
    path("models/<int:number>", registry_api.Model.as_view(), name="model"),
    path("models/<int:number>/promote", registry_api.ModelPromote.as_view(), name="model-promote"),
    path("models/<int:number>/rollback", registry_api.ModelRollback.as_view(), name="model-rollback"),
    path("models/<int:number>/aliases/<slug:alias>", registry_api.ModelAlias.as_view(), name="model-alias"),
    path("policies", policies_api.Policies.as_view(), name="policies"),
    path("policies/<int:number>/rollback", policies_api.PolicyRollback.as_view(), name="policy-rollback"),
    path("models/<int:number>/rollout", rollouts_api.RolloutStart.as_view(), name="rollout-start"),
    path("rollouts", rollouts_api.Rollouts.as_view(), name="rollouts"),
    *(
        path(f"rollouts/<int:rollout_id>/{move}", rollouts_api.RolloutMove.as_view(move=move), name=f"rollout-{move}")
        for move in rollouts_api.MOVES
    ),
    path("sample-size", rollouts_api.SampleSize.as_view(), name="sample-size"),
]

# Under /p/<slug>/.
pages: list[URLPattern | URLResolver] = [
    path("models", model_pages.models_page, name="model-versions"),
    path("models/settings", model_pages.rollout_settings, name="rollout-settings"),
    path("models/<int:number>/<slug:deed>", model_pages.model_act, name="model-act"),
    path("rollouts/<int:rollout_id>/<slug:move>", model_pages.rollout_act, name="rollout-act"),
]
