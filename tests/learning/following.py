"""What the tests of the live head share: an owner, a shop with a model, and people who settle labels."""

from __future__ import annotations

import uuid

import numpy as np
from django.db import transaction

from feedback.models import Category, Fold, Inquiry, Project
from feedback.services import NewInquiry
from labeling.models import LabelSource
from labeling.services import settle_label
from learning.live import Follower
from learning.owner import Owner
from serving import services
from serving.served import served

TEXT = "the blue parrot sings in the elevator"


def ask(project: Project, text: str) -> Inquiry:
    """An inquiry of the train fold that was answered."""
    new = NewInquiry(text=text, request_sha=b"0" * 32, external_id=uuid.uuid4().hex, locale="en")
    services.answer_inquiry(project_id=project.pk, app_id=None, new=new)
    Inquiry.objects.filter(external_id=new.external_id).update(fold=Fold.TRAIN)
    return Inquiry.objects.get(external_id=new.external_id)


def label(inquiry: Inquiry, key: str, source: LabelSource = LabelSource.EXPERT) -> None:
    category = Category.objects.get(project=inquiry.project, key=key)
    with transaction.atomic():
        settle_label(inquiry=inquiry, category_id=category.pk, source=source)


def probability(project: Project, key: str, text: str = TEXT) -> float:
    served.refresh()
    answer = services.predict(project_id=project.pk, texts=[text], locales=["en"])[0]
    return float(answer["probabilities"].get(key, 0.0))


def keys(project: Project) -> list[str]:
    return list(project.categories.filter(archived_at=None).values_list("key", flat=True))


def follower_of(keeper: Owner) -> Follower:
    return next(iter(keeper.followers.values()))


def exact(follower: Follower) -> float:
    return float(np.abs(follower.head.refitted() - follower.head.ridge_weights).max())
