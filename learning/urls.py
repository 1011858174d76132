"""The pages of learning/, and the fragments that pages further left show."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from learning import views

pages: list[URLPattern | URLResolver] = [
    path("loop", views.loop, name="loop"),
    path("loop/live", views.live, name="loop-live"),
    path("inquiries/<uuid:inquiry_id>/decision", views.decision, name="decision"),
]
