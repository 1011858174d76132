"""Topics of a project: runs, topics that keep their identity, the texts in them, and what happened to them.

A text is not copied: a member names an inquiry or a comment, and goes with it.
"""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from feedback.models import Project, User

SLOTS = 8  # marks and colours of the map; neighbours in number differ


class TopicRun(models.Model):
    """One clustering under one encoder variant: enough to say what was done with which texts, and to do it again."""

    class Kind(models.TextChoices):
        FIT = "fit", "First topics"
        EXTEND = "extend", "Daily: the novel remainder"
        REFIT = "refit", "All texts anew"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="topic_runs")
    job = models.ForeignKey("feedback.Job", on_delete=models.SET_NULL, null=True, related_name="+")
    encoder_sha = models.CharField(max_length=64)
    kind = models.CharField(max_length=6, choices=Kind)
    seed = models.PositiveIntegerField()
    config = models.JSONField(default=dict)
    # Of the ids and vectors, in their order: the same hash, seed and configuration give the same topics.
    reference_sha = models.CharField(max_length=64)
    texts = models.PositiveIntegerField()
    new_texts = models.PositiveIntegerField()
    topics = models.PositiveIntegerField()
    noise = models.PositiveIntegerField(help_text="Texts that most runs called noise; each still has a topic.")
    stability = models.JSONField(default=dict, help_text="Mean agreement between seeds by smallest size.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            # A job that resumes does not write a run twice.
            models.UniqueConstraint(fields=["job", "encoder_sha"], name="topic_run_once_per_job"),
        ]
        indexes = [
            # The latest run of a map.
            models.Index(fields=["project", "encoder_sha", "-id"], name="topic_run_latest"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.texts} texts"


class Topic(models.Model):
    """What some texts are about. `number` is its lasting identity within the project, whatever encoder reads its texts.

    Name, notes, owner, pin and mute are a person's; everything else is written by runs.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="topics")
    encoder_sha = models.CharField(max_length=64)
    number = models.PositiveIntegerField()
    name = models.CharField(
        max_length=120, default="", blank=True, help_text="By a person; else keywords stand for it."
    )
    notes = models.TextField(default="", blank=True)
    owner = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    pinned = models.BooleanField(default=False)
    muted = models.BooleanField(default=False)
    slot = models.PositiveSmallIntegerField(default=0, help_text="Mark and colour on the map.")
    born_at = models.DateTimeField()
    born_in = models.ForeignKey(TopicRun, on_delete=models.SET_NULL, null=True, related_name="+")
    died_at = models.DateTimeField(null=True)
    heir = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, related_name="absorbed")

    keywords = ArrayField(models.CharField(max_length=120), default=list)
    size = models.PositiveIntegerField(default=0)
    noise_share = models.FloatField(default=0.0)
    growth = models.FloatField(default=1.0, help_text="This week's share of all texts over the share before.")
    growth_z = models.FloatField(default=0.0)
    trend = ArrayField(models.PositiveIntegerField(), default=list, help_text="Texts a day, the latest last.")
    sentiment = models.FloatField(null=True)
    negative = models.FloatField(null=True, help_text="Share of negative among known feedback.")
    negative_low = models.FloatField(default=0.0)
    negative_high = models.FloatField(default=1.0)
    representatives = ArrayField(
        models.BigIntegerField(), default=list, help_text="Ids of members, most typical first."
    )
    centroid = models.BinaryField(default=b"", help_text="Unit vector, float16.")
    x = models.FloatField(null=True, help_text="Where its name stands on the map: the median of its members.")
    y = models.FloatField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="topic_number_once"),
            models.CheckConstraint(condition=Q(slot__lt=SLOTS), name="topic_slot_known"),
        ]

    def __str__(self) -> str:
        return self.title or f"topic {self.number}"

    @property
    def title(self) -> str:
        """The name that a person gave, or the first keywords; may be empty."""
        return self.name or " · ".join(self.keywords[:3])


class TopicMember(models.Model):
    """A text (an inquiry or a comment) and its topic; null while nothing has looked at it yet."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+")
    encoder_sha = models.CharField(max_length=64)
    inquiry = models.ForeignKey("feedback.Inquiry", on_delete=models.CASCADE, null=True, related_name="topic_members")
    event = models.ForeignKey("feedback.Event", on_delete=models.CASCADE, null=True, related_name="topic_members")
    said_at = models.DateTimeField()
    # Of comments alone: an inquiry's vector is serving's row.
    vector = models.BinaryField(null=True)
    topic = models.ForeignKey(Topic, on_delete=models.SET_NULL, null=True, related_name="members")
    distance = models.FloatField(default=0.0, help_text="1 − cosine to the topic's centroid.")
    noise = models.BooleanField(default=False, help_text="Most runs were not sure of it; it was reassigned.")
    settled = models.BooleanField(default=False, help_text="It took part in a clustering.")
    x = models.FloatField(null=True)
    y = models.FloatField(null=True)
    run = models.ForeignKey(TopicRun, on_delete=models.SET_NULL, null=True, related_name="+")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(inquiry__isnull=True) ^ Q(event__isnull=True), name="topic_member_is_one_text"
            ),
            models.CheckConstraint(
                condition=Q(event__isnull=True) | Q(vector__isnull=False), name="topic_comment_has_vector"
            ),
            models.UniqueConstraint(fields=["inquiry", "encoder_sha"], name="topic_inquiry_once"),
            models.UniqueConstraint(fields=["event", "encoder_sha"], name="topic_event_once"),
        ]
        indexes = [
            # The points of a map, and the texts of a run.
            models.Index(fields=["project", "encoder_sha"], name="topic_member_of_map"),
            # A topic's most typical texts.
            models.Index(fields=["topic", "distance"], name="topic_member_typical"),
        ]

    def __str__(self) -> str:
        return f"member {self.pk}"


class TopicEvent(models.Model):
    """Something that happened to a topic, by a run or by a person."""

    class Kind(models.TextChoices):
        BIRTH = "birth", "Born"
        DEATH = "death", "Died"
        SPLIT = "split", "Split off"
        MERGE = "merge", "Absorbed"
        RENAME = "rename", "Renamed"
        PIN = "pin", "Pinned"
        UNPIN = "unpin", "Unpinned"
        MUTE = "mute", "Muted"
        UNMUTE = "unmute", "Unmuted"
        NOTE = "note", "Notes or owner changed"
        LABEL = "label", "Sent to labeling"
        CATEGORY = "category", "Made a category"

    topic = models.ForeignKey(Topic, on_delete=models.CASCADE, related_name="events")
    kind = models.CharField(max_length=8, choices=Kind)
    # Numbers of the topics that it came from or absorbed.
    others = ArrayField(models.PositiveIntegerField(), default=list)
    # Ids and counts, never texts.
    detail = models.JSONField(default=dict)
    run = models.ForeignKey(TopicRun, on_delete=models.CASCADE, null=True, related_name="events")
    actor = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["topic", "-id"], name="topic_event_latest")]

    def __str__(self) -> str:
        return f"{self.kind} of topic {self.topic_id}"
