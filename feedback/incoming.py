"""Events on their way in: what an app posted, what became of it, and the SQL that all ways of storing them share."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from feedback import outbox, rules, vault
from feedback.masking import CUT, mask

# A clock that runs ahead by more than this is wrong: the event is then dated by its arrival.
MAX_SKEW = timedelta(minutes=5)
# Comments that one outbox event names: their consumer reads them in one transaction, which must stay short.
COMMENTS_AT_ONCE = 20
# The index that makes event_ids unique is over this (models/events.py, docs/decisions/0019).
KEY = "md5({project}::text || ':' || {event_id})::uuid"


# Structs outside the garbage collector's sight: a batch makes thousands that refer to nothing but plain values.
class NewEvent(msgspec.Struct, frozen=True, gc=False):
    """A feedback event as an app posted it, checked. `weight` below 1: an anonymous page."""

    inquiry_ref: str
    kind: str
    value: float | None
    text: str
    request_sha: bytes
    event_id: str | None
    customer: str
    occurred_at: datetime | None
    weight: float = 1.0


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """What became of one event: stored, duplicate (same id, same body) or conflict (same id, another body)."""

    id: uuid.UUID | None
    result: Literal["stored", "duplicate", "conflict"]


def masked_and_sealed(project_id: int, texts: Sequence[str]) -> list[tuple[str, bytes | None]]:
    """The one place that comments' texts pass on their way in: from here on only the vault knows the originals."""
    if not texts:
        return []
    templates = rules.cache.get(project_id).order_templates
    masked = [mask(text, templates) for text in texts]
    hidden = [i for i, m in enumerate(masked) if any(f.kind not in CUT for f in m.found)]
    sealed = dict(zip(hidden, vault.seal_all([masked[i] for i in hidden]), strict=True))
    return [(m.text, sealed.get(i)) for i, m in enumerate(masked)]


def publish_comments(query: str) -> str:
    """SQL that tells of new comments, some at a time; `query` yields their (project_id, id)."""
    return outbox.publish_from(f"""
        SELECT 'comment.received', project_id, jsonb_build_object('events', jsonb_agg(id)) FROM (
            SELECT project_id, id, (row_number() OVER (PARTITION BY project_id) - 1) / {COMMENTS_AT_ONCE} AS part
            FROM ({query}) AS c) AS parts
        GROUP BY project_id, part""")
