"""What the pages and the API show of topics. Plain SQL and numpy: for the web process."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db.models import Count, Max, Min, Q, QuerySet

from feedback.jobs import UNFINISHED
from feedback.models import Job
from learning.models import Topic, TopicEvent, TopicMember, TopicRun
from learning.topic_tasks import KIND, SPLIT

MAGIC = b"ENTM"
VERSION = 1
CERTAIN = 1.959963984540054  # z at which growth is more than chance


@dataclass(frozen=True)
class Map:
    """The topics of one encoder variant."""

    encoder_sha: str
    topics: int
    texts: int


def maps(*, project_id: int) -> list[Map]:
    """Maps that have living topics, the larger first."""
    alive = Topic.objects.filter(project_id=project_id, died_at=None).values("encoder_sha")
    counted = list(alive.annotate(n=Count("pk")).values_list("encoder_sha", "n"))
    members = TopicMember.objects.filter(project_id=project_id, topic__isnull=False).values("encoder_sha")
    sizes = dict(members.annotate(n=Count("pk")).values_list("encoder_sha", "n"))
    return sorted((Map(sha, n, sizes.get(sha, 0)) for sha, n in counted), key=lambda m: (-m.texts, m.encoder_sha))


def listed(*, project_id: int, encoder_sha: str | None = None) -> list[Topic]:
    """Living topics: pinned ones first, muted ones last, then by size."""
    alive = Topic.objects.filter(project_id=project_id, died_at=None).select_related("owner", "born_in")
    if encoder_sha is not None:
        alive = alive.filter(encoder_sha=encoder_sha)
    return list(alive.order_by("muted", "-pinned", "-size", "number"))


def latest_run(*, project_id: int, encoder_sha: str) -> TopicRun | None:
    return TopicRun.objects.filter(project_id=project_id, encoder_sha=encoder_sha).order_by("-pk").first()


def is_new(topic: Topic, run: TopicRun | None) -> bool:
    """Born since the run before the latest; the first topics of a map are not news."""
    if run is None or run.kind == TopicRun.Kind.FIT:
        return False
    return topic.born_in_id == run.pk or topic.born_at > run.created_at


def grows(topic: Topic) -> bool:
    """More this week than chance explains."""
    return topic.growth_z > CERTAIN and topic.growth > 1


def unfinished(*, project_id: int) -> Job | None:
    """The run that is under way."""
    return (
        Job.objects.filter(project_id=project_id, kind__in=[KIND, SPLIT], state__in=UNFINISHED).order_by("-pk").first()
    )


def typical(topic: Topic, most: int = 8) -> list[dict[str, Any]]:
    """Its most typical texts, as they are stored (personal data is masked before it is): text, when, mood, kind."""
    members = TopicMember.objects.filter(topic=topic).select_related("inquiry", "event")
    rows = {m.pk: m for m in members.filter(pk__in=topic.representatives)}
    chosen = [rows[pk] for pk in topic.representatives if pk in rows][:most]
    if len(chosen) < most:  # arrivals and merged topics: the nearest ones
        known = [m.pk for m in chosen]
        chosen += list(members.exclude(pk__in=known).order_by("distance", "pk")[: most - len(chosen)])
    return [_said(m) for m in chosen]


def _said(m: TopicMember) -> dict[str, Any]:
    said = m.inquiry.text if m.inquiry else m.event.text if m.event else ""
    return {
        "id": m.pk, "text": said, "at": m.said_at, "kind": "inquiry" if m.inquiry_id else "comment",
        "sentiment": m.event.sentiment if m.event else None, "noise": m.noise,
    }  # fmt: skip


def history(topic: Topic, most: int = 20) -> QuerySet[TopicEvent]:
    return topic.events.select_related("actor").order_by("-pk")[:most]


def points_etag(*, project_id: int, encoder_sha: str) -> str:
    """Changes with every run, act and arrival of a map."""
    members = TopicMember.objects.filter(project_id=project_id, encoder_sha=encoder_sha)
    now = members.aggregate(n=Count("pk"), last=Max("pk"), placed=Count("pk", filter=Q(x__isnull=False)))
    run = latest_run(project_id=project_id, encoder_sha=encoder_sha)
    acts = TopicEvent.objects.filter(topic__project_id=project_id).aggregate(last=Max("pk"))
    told = f"{VERSION} {encoder_sha} {now} {run.pk if run else 0} {acts}"
    return f'"{hashlib.sha256(told.encode()).hexdigest()[:32]}"'


def points(*, project_id: int, encoder_sha: str) -> bytes:
    """The members of a map that have a place, as `packed`."""
    members = TopicMember.objects.filter(
        project_id=project_id, encoder_sha=encoder_sha, x__isnull=False, topic__died_at=None
    )
    rows = list(members.order_by("pk").values_list("pk", "x", "y", "topic__number", "noise"))
    return packed(*(np.array(c) for c in zip(*rows, strict=True))) if rows else packed(*(np.zeros(0),) * 5)


def packed(ids: Any, x: Any, y: Any, numbers: Any, noise: Any) -> bytes:
    """Points (n,) for the canvas, little-endian: magic, version, n, nothing (uint32 each after the magic), the first id
    (float64); then columns of n: id − first id (uint32), x and y (uint16, over the map's own square), topic number (uint16),
    noise (uint8)."""
    first = int(ids[0]) if len(ids) else 0
    head = MAGIC + np.array([VERSION, len(ids), 0], "<u4").tobytes() + np.array([first], "<f8").tobytes()
    span = max(np.ptp(x), np.ptp(y)) if len(ids) else 1.0
    places = [_sixteen(c, span) for c in (x, y)]
    columns = [(ids - first).astype("<u4"), *places, numbers.astype("<u2"), noise.astype("u1")]
    return b"".join([head, *(c.tobytes() for c in columns)])


def _sixteen(values: Any, span: float) -> Any:
    """Whole numbers from 0 to 65535 over a square of this side, centred."""
    if not len(values):
        return values.astype("<u2")
    middle = (values.max() + values.min()) / 2
    return np.round(65535 * np.clip((values - middle) / max(span, 1e-9) + 0.5, 0, 1)).astype("<u2")


def box(*, project_id: int, encoder_sha: str) -> tuple[float, float, float]:
    """Middle (x, y) and side of the square that `points` are laid over."""
    members = TopicMember.objects.filter(
        project_id=project_id, encoder_sha=encoder_sha, x__isnull=False, topic__died_at=None
    )
    b = members.aggregate(a=Min("x"), b=Max("x"), c=Min("y"), d=Max("y"))
    if b["a"] is None:
        return 0.0, 0.0, 1.0
    return (b["a"] + b["b"]) / 2, (b["c"] + b["d"]) / 2, max(b["b"] - b["a"], b["d"] - b["c"], 1e-9)
