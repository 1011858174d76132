"""Inquiries and all that belongs to them, written by one statement: those that arrive together share it.

Each `Story` holds the rows of one inquiry. A lone request waits for nobody; the fuller the queue, the larger the group and
the less each inquiry pays for the commit (feedback/group_commit.py). An escalation needs more than rows, and a key of
idempotency a lock: these are written in a transaction of their own, with the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from django.db import InterfaceError, OperationalError, connection, transaction
from psycopg.errors import DeadlockDetected

from feedback import bulk, outbox, recording
from feedback.bulk import Derived, Part, Rows
from feedback.group_commit import Busy, GroupCommit
from feedback.kept_connection import KeptConnection
from feedback.problems import Problem
from feedback.recording import STORED
from labeling import opening
from serving.models import DecisionRecord, Embedding, ReplyShown

LARGEST_GROUP = 64
MAX_WAITING = 1_000
PATIENCE_SECONDS = 15.0
MAX_DEADLOCKS = 3

PARTS: tuple[Part | Derived, ...] = (
    *recording.PARTS,
    *opening.PARTS,
    Part("embedding", Embedding, where=STORED),
    Part("decision", DecisionRecord, where=STORED),
    Part("shown", ReplyShown, where=STORED),
    recording.told("inquiry.decided"),
)
WITH_NAMES = (*PARTS, *recording.JOIN_HELD)
STORED_IDS = "SELECT id FROM inquiry"


@dataclass(frozen=True)
class Story:
    """One inquiry's rows by part, and whether it brings an external_id: events may then wait for it."""

    rows: Rows
    named: bool

    @property
    def inquiry(self) -> dict[str, Any]:
        """Its columns."""
        return self.rows["inquiry"][0]


def store(story: Story) -> bool:
    """Write an inquiry, durable when this returns; False where its external_id is taken, and nothing was written.

    Raises Problem 503 where inquiries arrive faster than they can be stored. Whoever holds a transaction already gets it
    written in that one.
    """
    if connection.in_atomic_block:
        return store_within(story)
    try:
        stored = _group.submit(story)
    except Busy as error:
        raise Problem(
            503, "busy", f"Inquiries arrive faster than they can be stored ({error}): send this again.", retry_after=1
        ) from error
    if stored:
        outbox.nudge()  # not by the leader of the group: the others, and the next group, would wait for the broker with it
    return stored


def store_within(story: Story) -> bool:
    """The same in the caller's transaction."""
    with connection.wrap_database_errors:
        stored = _written(connection.connection, [story])[0]
    transaction.on_commit(outbox.nudge)
    return stored


def store_with(story: Story, then: Callable[[], None]) -> bool:
    """Write an inquiry and what `then` adds to it, in one transaction; nothing is added where the inquiry is not written."""
    with transaction.atomic():
        if stored := store_within(story):
            then()
    return stored


def _store_group(stories: Sequence[Story]) -> list[bool]:
    """A group over the kept connection, where each statement is a transaction."""
    for attempt in range(MAX_DEADLOCKS):
        try:
            with _kept.connection() as opened:
                return _written(opened, stories)
        except OperationalError as error:
            if attempt == MAX_DEADLOCKS - 1 or not isinstance(error.__cause__, DeadlockDetected):
                raise
    raise AssertionError("the last attempt returns or raises")


def _written(opened: psycopg.Connection[Any], stories: Sequence[Story]) -> list[bool]:
    rows: Rows = {}
    for story in stories:
        for part, given in story.rows.items():
            rows.setdefault(part, []).extend(given)
    parts = WITH_NAMES if any(story.named for story in stories) else PARTS
    found = {pk for (pk,) in bulk.run(opened, parts, rows, last=STORED_IDS)}
    return [story.inquiry["id"] in found for story in stories]


_kept = KeptConnection()
_group: GroupCommit[Story, bool] = GroupCommit(
    _store_group, largest=LARGEST_GROUP, waiting=MAX_WAITING, patience=PATIENCE_SECONDS,
    shared=(OperationalError, InterfaceError),
)  # fmt: skip


def close() -> None:
    """Give the kept connection back, and ids that were drawn ahead (tests, whose database goes away)."""
    _kept.close()
    opening.task_ids.forget()
    opening.case_ids.forget()
