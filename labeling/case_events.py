"""What the console announces, as typed payloads on the outbox: ids and plain values, never a text."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from feedback import outbox


@dataclass(frozen=True)
class CaseEvent:
    """Of one case: `escalation` and `inquiry` are ids."""

    kind: ClassVar[str]
    escalation: int
    inquiry: str

    def publish(self, *, project_id: int) -> None:
        """Write it into the current transaction."""
        payload: dict[str, Any] = asdict(self)
        outbox.publish(kind=self.kind, project_id=project_id, payload=payload)


@dataclass(frozen=True)
class Opened(CaseEvent):
    """A customer waits for a person."""

    kind = "escalation.opened"
    level: str
    reasons: list[str]


@dataclass(frozen=True)
class Replied(CaseEvent):
    """The customer has been told something, and the case goes on. `entry` holds the text."""

    kind = "escalation.replied"
    entry: int


@dataclass(frozen=True)
class Breached(CaseEvent):
    """A target was missed: `clock` is first_response or resolution, `due_at` ISO 8601."""

    kind = "escalation.breached"
    clock: str
    due_at: str
    level: str


@dataclass(frozen=True)
class Resolved(CaseEvent):
    """A person is done with the case. `entry` holds the last reply, where there was one."""

    kind = "escalation.resolved"
    outcome: str
    category: str
    entry: int | None


@dataclass(frozen=True)
class ReplyPreferred(CaseEvent):
    """A person's reply (`entry`) is better than the automatic one (`rejected`, a reply's id)."""

    kind = "reply.preferred"
    entry: int
    rejected: int


@dataclass(frozen=True)
class GuidelineProposed(CaseEvent):
    """A category's guideline misled somebody; the text waits for a lead in the finding."""

    kind = "guideline.proposed"
    category: str
    finding: int


@dataclass(frozen=True)
class ModelBlocked(CaseEvent):
    """The version that answered this inquiry must not serve any more."""

    kind = "model.blocked"
    finding: int
