"""The texts that topics are made of: comments, and inquiries that the model was not sure of or customers were unhappy with.

A text becomes a member first, without a topic; its vector is serving's row, or computed here. Everything later reads
members, so that a run which is taken over goes on where the last one stopped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import numpy as np
from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.utils import timezone
from numpy.typing import NDArray

from feedback.models import Event, Inquiry, Kind, Project
from learning.models import TopicMember
from serving.embeddings import embed_missing
from serving.engine import from_bytes, to_bytes
from serving.models import Embedding
from serving.served import served

WINDOW = timedelta(days=180)  # older texts say little about what people are saying
BATCH = 256


@dataclass(frozen=True)
class Texts:
    """Members of one map in the order of their ids: `topic` numbers (−1: none yet) and vectors [n, d]."""

    ids: NDArray[np.int64]
    x: NDArray[np.float32]
    topics: NDArray[np.int64]
    noise: NDArray[np.bool_]
    settled: NDArray[np.bool_]
    points: NDArray[np.float32]  # [n, 2], nan where it was never placed

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def sha256(self) -> str:
        """Of ids and vectors: the same hash, seed and configuration give the same topics."""
        return hashlib.sha256(self.ids.tobytes() + self.x.tobytes()).hexdigest()


def installed() -> list[str]:
    """Encoder variants that texts are read with here: that of most languages, then that of Japanese."""
    return list(dict.fromkeys([served.encoder_for("a")[0].sha256, served.encoder("ngram").sha256]))


def doubtful(*, project_id: int) -> QuerySet[Inquiry]:
    """Inquiries that went to a person, that the model was unsure of, or that customers were unhappy with."""
    threshold = Project.objects.values_list("confidence_threshold", flat=True).get(pk=project_id)
    unsure = Q(decision__decision="human") | Q(decision__confidence__lt=threshold) | Q(score__thumbs=-1)
    return Inquiry.objects.filter(unsure, project_id=project_id, received_at__gt=timezone.now() - WINDOW)


def comments(*, project_id: int) -> QuerySet[Event]:
    """What customers wrote, wherever it came from."""
    recent = timezone.now() - WINDOW
    return Event.objects.filter(project_id=project_id, kind=Kind.COMMENT, occurred_at__gt=recent).exclude(text="")


def gather(
    *,
    project_id: int,
    fence: Callable[[], None] = lambda: None,
    report: Callable[[int], None] = lambda done: None,
    most: int | None = None,
    since: datetime | None = None,
) -> int:
    """Make members of the texts that are none yet (at most `most`, and only those that came since then), in short
    transactions that `fence` guards; how many."""
    made = 0
    for batch in _batches(_new_inquiries(project_id, since).iterator(chunk_size=BATCH), most):
        made += _add(_of_inquiries(project_id, batch), fence)
        report(made)
    rest = None if most is None else max(most - made, 0)
    for events in _batches(_new_comments(project_id, since).iterator(chunk_size=BATCH), rest):
        made += _add(_of_comments(project_id, events), fence)
        report(made)
    return made


def _new_inquiries(project_id: int, since: datetime | None) -> QuerySet[Inquiry, tuple[Any, datetime]]:
    new = doubtful(project_id=project_id).filter(topic_members=None).order_by("pk").distinct()
    return (new.filter(received_at__gt=since) if since else new).values_list("pk", "received_at")


def _new_comments(project_id: int, since: datetime | None) -> QuerySet[Event]:
    """Since then: by when they were read, which has an index."""
    new = comments(project_id=project_id).filter(topic_members=None).order_by("pk")
    return new.filter(reading__first_read_at__gt=since) if since else new


def _batches(rows: Iterable[Any], most: int | None) -> Iterator[list[Any]]:
    """The first `most` rows, a batch at a time."""
    wanted = iter(rows) if most is None else islice(rows, most)
    while batch := list(islice(wanted, BATCH)):
        yield batch


def _of_inquiries(project_id: int, batch: Sequence[tuple[Any, datetime]]) -> list[TopicMember]:
    """One per inquiry, under the variant that reads it now."""
    when = dict(batch)
    embed_missing(project_id=project_id, only=when)
    rows = Embedding.objects.filter(inquiry__in=when, encoder_sha__in=installed())
    first: dict[Any, str] = {}
    for pk, sha in rows.order_by("pk").values_list("inquiry_id", "encoder_sha"):
        first.setdefault(pk, sha)
    return [
        TopicMember(project_id=project_id, inquiry_id=pk, encoder_sha=sha, said_at=when[pk])
        for pk, sha in first.items()
    ]


def _of_comments(project_id: int, events: Sequence[Event]) -> list[TopicMember]:
    groups: dict[str, list[Event]] = {}
    encoders = {}
    for event in events:
        encoder, _ = served.encoder_for(event.text)
        encoders[encoder.sha256] = encoder
        groups.setdefault(encoder.sha256, []).append(event)
    return [
        TopicMember(project_id=project_id, event=e, encoder_sha=sha, said_at=e.occurred_at, vector=to_bytes(v))
        for sha, mine in groups.items()
        for e, v in zip(mine, encoders[sha].encode([e.text for e in mine]), strict=True)
    ]


def _add(members: list[TopicMember], fence: Callable[[], None]) -> int:
    """Write members whose texts are still there: an erasure may have come while vectors were computed."""
    with transaction.atomic():
        fence()
        inquiries = Inquiry.objects.filter(pk__in=[m.inquiry_id for m in members if m.inquiry_id])
        # An event has no constraint to its inquiry: one that an erasure has overtaken is not followed.
        known = Q(inquiry_id=None) | Exists(Inquiry.objects.filter(pk=OuterRef("inquiry_id")))
        events = Event.objects.filter(known, pk__in=[m.event_id for m in members if m.event_id])
        there = {pk for rows in (inquiries, events) for pk in rows.select_for_update().values_list("pk", flat=True)}
        kept = [m for m in members if (m.inquiry_id or m.event_id) in there]
        TopicMember.objects.bulk_create(kept, ignore_conflicts=True)
    return len(kept)


def maps_of(*, project_id: int) -> list[str]:
    """Encoder variants under which a project has members, the larger map first."""
    rows = TopicMember.objects.filter(project_id=project_id).values_list("encoder_sha")
    return [sha for sha, _ in rows.annotate(n=Count("pk")).order_by("-n", "encoder_sha")]


def read(*, project_id: int, encoder_sha: str, **chosen: Any) -> Texts:
    """Members of one map with their vectors, which lie with the inquiry or, for a comment, with the member."""
    members = TopicMember.objects.filter(project_id=project_id, encoder_sha=encoder_sha, **chosen)
    inquiries = Embedding.objects.filter(encoder_sha=encoder_sha, inquiry_id__in=members.values("inquiry_id"))
    stored = dict(inquiries.values_list("inquiry_id", "vector"))
    rows = []
    columns = ("inquiry_id", "vector", "pk", "topic__number", "noise", "settled", "x", "y")
    for inquiry, own, pk, number, *rest in members.order_by("pk").values_list(*columns).iterator(chunk_size=2000):
        if (found := own or stored.get(inquiry)) is not None:
            rows.append((pk, bytes(found), -1 if number is None else number, *rest))
    return _texts(rows)


def _texts(rows: list[tuple[Any, ...]]) -> Texts:
    ids, vectors, topics, noise, settled, x, y = zip(*rows, strict=True) if rows else ((),) * 7
    return Texts(
        np.array(ids, np.int64), from_bytes(list(vectors)) if rows else np.zeros((0, 1), np.float32),
        np.array(topics, np.int64), np.array(noise, bool), np.array(settled, bool),
        np.array([x, y], dtype=np.float32).T.reshape(-1, 2),  # None becomes nan
    )  # fmt: skip
