"""Labels are checked before a training, and the report is kept with the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd
from django.template.loader import render_to_string
from django.utils import timezone, translation

from feedback.models import Fold
from learning.core.dataset_checks import Check, check_labels, describe
from learning.models import RunState, TrainingRun
from learning.snapshots import Material, read_manifest

COLUMNS = ("inquiry", "category", "fold", "weight", "revision", "text", "group")


class InvalidData(ValueError):
    """The labels cannot be trained on; the message says which check they failed."""


def validate(run: TrainingRun, material: Material) -> list[Check]:
    """Check the labels of a run and keep the report. Raises InvalidData where a fault makes the training meaningless."""
    rows = table(material)
    checks = check_labels(rows, material.dataset.x, categories=material.categories, before=_before(run))
    faults = [c for c in checks if c.fault and not c.passed]
    found = {
        "checks": [asdict(c) for c in checks], "passed": not faults, "labels": len(rows), "pool": len(material.pool_ids),
        "categories": by_category(material), **asdict(describe(rows)),
    }  # fmt: skip
    TrainingRun.objects.filter(pk=run.pk).update(validation=found, report=report(run, found))
    if faults:
        TrainingRun.objects.filter(pk=run.pk).update(state=RunState.FAILED, finished_at=timezone.now())
        raise InvalidData("; ".join(f"{c.name}: {c.detail}" for c in faults))
    return checks


def table(material: Material) -> pd.DataFrame:
    """The labels as a table, a row each."""
    rows = [
        (str(r.inquiry), r.category, int(r.fold), float(r.weight), int(r.revision), r.text_sha, r.group)
        for r in material.dataset.rows
    ]
    types = dict.fromkeys(COLUMNS, "object") | {"fold": "int64", "weight": "float64", "revision": "int64"}
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(types)


def by_category(material: Material) -> list[dict[str, Any]]:
    """Labels of each category by fold."""
    counts = Counter((r.category, int(r.fold)) for r in material.dataset.rows)
    names = {int(fold): fold.label.lower() for fold in Fold}
    return [
        {"category": key, "all": sum(counts[key, f] for f in names)}
        | {name: counts[key, f] for f, name in names.items()}
        for key in material.categories
    ]


def report(run: TrainingRun, found: Mapping[str, Any]) -> str:
    """A page of its own, in English: it is a record, not a screen. It names categories and counts, no text."""
    with translation.override("en"):
        return render_to_string("learning/validation.html", {"run": run, "found": found})


def _before(run: TrainingRun) -> Mapping[str, int]:
    """Labels by category in the snapshot of the run before this one; nothing where there is none to be read."""
    earlier = TrainingRun.objects.filter(project_id=run.project_id, encoder_sha=run.encoder_sha, pk__lt=run.pk)
    last = earlier.select_related("snapshot").order_by("-pk").first()
    if last is None:
        return {}
    try:
        return Counter(row["category"] for row in read_manifest(last.snapshot.sha256)["labels"])
    except LookupError:
        return {}
