"""An inquiry as rows: what is written for it in feedback/, for a service that writes it together with rows of its own.

`feedback.services.record_inquiry` is the same for callers who write nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from feedback import bulk, outbox, privacy
from feedback.bulk import Derived, Part, Rows
from feedback.ids import uuid7
from feedback.masking import CUT, Masked
from feedback.models import Inquiry, Original, Status
from feedback.texts import fold_of, group_digest
from feedback.vault import seal


@dataclass(frozen=True)
class NewInquiry:
    """An inquiry as an app posted it, checked. `masked` where its text was masked already (serving reads it masked)."""

    text: str
    request_sha: bytes
    external_id: str | None = None
    locale: str = ""
    customer: str = ""
    channel: str = ""
    metadata: dict[str, Any] | None = None
    masked: Masked | None = None


def inquiry_columns(
    *,
    project_id: int,
    app_id: int | None,
    new: NewInquiry,
    status: Status,
    category_id: int | None,
    reply_id: int | None,
    model: str = "",
) -> dict[str, Any]:
    """The columns of an inquiry: masked, with its id and its fold. `model` is what the caller calls what answered."""
    masked = new.masked or privacy.masked(new.text, project_id=project_id)
    group = group_digest(masked.text)
    return {
        "id": uuid7(), "project_id": project_id, "app_id": app_id, "external_id": new.external_id, "request_sha": new.request_sha,
        "text": masked.text, "locale": new.locale, "customer": new.customer, "channel": new.channel, "metadata": new.metadata or {},
        "group_sha": group, "fold": fold_of(group), "status": str(status), "category_id": category_id, "reply_id": reply_id,
        "model": model, "received_at": timezone.now(),
    }  # fmt: skip


def inquiry_rows(columns: dict[str, Any], new: NewInquiry) -> Rows:
    """Rows of `PARTS` for an inquiry with these columns."""
    rows: Rows = {"inquiry": [columns]}
    if new.masked is not None and not all(f.kind in CUT for f in new.masked.found):
        sealed = seal(new.masked)
        rows["original"] = [
            bulk.row(Original, project_id=columns["project_id"], inquiry_id=columns["id"], sealed=sealed)
        ]
    return rows


# An inquiry whose external_id is taken is not written: `inquiry` returns those that are. Two transactions that bring the
# same ids bring them in the same order, so neither waits for the other in a circle.
STORED = "inquiry_id IN (SELECT id FROM inquiry)"
PARTS: tuple[Part | Derived, ...] = (
    Part(
        "inquiry", Inquiry,
        then="ORDER BY project_id, external_id ON CONFLICT (project_id, external_id) DO NOTHING RETURNING id, project_id, external_id",
    ),
    Part("original", Original, where=STORED),
)  # fmt: skip

# Events that came before their inquiry, found by its external_id. Whoever stores inquiries that have one adds this part.
JOIN_HELD: tuple[Derived, ...] = (
    Derived(
        "held",
        """UPDATE feedback_event e SET inquiry_id = x.inquiry FROM (
            SELECT w.id, i.id AS inquiry FROM inquiry i CROSS JOIN LATERAL (
                SELECT id FROM feedback_event WHERE inquiry_id IS NULL AND project_id = i.project_id
                AND inquiry_ref = i.external_id ORDER BY id OFFSET 0) w
            WHERE i.external_id IS NOT NULL) x
        WHERE e.id = x.id AND e.inquiry_id IS NULL RETURNING e.project_id, e.id""",
    ),
    Derived(
        "unscored",
        """INSERT INTO feedback_unscored (project_id, events, anew)
        SELECT project_id, array_agg(id), '{}' FROM held GROUP BY 1""",
    ),
)


def told(kind: str) -> Derived:
    """An outbox event of this kind for every inquiry that was stored. Whoever runs it calls `outbox.nudge`."""
    query = f"SELECT '{kind}', project_id, jsonb_build_object('inquiry', id) FROM inquiry"  # noqa: S608 - a word of ours
    return Derived("told", outbox.publish_from(query))
