"""What webhooks are told about labels and escalations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from feedback.models import OutboxEvent
from feedback.webhooks import tells
from labeling.models import Escalation, Label


@dataclass(frozen=True)
class LabelResolved:
    """An inquiry has its settled category; a higher revision replaces a lower one."""

    kind: ClassVar[str] = "label.resolved"
    inquiry: str
    external_id: str | None
    category: str | None
    source: str
    revision: int


@dataclass(frozen=True)
class LabelWithdrawn:
    """A settled category is no longer one."""

    kind: ClassVar[str] = "label.withdrawn"
    inquiry: str
    external_id: str | None
    revision: int


@dataclass(frozen=True)
class EscalationOpened:
    """A customer waits for a person; `reasons` are codes."""

    kind: ClassVar[str] = "escalation.opened"
    escalation: int
    inquiry: str
    external_id: str | None
    reasons: list[str]


@dataclass(frozen=True)
class EscalationResolved:
    """A person has answered; the reply is in GET /api/v1/inquiries/{inquiry}."""

    kind: ClassVar[str] = "escalation.resolved"
    escalation: int
    inquiry: str
    external_id: str | None
    category: str | None


@dataclass(frozen=True)
class EscalationReplied:
    """The customer has been told something and the case goes on; the reply is in GET /api/v1/inquiries/{inquiry}."""

    kind: ClassVar[str] = "escalation.replied"
    escalation: int
    inquiry: str
    external_id: str | None


@dataclass(frozen=True)
class EscalationBreached:
    """A target of the service level was missed: `clock` is first_response or resolution, `due_at` when it was due."""

    kind: ClassVar[str] = "escalation.breached"
    escalation: int
    inquiry: str
    external_id: str | None
    clock: str
    due_at: str
    level: str


@tells(LabelResolved)
def label_resolved(row: OutboxEvent) -> LabelResolved | None:
    found = _label(row)
    if found is None or found.category is None:  # withdrawn or erased meanwhile
        return None
    return LabelResolved(
        str(found.inquiry_id), found.inquiry.external_id, found.category.key, found.source, row.payload["revision"]
    )


@tells(LabelWithdrawn)
def label_withdrawn(row: OutboxEvent) -> LabelWithdrawn | None:
    found = _label(row)
    return LabelWithdrawn(str(found.inquiry_id), found.inquiry.external_id, row.payload["revision"]) if found else None


@tells(EscalationOpened)
def escalation_opened(row: OutboxEvent) -> EscalationOpened | None:
    found = _escalation(row)
    if found is None:
        return None
    codes = [str(r.get("code", "")) for r in found.reasons]
    return EscalationOpened(found.pk, str(found.inquiry_id), found.inquiry.external_id, codes)


@tells(EscalationResolved)
def escalation_resolved(row: OutboxEvent) -> EscalationResolved | None:
    found = _escalation(row)
    if found is None:
        return None
    category = found.category.key if found.category else None
    return EscalationResolved(found.pk, str(found.inquiry_id), found.inquiry.external_id, category)


@tells(EscalationReplied)
def escalation_replied(row: OutboxEvent) -> EscalationReplied | None:
    found = _escalation(row)
    return EscalationReplied(found.pk, str(found.inquiry_id), found.inquiry.external_id) if found else None


@tells(EscalationBreached)
def escalation_breached(row: OutboxEvent) -> EscalationBreached | None:
    found = _escalation(row)
    if found is None:
        return None
    told = row.payload
    return EscalationBreached(
        found.pk, str(found.inquiry_id), found.inquiry.external_id, told["clock"], told["due_at"], told["level"]
    )


def _label(row: OutboxEvent) -> Label | None:
    return Label.objects.filter(inquiry_id=row.payload["inquiry"]).select_related("inquiry", "category").first()


def _escalation(row: OutboxEvent) -> Escalation | None:
    return Escalation.objects.filter(pk=row.payload["escalation"]).select_related("inquiry", "category").first()
