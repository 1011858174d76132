"""What people do with topics: name, note, own, pin, mute, merge, split, send to labeling, make a category of them.

One transaction each, in turn with runs. What a person did is an event of the topic and, where a column changed, a row of the
audit trail.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from feedback import jobs
from feedback.models import Category, Fold, Inquiry, Job, Membership
from feedback.problems import Problem, invalid, not_found
from feedback.services import add_categories
from labeling import placing, retiring
from labeling.models import LabelTask, TaskKind, TaskState
from labeling.services import open_task
from learning.models import Topic, TopicEvent, TopicMember
from learning.topic_tasks import SPLIT
from learning.topic_turns import take_turn

MOST_SENT = 200
FIRST_IN_LINE = 1.0  # of the values that selection gives


def living(*, project_id: int, number: int) -> Topic:
    """The topic; what was absorbed is found under its heir. 404 for others."""
    topic = Topic.objects.filter(project_id=project_id, number=number).select_related("heir", "owner").first()
    while topic is not None and topic.died_at and topic.heir:
        topic = topic.heir
    if topic is None or topic.died_at:
        raise not_found("topic")
    return topic


def change(*, project_id: int, number: int, fields: dict[str, Any], by: int | None) -> Topic:
    """Set some of `name`, `notes`, `owner_id`, `pinned`, `muted`; what stays the same is no event."""
    with transaction.atomic():
        topic = Topic.objects.select_for_update().get(pk=living(project_id=project_id, number=number).pk)
        _check(project_id, fields)
        changed = {name: value for name, value in fields.items() if getattr(topic, name) != value}
        for name, value in changed.items():
            setattr(topic, name, value)
        if changed:
            topic.save(update_fields=list(changed))
        for kind in dict.fromkeys(_kind(name, value) for name, value in changed.items()):
            TopicEvent.objects.create(topic=topic, kind=kind, actor_id=by)
    return topic


def _check(project_id: int, fields: dict[str, Any]) -> None:
    if len(fields.get("name") or "") > 120:
        raise invalid("name", "A name has up to 120 characters.")
    if len(fields.get("notes") or "") > 4000:
        raise invalid("notes", "Notes have up to 4,000 characters.")
    owner = fields.get("owner_id")
    if owner is not None and not Membership.objects.filter(project_id=project_id, user_id=owner).exists():
        raise invalid("owner", "The owner must be a member of the project.")


def _kind(name: str, value: Any) -> str:
    Kind = TopicEvent.Kind
    if name in ("pinned", "muted"):
        return {
            ("pinned", True): Kind.PIN, ("pinned", False): Kind.UNPIN, ("muted", True): Kind.MUTE, ("muted", False): Kind.UNMUTE,
        }[name, bool(value)].value  # fmt: skip
    return (Kind.RENAME if name == "name" else Kind.NOTE).value


def merge(*, project_id: int, number: int, into: int, by: int | None) -> Topic:
    """Move a topic's texts into another one, which becomes its heir. 422 for itself or one under another encoder."""
    with transaction.atomic():
        take_turn(project_id)
        gone, heir = (living(project_id=project_id, number=n) for n in (number, into))
        if gone.pk == heir.pk:
            raise invalid("into", "A topic cannot be merged into itself.")
        if gone.encoder_sha != heir.encoder_sha:
            raise invalid("into", "Their texts are read by different encoders: they are on different maps.")
        moved = TopicMember.objects.filter(topic=gone).update(topic=heir)
        Topic.objects.filter(pk=gone.pk).update(
            died_at=timezone.now(), heir=heir, size=0, keywords=[], representatives=[]
        )
        Topic.objects.filter(pk=heir.pk).update(size=F("size") + moved, trend=_added(gone.trend, heir.trend))
        TopicEvent.objects.create(topic=heir, kind="merge", others=[gone.number], detail={"texts": moved}, actor_id=by)
    heir.refresh_from_db()
    return heir


def _added(a: Sequence[int], b: Sequence[int]) -> list[int]:
    longest = max(len(a), len(b))
    return [x + y for x, y in zip(*([0] * (longest - len(t)) + list(t) for t in (a, b)), strict=True)]


def split(*, project_id: int, number: int, by: int | None) -> Job:
    """Ask for a split in two; a job does it, since vectors are read."""
    topic = living(project_id=project_id, number=number)
    return jobs.enqueue(kind=SPLIT, project_id=project_id, params={"topic": topic.number, "by": by}, exclusive=False)


def send_to_labeling(
    *, project_id: int, by: int | None, number: int | None = None, members: Sequence[int] = (), most: int = 50
) -> int:
    """Put inquiries of a topic, or of these members, first in the queue: the most typical that have no label yet; how many.

    A comment stands for the inquiry that it is about. Only inquiries whose fold is for learning are picked, and tasks of the
    random audit are left alone: so the audited accuracy stays unbiased.
    """
    if not 1 <= most <= MOST_SENT:
        raise invalid("count", f"Send between 1 and {MOST_SENT} texts.")
    topic = None if number is None else living(project_id=project_id, number=number)
    chosen = TopicMember.objects.filter(project_id=project_id)
    chosen = chosen.filter(topic=topic) if topic else chosen.filter(pk__in=list(members))
    with transaction.atomic():
        found = _unlabeled(chosen, most)
        waiting = LabelTask.objects.filter(inquiry__in=found).exclude(kind=TaskKind.AUDIT)
        tasks = list(waiting.filter(state=TaskState.OPEN).values_list("pk", flat=True))
        reason = {"rule": "topic", "topic": topic.number if topic else None}
        for inquiry in Inquiry.objects.filter(pk__in=found, task=None).select_related("project"):
            made = open_task(
                inquiry=inquiry, kind=TaskKind.SELECTION, overlap=inquiry.project.overlap, priority=FIRST_IN_LINE, reason=reason
            )  # fmt: skip
            tasks.append(made.pk)
        # What a model was sure of is asked after all: somebody wants to know.
        closed = waiting.filter(state=TaskState.RETIRED).values_list("pk", flat=True)
        tasks += retiring.ask_again(task_ids=list(closed), priority=FIRST_IN_LINE)
        placing.reprioritise(priorities=dict.fromkeys(tasks, FIRST_IN_LINE))
        placing.explain(reasons=dict.fromkeys(tasks, reason))
        if topic:
            TopicEvent.objects.create(topic=topic, kind="label", detail={"tasks": len(tasks)}, actor_id=by)
    return len(tasks)


def _unlabeled(members: Any, most: int) -> list[Any]:
    """Ids of the inquiries behind members, most typical first, without those that have a label or an audit."""
    about = members.order_by("distance", "pk").values_list("inquiry_id", "event__inquiry_id")
    wanted = list(dict.fromkeys(own or other for own, other in about.iterator() if own or other))
    free = Q(task=None) | (Q(task__state=TaskState.OPEN) & ~Q(task__kind=TaskKind.AUDIT))
    rows = Inquiry.objects.filter(free, pk__in=wanted, fold=Fold.TRAIN, label=None)
    usable = set(rows.values_list("pk", flat=True))
    return [pk for pk in wanted if pk in usable][:most]


def make_category(
    *, project_id: int, number: int, key: str, name: str, description: str = "", by: int | None
) -> Category:
    """A category of this name, and the topic's texts to the queue: models learn it from their labels. No text is copied into
    it: what a customer wrote stays where an erasure finds it."""
    topic = living(project_id=project_id, number=number)
    if Category.objects.filter(project_id=project_id, key=key).exists():
        raise Problem(409, "exists", "There is already a category with this key.", field="key")
    with transaction.atomic():
        (made,) = _added_category(project_id, {"key": key, "name": name, "description": description})
        TopicEvent.objects.create(topic=topic, kind="category", detail={"category": made.pk}, actor_id=by)
        send_to_labeling(project_id=project_id, number=number, by=by)
    return made


def _added_category(project_id: int, columns: dict[str, Any]) -> list[Category]:
    try:
        return add_categories(project_id=project_id, categories=[columns])
    except ValidationError as error:
        field, said = next(iter(error.message_dict.items()))
        raise invalid(field, said[0]) from error
