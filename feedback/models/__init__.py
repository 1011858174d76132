"""The schema of what apps and customers send, and of the mechanisms that all four apps share."""

from feedback.models.accounts import Membership, Role, User
from feedback.models.audit import AuditEvent
from feedback.models.credentials import ApiKey, TokenIssuer
from feedback.models.events import Event, InquiryScore, Kind, ScoreCell, Unscored
from feedback.models.inquiries import Fold, Inquiry, Status
from feedback.models.mechanisms import Delivery, IdempotencyRecord, Job, JobState, OutboxEvent, OutboxState
from feedback.models.privacy import Original, Reveal
from feedback.models.projects import Category, ClientApp, Project, Reply
from feedback.models.webhooks import Notice, NoticeState, Webhook

__all__ = [
    "ApiKey",
    "AuditEvent",
    "Category",
    "ClientApp",
    "Delivery",
    "Event",
    "Fold",
    "IdempotencyRecord",
    "Inquiry",
    "InquiryScore",
    "Job",
    "JobState",
    "Kind",
    "Membership",
    "Notice",
    "NoticeState",
    "Original",
    "OutboxEvent",
    "OutboxState",
    "Project",
    "Reply",
    "Reveal",
    "Role",
    "ScoreCell",
    "Status",
    "TokenIssuer",
    "Unscored",
    "User",
    "Webhook",
]
