"""Agreement and reliability of a project as its pages and its API show them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import F, Q
from django.utils import timezone

from feedback.models import Category
from labeling import batches, tallies
from labeling.agreement import (
    Kappa,
    Pairs,
    by_pair,
    fleiss_kappa,
    kappa_of_table,
    krippendorff_alpha,
    mean_kappa,
    one_against_rest,
)
from labeling.models import Annotation, Batch, LabelTask, Resolution, SlotRole
from labeling.policy import ENOUGH
from labeling.reliability import Judged, Reliability, reliabilities

RECENT = timedelta(weeks=4)
LOOKED_BACK = timedelta(weeks=26)
SHOWN_BATCHES = 12


@dataclass(frozen=True)
class State:
    """The band in force and how far the open batch is."""

    band: str
    open_batch: int | None
    doubles: int

    @property
    def missing(self) -> int:
        return max(ENOUGH - self.doubles, 0)


def state_of(project_id: int) -> State:
    batch = Batch.objects.filter(project_id=project_id, closed_at=None).first()
    if batch is None:
        return State(batches.last_band(project_id), None, 0)
    return State(batch.entered_as, batch.number, batches.doubles_in(batch.pk))


def as_json(kappa: Kappa) -> dict[str, Any]:
    return {"kappa": kappa.value, "low": kappa.low, "high": kappa.high, "items": kappa.items, "why": kappa.why}


def agreement_report(project_id: int) -> dict[str, Any]:
    """Everything that is known of the agreement in a project; annotators by pseudonymous number."""
    pairs = tallies.read(project_id=project_id)
    tables = by_pair(pairs)
    people = sorted({p for who in tables for p in who})
    number = {p: i + 1 for i, p in enumerate(people)}
    kappas = {who: kappa_of_table(table) for who, table in tables.items()}
    fleiss, alpha = fleiss_kappa(pairs), krippendorff_alpha(pairs)
    state = state_of(project_id)
    return {
        **as_json(mean_kappa(kappas.values())),
        "pairs": [{"annotators": [number[a], number[b]], **as_json(k)} for (a, b), k in kappas.items()],
        "categories": by_category(project_id, tables),
        "weeks": by_week(pairs),
        "fleiss": {"kappa": fleiss.value, "items": fleiss.items, "why": fleiss.why},
        "krippendorff": {"alpha": alpha.value, "items": alpha.items, "why": alpha.why},
        "policy": {"band": state.band, "batch": state.open_batch, "doubles": state.doubles, "missing": state.missing},
        "batches": [batch_json(b) for b in latest_batches(project_id)],
    }


def by_category(project_id: int, tables: Mapping[tuple[int, int], Counter[tuple[int, int]]]) -> list[dict[str, Any]]:
    """κ of the question "is it this category?", for each category that somebody named."""
    keys = dict(Category.objects.filter(project_id=project_id).values_list("pk", "key"))
    named = {c for table in tables.values() for pair in table for c in pair}
    rows = []
    for category in sorted(named, key=lambda c: keys.get(c, "")):
        seen = [t for t in tables.values() if any(category in pair for pair in t)]
        found = mean_kappa(kappa_of_table(one_against_rest(t, category)) for t in seen)
        rows.append({"category": keys.get(category, ""), **as_json(found)})
    return rows


def by_week(pairs: Sequence[Pairs]) -> list[dict[str, Any]]:
    weeks: dict[Any, list[Pairs]] = defaultdict(list)
    for p in pairs:
        weeks[p.week].append(p)
    return [
        {"week": week.isoformat(), **as_json(mean_kappa(kappa_of_table(t) for t in by_pair(group).values()))}
        for week, group in sorted(weeks.items())
    ]


def latest_batches(project_id: int) -> list[Batch]:
    closed = Batch.objects.filter(project_id=project_id, closed_at__isnull=False)
    return list(closed.order_by("-number")[:SHOWN_BATCHES])


def batch_json(batch: Batch) -> dict[str, Any]:
    return {
        "number": batch.number, "doubles": batch.doubles, "kappa": batch.kappa, "low": batch.low, "high": batch.high,
        "band_before": batch.entered_as, "band": batch.band, "why": batch.why, "closed_at": batch.closed_at,
    }  # fmt: skip


def reliability_of(project_id: int) -> list[Reliability]:
    """How often each annotator was right, on known items and on those that an expert decided, in the last half year."""
    now = timezone.now()
    judged = Q(gold=True) | Q(task__resolution=Resolution.EXPERT, extra=False)
    rows = Annotation.objects.filter(
        judged, task__project_id=project_id, role=SlotRole.ANNOTATOR, created_at__gte=now - LOOKED_BACK
    ).annotate(truth=F("task__category_id"))
    found = rows.values_list("annotator_id", "category_id", "truth", "right", "gold", "created_at")
    return reliabilities(
        Judged(annotator, truth, bool(right) if gold else said == truth, created > now - RECENT)
        for annotator, said, truth, right, gold, created in found
        if truth is not None
    )


def may_be_gold(project_id: int, task_id: int) -> LabelTask | None:
    """A task whose category is beyond doubt: an expert, an agent or full agreement settled it."""
    sure = [Resolution.EXPERT, Resolution.AGENT, Resolution.AGREED]
    return LabelTask.objects.filter(pk=task_id, project_id=project_id, resolution__in=sure).first()
