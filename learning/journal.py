"""Labels in PostgreSQL as the journal of a live head: what its base was trained on, and what each label is by now."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedback.models import Category, Fold
from labeling.models import Annotation, Label, LabelSource
from learning.core.heads.journal import Change
from learning.snapshots import read_manifest
from learning.weighting import Weights
from serving.embeddings import embed_missing, space_of
from serving.models import Embedding, ModelVersion

BATCH = 5_000
GUARD = 500  # more texts would make each update dearer, not the verdict much surer
PEOPLE = (LabelSource.SINGLE, LabelSource.AGREED, LabelSource.EXPERT)
Known = tuple[NDArray[np.float32], list[str]]


@dataclass(frozen=True)
class Base:
    """Labels that a version was trained on, and those that judge and calibrate it, by its snapshot."""

    labels: list[Change]
    revisions: dict[str, int]
    guard: Known | None
    calibration: Known | None
    complete: bool  # False where labels that the version was trained on were erased since


@dataclass(frozen=True)
class Settled:
    """A change with the time when it was settled."""

    at: datetime
    change: Change


def base_of(version: ModelVersion) -> Base:
    """The labels of the version's snapshot that still exist: those of erased customers are left out."""
    rows = read_manifest(version.lineage["data"])["labels"]
    vectors = _vectors(version.encoder_sha, [r["inquiry"] for r in rows])
    present = [r for r in rows if r["inquiry"] in vectors]
    train = [r for r in present if r["fold"] == Fold.TRAIN]
    labels = [Change(r["revision"], r["inquiry"], r["category"], vectors[r["inquiry"]], r["weight"], "") for r in train]
    judged = [r for r in present if r["fold"] != Fold.TRAIN]
    return Base(
        labels, {r["inquiry"]: r["revision"] for r in train}, _known(judged[:GUARD], vectors),
        _known([r for r in judged if r["fold"] == Fold.CALIBRATE], vectors), len(present) == len(rows),
    )  # fmt: skip


def revisions(*, project_id: int, encoder_sha: str, since: datetime | None = None) -> dict[str, int]:
    """Inquiry → revision of the train fold's labels, all or those settled since, that have an embedding here."""
    labels = Label.objects.filter(
        project_id=project_id, inquiry__fold=Fold.TRAIN, inquiry__embeddings__encoder_sha=space_of(encoder_sha).stored_sha
    )  # fmt: skip
    if since is not None:
        labels = labels.filter(settled_at__gt=since)
    return {str(pk): revision for pk, revision in labels.values_list("inquiry_id", "revision")}


def changes(*, encoder_sha: str, inquiries: Collection[str]) -> list[Settled]:
    """What these labels are now, in the order in which they were settled. One of an archived category is withdrawn."""
    found: list[Settled] = []
    space = space_of(encoder_sha)
    for part in _parts(inquiries):
        labels = Label.objects.filter(inquiry_id__in=part, inquiry__embeddings__encoder_sha=space.stored_sha)
        fields = (
            "inquiry_id", "revision", "category__key", "category__archived_at", "source", "settled_at", "inquiry__text",
            "inquiry__embeddings__vector",
        )  # fmt: skip
        rows = list(labels.values_list(*fields))
        people = _people([r[0] for r in rows if r[4] in PEOPLE])
        weights = _weights(part)
        vectors = space.vectors([r[6] for r in rows], [bytes(r[7]) for r in rows])
        found += [_settled((*row[:6], x), people, weights) for row, x in zip(rows, vectors, strict=True)]
    return sorted(found, key=lambda s: (s.at, s.change.label))


def keys_of(project_id: int) -> tuple[dict[int, str], set[str]]:
    """(id → key of all categories, keys of those that are in use)."""
    rows = list(Category.objects.filter(project_id=project_id).values_list("pk", "key", "archived_at"))
    return {pk: key for pk, key, _ in rows}, {key for _, key, archived in rows if archived is None}


def embed_labeled(*, project_id: int, since: datetime) -> int:
    """Embed inquiries that were imported without an answer and have been labeled since; returns how many."""
    fresh = Label.objects.filter(project_id=project_id, settled_at__gt=since, inquiry__embeddings__isnull=True)
    ids = list(fresh.values_list("inquiry_id", flat=True)[:256])
    return embed_missing(project_id=project_id, only=ids) if ids else 0


def _settled(row: tuple[Any, ...], people: dict[uuid.UUID, str], weights: Weights) -> Settled:
    inquiry, revision, key, archived, source, at, x = row
    if key is None or archived is not None:
        return Settled(at, Change(revision, str(inquiry), None))
    who = people.get(inquiry, source)  # imports and agents share an allowance of their own
    weight = weights.weight(inquiry, source)
    return Settled(at, Change(revision, str(inquiry), key, x, weight, who))


def _weights(inquiries: Collection[str]) -> Weights:
    """As training weighs them. All labels of one call belong to one project."""
    project = Label.objects.filter(inquiry_id__in=inquiries).values_list("project_id", flat=True).first()
    return Weights.of(project_id=project or 0, inquiries=[uuid.UUID(pk) for pk in inquiries] if project else [])


def _people(inquiries: list[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Who settled each label: the expert, or the annotators that agreed, together."""
    answers = Annotation.objects.filter(task__inquiry_id__in=inquiries, extra=False).order_by("annotator_id")
    found: dict[uuid.UUID, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for inquiry, who, role in answers.values_list("task__inquiry_id", "annotator_id", "role"):
        found[inquiry][role].append(who)
    return {
        inquiry: "+".join(f"{who}" for who in by_role.get("expert") or by_role["annotator"])
        for inquiry, by_role in found.items()
    }


def _vectors(encoder_sha: str, inquiries: Iterable[str]) -> dict[str, NDArray[np.float32]]:
    return dict(_stored(encoder_sha, inquiries))


def _stored(encoder_sha: str, inquiries: Iterable[str]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    space = space_of(encoder_sha)
    for part in _parts(inquiries):
        known = Embedding.objects.filter(encoder_sha=space.stored_sha, inquiry_id__in=part)
        rows = list(known.values_list("inquiry_id", "inquiry__text", "vector"))
        vectors = space.vectors([text for _, text, _ in rows], [bytes(v) for _, _, v in rows])
        yield from ((str(pk), x) for (pk, _, _), x in zip(rows, vectors, strict=True))


def _parts(inquiries: Iterable[str]) -> Iterator[list[str]]:
    ids = list(inquiries)
    return (ids[at : at + BATCH] for at in range(0, len(ids), BATCH))


def _known(rows: list[dict[str, Any]], vectors: dict[str, NDArray[np.float32]]) -> Known | None:
    if not rows:
        return None
    return np.stack([vectors[r["inquiry"]] for r in rows]), [r["category"] for r in rows]
