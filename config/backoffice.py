"""The back office at /admin: for superusers, on Unfold. Rows to look up and repair, and no customer's text.

Work has its own screens; what is listed here is what those do not show. Unfold brings inline styles and evaluates
expressions, so its path has a content policy of its own (config/middleware.py): scripts still come from here alone.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.sites import UnfoldAdminSite

from feedback.models import ApiKey, Category, ClientApp, Job, Membership, OutboxEvent, Project, Reply, User
from labeling.case_models import ServiceLevel


class BackOffice(UnfoldAdminSite):  # type: ignore[misc]
    """Superusers only: `is_staff` alone opens nothing. Signing in is the product's own, where attempts are limited."""

    site_header = site_title = "Enso"
    index_title = "Back office"

    def has_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_active and request.user.is_superuser)

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        if request.user.is_authenticated:
            raise PermissionDenied("The back office is for superusers.")
        return redirect_to_login(request.get_full_path(), "sign-in")


site = BackOffice(name="admin")


class ReadOnly(ModelAdmin):  # type: ignore[misc]
    """Rows that only the product itself writes."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(User, site=site)
class Users(UserAdmin, ModelAdmin):  # type: ignore[misc, type-arg]
    form, add_form, change_password_form = UserChangeForm, UserCreationForm, AdminPasswordChangeForm
    list_display = ("username", "email", "is_active", "is_superuser", "last_login")


@admin.register(Membership, site=site)
class Memberships(ModelAdmin):  # type: ignore[misc]
    list_display, list_filter = ("user", "project", "role"), ("project", "role")
    autocomplete_fields = ("user",)


@admin.register(Project, site=site)
class Projects(ModelAdmin):  # type: ignore[misc]
    list_display, search_fields = ("slug", "name", "archived_at", "created_at"), ("slug", "name")


@admin.register(Category, site=site)
class Categories(ModelAdmin):  # type: ignore[misc]
    list_display, list_filter, search_fields = (
        ("key", "name", "project", "high_risk", "archived_at"),
        ("project",),
        ("key", "name"),
    )


@admin.register(Reply, site=site)
class Replies(ReadOnly):
    list_display, list_filter = ("category", "locale", "slot", "version", "active"), ("project", "locale", "active")


@admin.register(ClientApp, site=site)
class Apps(ModelAdmin):  # type: ignore[misc]
    list_display, list_filter = ("name", "project"), ("project",)


@admin.register(ApiKey, site=site)
class Keys(ReadOnly):
    list_display = ("prefix", "app", "scopes", "created_at", "last_used_at", "expires_at", "revoked_at")
    exclude = ("digest",)


@admin.register(ServiceLevel, site=site)
class ServiceLevels(ReadOnly):
    list_display = ("project", "zone")


@admin.register(Job, site=site)
class Jobs(ReadOnly):
    list_display, list_filter = (
        ("kind", "project", "state", "attempt", "progress", "stage", "created_at"),
        ("state", "kind"),
    )


@admin.register(OutboxEvent, site=site)
class Events(ReadOnly):
    list_display, list_filter = ("kind", "project", "state", "attempts", "available_at", "error"), ("state", "kind")
