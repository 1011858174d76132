"""What of feedback/ is audited: settings, categories, replies, people, roles, keys, trusted issuers and webhooks.

Inquiries and events are not: they are what customers did.
"""

from __future__ import annotations

from feedback.audit import Recorded, keep_for_good, record
from feedback.models import (
    ApiKey,
    AuditEvent,
    Category,
    ClientApp,
    Membership,
    Project,
    Reply,
    TokenIssuer,
    User,
    Webhook,
)

_APPS_PROJECT = "(SELECT a.project_id FROM feedback_clientapp a WHERE a.id = {row}.app_id)"
SETTINGS = (
    "slug", "name", "confidence_threshold", "anger_threshold", "answers_by_hand", "audit_rate", "overlap", "lease_seconds",
    "strategy", "retrain_after_labels", "click_weight", "dwell_weight", "scroll_weight", "dwell_rate", "rating_weight",
    "sentiment_weight", "nps_weight", "rating_min", "rating_max", "double_share",
    "risk_share", "diversity_share", "retire_sure", "gold_rate", "patience_days",
    "review_share", "dwell_curve", "anonymous_weight", "limit_per_minute", "limit_burst",
    "page_limit_per_minute", "order_templates", "archived_at",
)  # fmt: skip


def register() -> None:
    """Called when the app is ready."""
    record(Project, Recorded("project", SETTINGS, project="{row}.id"))
    record(
        Category,
        Recorded(
            "category",
            ("key", "name", "names", "high_risk", "overlap", "restricted", "position", "archived_at"),
            texts=("description", "examples", "guideline"),
        ),
    )
    record(
        Reply, Recorded("reply", ("category_id", "locale", "slot", "version", "active", "expires_at"), texts=("text",))
    )
    record(Membership, Recorded("role", ("user_id", "role")))
    record(ClientApp, Recorded("app", ("name",)))
    record(
        ApiKey,
        Recorded(
            "key",
            ("prefix", "scopes", "expires_at", "revoked_at", "app_id", "origins", "replaces_id"),
            project=_APPS_PROJECT,
        ),
    )
    # An address may carry a password and a webhook's path is often one: of both it is recorded only that they changed.
    record(
        TokenIssuer,
        Recorded(
            "issuer",
            (
                "issuer",
                "audience",
                "jwks_file",
                "algorithms",
                "scope_claim",
                "scope_map",
                "scopes",
                "revoked_at",
                "app_id",
            ),
            project=_APPS_PROJECT,
            texts=("jwks_url",),
        ),
    )
    record(Webhook, Recorded("webhook", ("kinds", "active"), texts=("url", "secret")))
    flags = ("is_active", "is_staff", "is_superuser")
    record(User, Recorded("person", flags, project="NULL::bigint", texts=("password", "email")))
    keep_for_good(AuditEvent)
