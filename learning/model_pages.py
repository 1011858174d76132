"""One version with all that made it, two versions side by side, and why an inquiry was answered as it was."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from feedback.models import Inquiry
from feedback.problems import Problem
from feedback.visits import AGENTS, EVERYBODY, Visitor, page
from learning import run_words
from learning.comparison import STAGES, accuracy_curve, compared, plain
from learning.explanations import Explanation, explain
from learning.lineage import drawn, lineage
from learning.models import TrainingRun
from serving.models import DecisionRecord, ModelVersion, Stage

KINDS = {
    "data": gettext_lazy("Labels"), "encoder": gettext_lazy("Encoder"), "environment": gettext_lazy("Environment"),
    "settings": gettext_lazy("Hyper-parameters and seed"), "run": gettext_lazy("Training run"), "version": gettext_lazy("This version"),
    "parent": gettext_lazy("Served before"), "successor": gettext_lazy("Compared with it"),
}  # fmt: skip
ROLES = {
    "data": gettext_lazy("gave labels to"), "embeddings": gettext_lazy("read the texts of"), "environment": gettext_lazy("computed"),
    "hyper-parameters and seed": gettext_lazy("were used by"), "weights": gettext_lazy("made the weights of"),
    "served before": gettext_lazy("served before"), "compared with": gettext_lazy("was compared with"),
    "after an erasure": gettext_lazy("became, after an erasure,"),
}  # fmt: skip


@page(*EVERYBODY)
def model(request: HttpRequest, who: Visitor, number: int) -> HttpResponse:
    """Figures, gates, the five parts and the lineage graph of one version."""
    version = _version(who, number)
    graph = lineage(version)
    picture = drawn(graph)
    kinds = {n.id: KINDS[n.kind] for n in graph.nodes}
    names = {n.id: n.name for n in graph.nodes}
    run = TrainingRun.objects.filter(model=version).select_related("snapshot").first()
    packages = sorted(run.environment.get("packages", {}).items()) if run else []
    context = {
        "project": who.project, "v": version, "run": run, "picture": picture, "accuracy": _percents(version.metrics),
        "boxes": [{"box": b, "kind": KINDS[b.node.kind], "own": b.node.kind == "version"} for b in picture.boxes],
        "edges": [(kinds[e.source], names[e.source], ROLES[e.role], kinds[e.target], names[e.target]) for e in graph.edges],
        "origin": run_words.origin(run) if run else None,
        "settings": plain(run.hyperparameters) if run else [], "packages": packages,
        "aliases": sorted(a.name for a in version.aliases.all()), "failed": sum(not g.get("passed") for g in version.gates),
    }  # fmt: skip
    return render(request, "learning/model.html", context)


@page(*EVERYBODY)
def compare(request: HttpRequest, who: Visitor) -> HttpResponse:
    """Two versions side by side (GET a, b; else the one that serves and the newest), and accuracy over all of them."""
    versions = list(ModelVersion.objects.filter(project=who.project).order_by("-number")[:50])
    left, right = _chosen(request, versions)
    named = [(v, STAGES[Stage(v.stage)]) for v in versions]
    context = {
        "project": who.project, "versions": named, "left": left, "right": right, "curve": accuracy_curve(versions),
        "sections": compared(left, right) if left and right else [],
    }  # fmt: skip
    return render(request, "learning/compare.html", context)


@dataclass(frozen=True)
class Piece:
    """A part of the text: a word with its value, or what stands between words."""

    text: str
    value: float = 0.0
    error: float = 0.0
    level: int = 0  # 1–4 towards the category, −1 – −4 away from it, 0 neither


@page(*AGENTS)
def explanation(request: HttpRequest, who: Visitor, inquiry_id: uuid.UUID) -> HttpResponse:
    """Which words counted, as a fragment: sampled, and said so."""
    inquiry = Inquiry.objects.filter(pk=inquiry_id, project=who.project).first()
    try:
        found = _explained(inquiry) if inquiry else None
    except Problem as problem:
        return HttpResponse(problem.detail, status=problem.status)
    if inquiry is None or found is None:
        raise Http404(_("There is no such inquiry in this project."))
    most = max((abs(float(v)) for v in found.words.values), default=0.0)
    pieces, at = list[Piece](), 0
    for span, value, error in zip(found.words.spans, found.words.values, found.words.spread, strict=True):
        level = round(4 * float(value) / most) if most else 0
        pieces += [Piece(found.text[at : span.start]), Piece(found.text[span.start : span.end], value, error, level)]
        at = span.end
    category = who.project.categories.filter(key=found.category).first()
    words = sorted((p for p in pieces if p.value), key=lambda p: -abs(p.value))
    return render(
        request, "learning/explanation.html",
        {"found": found, "pieces": [*pieces, Piece(found.text[at:])], "words": words, "category": category},
    )  # fmt: skip


def _explained(inquiry: Inquiry) -> Explanation | None:
    """For the category that was answered; for the one that would be answered now where the head knows it no more."""
    said = DecisionRecord.objects.filter(inquiry=inquiry).select_related("category").first()
    try:
        category = said.category.key if said is not None and said.category else None
        return explain(project_id=inquiry.project_id, inquiry=inquiry, category=category)
    except LookupError:
        return explain(project_id=inquiry.project_id, inquiry=inquiry)


def _version(who: Visitor, number: int) -> ModelVersion:
    found = ModelVersion.objects.filter(project=who.project, number=number).select_related("parent", "project").first()
    if found is None:
        raise Http404(_("There is no such version in this project."))
    return found


def _chosen(request: HttpRequest, versions: list[ModelVersion]) -> tuple[ModelVersion | None, ModelVersion | None]:
    numbers = {str(v.number): v for v in versions}
    serving = next((v for v in versions if v.stage == Stage.PRODUCTION), versions[-1] if versions else None)
    newest = next((v for v in versions if v is not serving), serving)
    return numbers.get(request.GET.get("a", ""), serving), numbers.get(request.GET.get("b", ""), newest)


def _percents(metrics: dict[str, Any]) -> list[float] | None:
    share = metrics.get("test_accuracy")
    return [100 * share[k] for k in ("value", "low", "high")] if isinstance(share, dict) else None
