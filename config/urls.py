"""Every URL, in one place."""

from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.urls import URLPattern, URLResolver, include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

import config.key_pages
import config.pages
import config.schema
import feedback.urls
import labeling.urls
import learning.urls
import serving.urls
from config import backoffice, health, observability

api = [*feedback.urls.endpoints, *labeling.urls.endpoints, *serving.urls.endpoints, *learning.urls.endpoints]

pages: list[URLPattern | URLResolver] = [
    path("", config.pages.home, name="home"),
    path("sign-in", config.pages.SignIn.as_view(), name="sign-in"),
    path("sign-out", LogoutView.as_view(), name="sign-out"),
    path("preferences", config.pages.preferences, name="preferences"),
    path("language", config.pages.language, name="language"),
    path("theme", config.pages.theme, name="theme"),
    path("welcome/<uidb64>/<token>/", config.pages.Welcome.as_view(), name="welcome"),
    path("", include(feedback.urls.own_pages)),
    path("p/<slug:slug>/", config.pages.project, name="project"),
    path("p/<slug:slug>/", include(feedback.urls.project_pages)),
    path("p/<slug:slug>/keys", config.key_pages.keys, name="keys"),
    path("p/<slug:slug>/keys/<int:key_id>/rotate", config.key_pages.rotate, name="key-rotate"),
    path("p/<slug:slug>/keys/<int:key_id>/revoke", config.key_pages.revoke, name="key-revoke"),
    path("p/<slug:slug>/", include(labeling.urls.pages)),
    path("p/<slug:slug>/", include(serving.urls.pages)),
    path("p/<slug:slug>/", include(learning.urls.pages)),
]

urlpatterns = [
    path("", include(pages)),
    path("", include(feedback.urls.public)),
    path("api/v1/", include(api)),
    path("api/schema", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", observability.metrics, name="metrics"),
    path("admin/", backoffice.site.urls),
]
