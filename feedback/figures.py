"""Figures of scores: by category, reply, model version, day or inquiry, and what other weights would make of them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

from django.db.models import F, Q, QuerySet, Sum

from feedback import services
from feedback.models import InquiryScore, Project, ScoreCell, Unscored
from feedback.problems import invalid
from feedback.score_fold import evidence_in
from feedback.scores import ExplicitWeights, ImplicitWeights, scores_of
from feedback.totals import UNIT, Totals, mean, nps, nps_interval, totals_of, wilson

GROUPS = {"category": "category__key", "reply": "reply_id", "model": "model", "day": "day"}
MAX_PAGE = 500
# A preview reads this many inquiries, the latest ones.
PREVIEWED = 20_000


@dataclass(frozen=True)
class Period:
    """Days (UTC) on which inquiries arrived, both ends included; None is open."""

    first: date | None = None
    last: date | None = None

    def filter(self, field: str) -> Q:
        found = Q()
        if self.first is not None:
            found &= Q(**{f"{field}__gte": self.first})
        if self.last is not None:
            found &= Q(**{f"{field}__lte": self.last})
        return found


@dataclass(frozen=True)
class Page:
    """Rows, and the `after` of the next page (None: this was the last)."""

    rows: list[dict[str, Any]]
    after: str | None


def grouped(*, project_id: int, by: str, period: Period, after: str | None, limit: int) -> Page:
    """Figures of each group, in the order of its key; the group without a key (no category, no reply) comes last."""
    field = GROUPS[by]
    cells = ScoreCell.objects.filter(period.filter("day"), project_id=project_id)
    sums = {name: Sum(name) for name in Totals._fields}
    found = cells.values(key=F(field)).annotate(**sums).order_by(F("key").asc(nulls_last=True))
    rows = [(r.pop("key"), Totals(**r)) for r in _from(found, by, after)[: limit + 1]]
    page = [{by: key, **figures_of(totals)} for key, totals in rows[:limit] if totals.events]
    return Page(page, _told(rows[limit - 1][0]) if len(rows) > limit else None)


def _from(found: QuerySet[Any, Any], by: str, after: str | None) -> QuerySet[Any, Any]:
    if after is None:
        return found
    if after == "":
        return found.none()
    try:
        key: Any = int(after) if by == "reply" else date.fromisoformat(after) if by == "day" else after
    except ValueError as error:
        raise invalid("after", "Send what the last page gave as `after`.") from error
    return found.filter(Q(key__gt=key) | Q(key=None))


def _told(key: Any) -> str:
    return "" if key is None else str(key)


def by_inquiry(*, project_id: int, period: Period, after: str | None, limit: int) -> Page:
    """Scores of inquiries, the latest first."""
    end = None if period.last is None else period.last + timedelta(days=1)
    rows = InquiryScore.objects.filter(inquiry__project_id=project_id, events__gt=0).select_related("category")
    if period.first is not None:
        rows = rows.filter(inquiry__received_at__date__gte=period.first)
    if end is not None:
        rows = rows.filter(inquiry__received_at__date__lt=end)
    if after is not None:
        try:
            rows = rows.filter(inquiry_id__lt=uuid.UUID(after))
        except ValueError as error:
            raise invalid("after", "Send what the last page gave as `after`.") from error
    found = list(rows.order_by("-inquiry_id")[: limit + 1])
    return Page([_inquiry(s) for s in found[:limit]], str(found[limit - 1].pk) if len(found) > limit else None)


def _inquiry(s: InquiryScore) -> dict[str, Any]:
    return {
        "inquiry": str(s.pk), "category": s.category.key if s.category else None, "implicit": s.implicit,
        "explicit": s.explicit, "thumbs": s.thumbs, "rating": s.rating, "nps": s.nps, "sentiment": s.sentiment,
        "events": s.events, "impressions": s.impressions, "clicked": s.click > 0, "dwell": s.dwell_us / 1e6,
        "scroll": s.scroll,
    }  # fmt: skip


def figures_of(t: Totals) -> dict[str, Any]:
    """What a group's sums say."""
    answers = t.promoters + t.passives + t.detractors
    return {
        "inquiries": t.inquiries, "events": t.events, "impressions": t.impressions,
        "implicit": {"mean": mean(t.implicit_sum, t.implicit_count), "n": t.implicit_count},
        "explicit": {"mean": mean(t.explicit_sum, t.explicit_count), "n": t.explicit_count},
        "ctr": {"value": t.clicked / t.exposures if t.exposures else None, "clicks": t.clicked, "exposures": t.exposures,
                "interval": asdict(wilson(t.clicked, t.exposures))},
        "nps": {"value": nps(t.promoters, t.passives, t.detractors), "n": answers, "promoters": t.promoters,
                "passives": t.passives, "detractors": t.detractors,
                "interval": asdict(nps_interval(t.promoters, t.passives, t.detractors)) if answers else None},
        "thumbs": {"up": t.ups, "down": t.downs, "interval": asdict(wilson(t.ups, t.ups + t.downs))},
    }  # fmt: skip


def fresh(project_id: int) -> int:
    """Fold what is queued, then say how many transactions' events are still not in the figures (0, but after a flood)."""
    services.fold_scores(project_id=project_id)
    return Unscored.objects.filter(project_id=project_id).count()


WEIGHTS = (
    "click_weight", "dwell_weight", "scroll_weight", "dwell_rate", "dwell_curve", "rating_weight", "sentiment_weight", "nps_weight",
)  # fmt: skip


def weights_of(project: Project) -> tuple[ImplicitWeights, ExplicitWeights]:
    return (
        ImplicitWeights(
            project.click_weight, project.dwell_weight, project.scroll_weight, project.dwell_rate, project.dwell_curve
        ),
        ExplicitWeights(
            project.rating_weight, project.sentiment_weight, project.nps_weight, project.rating_min, project.rating_max
        ),
    )


def preview(*, project: Project, changes: dict[str, Any]) -> dict[str, Any]:
    """Means under the present and under other weights, over the latest inquiries; nothing is changed."""
    proposed = Project.objects.get(pk=project.pk)
    for name, value in changes.items():
        setattr(proposed, name, value)
    rows = InquiryScore.objects.filter(inquiry__project_id=project.pk, events__gt=0).order_by("-inquiry_id")
    evidence = [evidence_in(row) for row in rows[:PREVIEWED]]
    now, then = (_means(evidence, weights_of(p)) for p in (project, proposed))
    return {
        "inquiries": len(evidence), "all": len(evidence) < PREVIEWED,
        "weights": {name: getattr(proposed, name) for name in WEIGHTS},
        "implicit": _compared(now, then, "implicit"), "explicit": _compared(now, then, "explicit"),
    }  # fmt: skip


@dataclass(frozen=True)
class _Means:
    totals: Totals
    implicit: Sequence[float | None]
    explicit: Sequence[float | None]


def _means(evidence: Iterable[Any], weights: tuple[ImplicitWeights, ExplicitWeights]) -> _Means:
    found = [(e, scores_of(e, *weights)) for e in evidence]
    totals = Totals()
    for e, s in found:
        totals = totals.plus(totals_of(e, s))
    return _Means(totals, [s.implicit for _, s in found], [s.explicit for _, s in found])


def _compared(now: _Means, then: _Means, name: str) -> dict[str, Any]:
    before, after = getattr(now, name), getattr(then, name)
    moved = [abs(a - b) for a, b in zip(after, before, strict=True) if a is not None and b is not None]
    sums = [(getattr(m.totals, f"{name}_sum"), getattr(m.totals, f"{name}_count")) for m in (now, then)]
    return {
        "now": mean(*sums[0]), "then": mean(*sums[1]), "changed": sum(m > 1 / UNIT for m in moved),
        "largest_change": max(moved, default=0.0),
    }  # fmt: skip
