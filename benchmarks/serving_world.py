"""The project that the serving benchmark loads: texts, labels, a student, heads for both encoders and a cascade.

Run in the environment of a benchmark's stack. Everything is made by the product's own code, from texts that the load does
not send; only the gates are left out, since what is measured is serving and not whether a model deserves it. Prints one
JSON object: the key, the encoder whose head serves, and the number of a second version that waits in staging.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.harness import Corpus, load_corpus
from config import entry

SLUG = "serving"
# With fewer texts than this (a quick run) a student is not near its teacher yet: thresholds then come from fewer held-out
# texts and may lose more, so that the load meets a cascade of the same shape.
ENOUGH_TEXTS, FEW_HELD_OUT, LOOSE_MARGIN = 4_000, 100, 0.02


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--data", type=Path)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--texts", type=int, default=4000)
    p.add_argument("--labels", type=int, default=1000)
    args = p.parse_args()
    entry.prepare()
    import django

    django.setup()
    json.dump(build(load_corpus(args.data, seed=args.seed, size=args.texts), args.texts, args.labels), sys.stdout)


def build(corpus: Corpus, texts: int, labels: int) -> dict[str, object]:
    """Make it all; a second version of the encoder's head, from fewer labels, waits in staging."""
    from django.conf import settings

    from feedback import keys
    from feedback.models import ClientApp, Project
    from feedback.services import add_reply, create_project
    from learning import cascades
    from serving import registry
    from serving.served import served

    rows = [{"key": f"c{i}", "name": name} for i, name in enumerate(corpus.names)]
    project = create_project(slug=SLUG, name="Serving", categories=rows, retrain_after_labels=10**6)
    Project.objects.filter(pk=project.pk).update(limit_per_minute=10**8, limit_burst=10**8)
    for category in project.categories.all():
        add_reply(category_id=category.pk, locale="en", text=f"About {category.name}: here is what to do next.")
    _store(project.pk, corpus, texts, labels)
    teacher = served.encoder(settings.ENSO_ENCODER)
    student = _distilled(project.pk)
    for sha in (student, teacher.sha256):
        registry.promote(version_id=_head(project.pk, sha, labels))
    if texts < ENOUGH_TEXTS:
        cascades.LEAST_TEXTS, cascades.MARGIN = FEW_HELD_OUT, LOOSE_MARGIN
    chosen = cascades.calibrate(project_id=project.pk)
    if not chosen or "why" in chosen[0]:
        raise SystemExit(f"no cascade could be made: {chosen}")
    second = registry.line.model.objects.get(pk=_head(project.pk, teacher.sha256, labels // 2))
    app = ClientApp.objects.get(project=project, name="default")
    key = keys.create_key(app=app, scopes=list(keys.SCOPES))[1]
    return {"key": key, "encoder": teacher.sha256, "second": second.number, **chosen[0]}


def _store(project_id: int, corpus: Corpus, texts: int, labels: int) -> None:
    """Inquiries with their embeddings, the first of them with labels."""
    from django.utils import timezone

    from feedback.models import Category, Inquiry, Status
    from feedback.recording import NewInquiry, inquiry_columns
    from labeling.models import Label, LabelSource
    from serving.embeddings import embed_missing

    news = [NewInquiry(text=text, request_sha=b"") for text in corpus.train_texts[:texts]]
    stored = Inquiry.objects.bulk_create(
        Inquiry(**inquiry_columns(project_id=project_id, app_id=None, new=new, status=Status.RESOLVED, category_id=None, reply_id=None))
        for new in news
    )  # fmt: skip
    ids = dict(Category.objects.filter(project_id=project_id).values_list("key", "pk"))
    Label.objects.bulk_create(
        Label(inquiry=inquiry, project_id=project_id, category_id=ids[f"c{y}"], source=LabelSource.IMPORTED, settled_at=timezone.now())
        for inquiry, y in zip(stored[:labels], corpus.train_labels, strict=False)
    )  # fmt: skip
    embed_missing(project_id=project_id)


def _distilled(project_id: int) -> str:
    from django.conf import settings

    from feedback.models import Fold
    from learning import students as distilling
    from serving import students
    from serving.encoder import OnnxEncoder
    from serving.models import Student
    from serving.served import served

    teacher = served.encoder(settings.ENSO_ENCODER)
    if not isinstance(teacher, OnnxEncoder):
        raise SystemExit(f"the encoder {teacher.name} needs no student: set ENSO_ENCODER to a transformer")
    texts = distilling.collected(project_id, teacher.sha256, [Fold.TRAIN], distilling.MOST_TEXTS)
    encoder = distilling.made(teacher, texts, lambda epoch, cosine: None)
    row = Student(project_id=project_id, teacher_sha=teacher.sha256, encoder_sha=encoder.sha256, texts=len(texts.texts),
                  texts_sha=texts.sha256)  # fmt: skip
    return students.register(row, passed=True).encoder_sha


def _head(project_id: int, encoder_sha: str, labels: int) -> int:
    """A version in staging, trained on the first labels of the train fold."""
    import numpy as np

    from feedback.models import Fold
    from learning.core.heads.training import train_heads
    from learning.datasets import collect
    from learning.fitting import random_features
    from learning.pipelines import export
    from learning.snapshots import Material
    from serving import registry, zero_shot
    from serving.models import Stage
    from serving.served import served

    desk, encoder = served.desk(project_id), served.encoder_by_sha(encoder_sha)
    dataset, categories = collect(project_id=project_id, encoder_sha=encoder_sha), tuple(desk.categories)
    texts = served.prototypes(desk, encoder)
    train = np.flatnonzero(dataset.fold(Fold.TRAIN))[:labels]
    head = train_heads(
        dataset.x[train], dataset.labels(categories)[train], categories=categories,
        prior_prototypes=np.stack([zero_shot.prototype(rows) for rows in texts]),
        random_features=random_features(dataset),
    )  # fmt: skip
    bundle = export(head, Material(dataset, categories, texts))
    version = registry.register(project_id=project_id, bundle=bundle, encoder_sha=encoder_sha, stage=Stage.STAGING)
    return int(version.pk)


if __name__ == "__main__":
    main()
