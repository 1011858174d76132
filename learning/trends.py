"""How a project's figures moved: one chart for each, with the table that says the same."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any

from django.db.models import Count, F, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from feedback.charts import Chart, Limit, Point, Series
from feedback.figures import Period, grouped
from feedback.models import Project
from labeling import measures, tallies
from labeling.models import TaskKind, TaskState
from labeling.policy import BANDS, DISAGREEMENTS
from learning import outlooks
from learning.core.stopping import ENOUGH
from learning.models import DriftReport, DriftSettings, DriftState, GuardReport
from learning.selectors import wilson
from learning.spans import Grain, grain_of
from serving.models import DecisionRecord

DAYS = 30
# What a chart can be had as; the browser makes a PNG of the SVG (config/static/enso/charts.js).
FILES = ("csv", "svg")
CHECKS = 60
SHAPES = {DriftState.STEADY: "circle", DriftState.WARNING: "diamond", DriftState.CRITICAL: "triangle"}
MOST_SURE = 4.0  # p-values below 10⁻⁴ look alike


def percent(value: float) -> str:
    return f"{100 * value:.0f}\u00a0%"


def day_words(ordinal: float) -> str:
    """A day of the year's calendar as digits: no locale writes it differently."""
    return date.fromordinal(round(ordinal)).strftime("%m-%d")


def _since() -> Any:
    return timezone.now() - timedelta(days=DAYS)


def _shares(
    key: str, title: str, tone: str, rows: Sequence[tuple[float, float, float]], grain: Grain, **more: Any
) -> Chart:
    """Shares by day or less with their intervals: (bin, successes, trials)."""
    found = [(n, w) for n, hits, trials in rows if (w := wilson(hits, trials))]
    points = tuple(Point(n, w.value, w.low, w.high) for n, w in found)
    table = tuple((grain.named(n), f"{w.value:.4f}", f"{w.low:.4f}", f"{w.high:.4f}", f"{w.n:.0f}") for n, w in found)
    head = (_("Day") if grain.seconds is None else _("From"), _("Share"), _("95 % from"), _("to"), _("Count"))
    return Chart(
        key, title, (Series(title, points, tone),), head, table, grain.words, percent, bottom=0.0, top=1.0, **more
    )  # fmt: skip


def automation(project: Project) -> Chart:
    """Share of inquiries that the model answered alone, by day or less."""
    grain = grain_of(project)
    own = DecisionRecord.objects.filter(inquiry__project=project, inquiry__received_at__gt=_since())
    bins = own.annotate(bin=grain.bin("inquiry__received_at")).values("bin").order_by("bin")
    counted = bins.annotate(n=Count("pk"), auto=Count("pk", filter=Q(decision="auto"))).values_list("bin", "auto", "n")
    rows = [(grain.place(b), auto, n) for b, auto, n in counted]
    note = _("No inquiry came in the last 30 days.")
    return _shares("automation", _("Answered by the model alone"), "model", rows, grain, note="" if rows else note)


def accuracy(project: Project) -> Chart:
    """Audited accuracy by day or less, each draw weighted by one over its propensity."""
    grain = grain_of(project)
    drawn = DecisionRecord.objects.filter(
        inquiry__project=project, inquiry__received_at__gt=_since(), audit=True, propensity__gt=0,
        inquiry__task__kind=TaskKind.AUDIT, inquiry__task__state=TaskState.RESOLVED,
    ).annotate(bin=grain.bin("inquiry__received_at"))  # fmt: skip
    groups: dict[float, list[tuple[bool, float]]] = defaultdict(list)
    for which, said, right, propensity in drawn.values_list(
        "bin", "category_id", F("inquiry__task__category_id"), "propensity"
    ):
        groups[grain.place(which)].append((said == right, 1 / propensity))
    rows = [(n, *outlooks.weighed(draws)) for n, draws in sorted(groups.items())]
    limit = Limit(DriftSettings.of(project.pk).least_accuracy, _("retrain below"))
    note = "" if rows else _("No random draw has been labeled in the last 30 days.")
    return _shares(
        "accuracy", _("Right answers, audited"), "model", rows, grain, limits=(limit,) if rows else (), note=note
    )


def learning(project: Project) -> Chart:
    """Audited accuracy by how many labels a version was trained on, and what the next labels should bring."""
    found = outlooks.curve(project)
    shares = [(p.labels, w) for p in found if (w := wilson(p.right, p.total))]
    points = tuple(Point(n, w.value, w.low, w.high) for n, w in shares)
    rows = tuple((str(n), f"{w.value:.4f}", f"{w.low:.4f}", f"{w.high:.4f}", f"{w.n:.0f}") for n, w in shares)
    title = _("What labels bring: right answers, audited, by labels")
    head = (_("Labels"), _("Share"), _("95 % from"), _("to"), _("Count"))
    return Chart(
        "learning", title, (Series(title, points, "model"),), head, rows, lambda n: f"{n:,.0f}", percent,
        bottom=0.0, top=1.0, note=_next_labels(found),
    )  # fmt: skip


def _next_labels(found: Sequence[outlooks.CurvePoint]) -> str:
    if not found:
        return _("No random draw has been answered by a trained version and labeled yet.")
    if len(found) < ENOUGH:
        return _("What more labels would bring can be said once three versions have been audited.")
    gain = outlooks.expected(list(found)).gain
    return _("The next %(labels)d labels should bring %(gain).1f points (%(low).1f to %(high).1f, 95 %%).") % {
        "labels": outlooks.NEXT, "gain": 100 * gain.estimate, "low": 100 * gain.low, "high": 100 * gain.high,
    }  # fmt: skip


def agreement(project: Project) -> Chart:
    """Cohen's κ by week."""
    weeks = [w for w in measures.by_week(tallies.read(project_id=project.pk)) if w["kappa"] is not None]
    points = tuple(Point(date.fromisoformat(w["week"]).toordinal(), w["kappa"], w["low"], w["high"]) for w in weeks)
    rows = tuple((w["week"], *(_number(w[k]) for k in ("kappa", "low", "high")), str(w["items"])) for w in weeks)
    head = (_("Week from"), "κ", _("95 % from"), _("to"), _("Items"))
    title = _("Agreement between annotators (Cohen’s κ)")
    limit = (Limit(BANDS[DISAGREEMENTS][0], _("all reviewed below")),) if weeks else ()
    note = (
        "" if weeks else _("No item has been labeled by two people yet, or all of them got one and the same category.")
    )
    return Chart(
        "agreement", title, (Series(title, points, "person"),), head, rows, day_words, lambda v: f"{v:.1f}", limits=limit,
        bottom=0.0 if all(w["kappa"] >= 0 for w in weeks) else None, top=1.0,
        note=note,
    )  # fmt: skip


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def promoters(project: Project) -> Chart:
    """Net promoter score by day."""
    period = Period(first=_since().date())
    found = grouped(project_id=project.pk, by="day", period=period, after=None, limit=DAYS + 1).rows
    rows = [(r["day"], r["nps"]) for r in found if r["nps"]["n"]]
    points = tuple(Point(d.toordinal(), n["value"], n["interval"]["low"], n["interval"]["high"]) for d, n in rows)
    table = tuple(
        (d.isoformat(), f"{n['value']:.1f}", f"{n['interval']['low']:.1f}", f"{n['interval']['high']:.1f}", str(n["n"]))
        for d, n in rows
    )
    title, note = (
        _("Net promoter score"),
        "" if rows else _("No customer has answered the question in the last 30 days."),
    )
    head = (_("Day"), "NPS", _("95 % from"), _("to"), _("Answers"))
    return Chart(
        "nps", title, (Series(title, points, "person"),), head, table, day_words, lambda v: f"{v:+.0f}", note=note
    )


def drift(project: Project) -> Chart:
    """How sure each check was that something changed: −log₁₀ p, with the level that it had to pass."""
    known = DriftReport.objects.filter(project=project).order_by("-created_at", "-pk")
    reports = list(known.values_list("pk", "created_at", "p_value", "level", "state")[:CHECKS])[::-1]
    points = tuple(
        Point(n, min(-math.log10(p), MOST_SURE), shape=SHAPES[DriftState(state)]) for n, (_k, _a, p, _l, state) in enumerate(reports)
    )  # fmt: skip
    rows = tuple(
        (f"{at:%Y-%m-%d %H:%M}", state, f"{p:.5f}", f"{level:.5f}", str(pk)) for pk, at, p, level, state in reports
    )
    limit = (Limit(min(-math.log10(reports[-1][3]), MOST_SURE), _("alarm above")),) if reports else ()
    note = _("○ nothing beyond chance · ◇ unusual · △ beyond chance") if reports else _("No check has run yet.")
    title = _("Change: how unlikely by chance")
    return Chart(
        "drift", title, (Series(title, points, "model"),), (_("Checked"), _("State"), "p", _("Level"), _("Report")), rows,
        lambda n: f"{reports[round(n)][1]:%m-%d %H:%M}", _one_in, limits=limit, bottom=0.0, note=note,
    )  # fmt: skip


def _one_in(value: float) -> str:
    return f"1:{10**value:,.0f}"


def alpha(project: Project) -> Chart:
    """Share of the training's weight that is the model's own opinion, by measurement."""
    known = GuardReport.objects.filter(project=project).order_by("-created_at", "-pk")
    found = list(known[:CHECKS])[::-1]
    points = tuple(Point(n, g.alpha, g.lower, g.upper) for n, g in enumerate(found))
    rows = tuple(
        (f"{g.created_at:%Y-%m-%d %H:%M}", f"{g.alpha:.4f}", f"{g.lower:.4f}", f"{g.upper:.4f}", str(g.labels))
        for g in found
    )
    limit = (Limit(found[-1].bound, _("bound")),) if found else ()
    note = "" if found else _("The labels have not been measured yet: the first training or drift check does it.")
    title = _("What the model learns from itself (α)")
    return Chart(
        "alpha", title, (Series(title, points, "model"),), (_("Measured"), "α", _("95 % from"), _("to"), _("Labels")), rows,
        lambda n: f"{found[round(n)].created_at:%m-%d %H:%M}", percent, limits=limit, bottom=0.0, top=1.0, note=note,
    )  # fmt: skip


BY_NAME: dict[str, Callable[[Project], Chart]] = {
    "accuracy": accuracy, "learning": learning, "automation": automation, "agreement": agreement, "drift": drift, "alpha": alpha,
    "nps": promoters,
}  # fmt: skip
