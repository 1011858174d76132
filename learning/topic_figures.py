"""What the topic pages say: selectors' figures, in words, in the reader's language."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.text import slugify
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from feedback.visits import LEADS, Visitor
from learning import topic_selectors
from learning.models import Topic, TopicEvent
from learning.topic_selectors import Map
from learning.topic_tasks import FIRST
from learning.topic_texts import installed

SPARK = (96, 22)  # width and height of a trend in the table
CHART = (640, 150)


def chosen_map(project_id: int, named: str) -> Map | None:
    """The map whose encoder's hash begins so; the largest where none does."""
    found = topic_selectors.maps(project_id=project_id)
    return next((m for m in found if named and m.encoder_sha.startswith(named)), found[0] if found else None)


def overview(who: Visitor, named: str) -> dict[str, Any]:
    """Context of the map's template."""
    pk, slug = who.project.pk, who.project.slug
    shown = chosen_map(pk, named)
    job = topic_selectors.unfinished(project_id=pk)
    context: dict[str, Any] = {"project": who.project, "manages": bool(who.roles & LEADS), "job": job, "shown": shown}
    if shown is None:
        return context | {"rows": [], "sentence": _("No topics yet."), "detail": _empty(), "first": FIRST}
    run = topic_selectors.latest_run(project_id=pk, encoder_sha=shown.encoder_sha)
    topics = topic_selectors.listed(project_id=pk, encoder_sha=shown.encoder_sha)
    middle = topic_selectors.box(project_id=pk, encoder_sha=shown.encoder_sha)
    rows = [_row(t, shown.texts, topic_selectors.is_new(t, run), middle) for t in topics]
    sentence, detail = _headline(shown, rows)
    return context | {
        "rows": rows, "run": run, "sentence": sentence, "detail": detail, "maps": _maps(pk, shown),
        "points": f"{reverse('topic-points', args=[slug])}?map={shown.encoder_sha[:12]}",
    }  # fmt: skip


def _empty() -> str:
    return _("Topics are found by themselves once %(n)s comments and doubtful inquiries are there.") % {"n": FIRST}


def _headline(shown: Map, rows: list[dict[str, Any]]) -> tuple[str, str]:
    """What customers talk about, and what has changed."""
    texts = ngettext("%(n)s text", "%(n)s texts", shown.texts) % {"n": shown.texts}
    first = ngettext("%(texts)s in %(n)s topic.", "%(texts)s in %(n)s topics.", shown.topics)
    new = [r["title"] for r in rows if r["new"]]
    growing = [r["title"] for r in rows if r["grows"] and not r["muted"] and not r["new"]]
    said = []
    if new:
        said.append(_("New since the last run: %(topics)s.") % {"topics": _("; ").join(new[:3])})
    if growing:
        said.append(_("Growing faster than chance: %(topics)s.") % {"topics": _("; ").join(growing[:3])})
    return first % {"texts": texts, "n": shown.topics}, " ".join(said) or _("Nothing new since the last run.")


def _maps(project_id: int, shown: Map) -> list[dict[str, Any]]:
    """A choice of maps, where texts are read by more than one encoder."""
    found = topic_selectors.maps(project_id=project_id)
    if len(found) < 2:
        return []
    names = {installed()[0]: _("English and others"), installed()[-1]: _("Japanese")}
    return [
        {
            "sha": m.encoder_sha[:12],
            "name": names.get(m.encoder_sha, m.encoder_sha[:8]),
            "texts": m.texts,
            "on": m == shown,
        }
        for m in found
    ]


def _row(t: Topic, texts: int, new: bool, middle: tuple[float, float, float]) -> dict[str, Any]:
    x, y, side = middle
    return {
        "topic": t, "number": t.number, "title": _title(t),
        "words": t.keywords if t.name else t.keywords[3:], "named": bool(t.name), "new": new, "muted": t.muted,
        "share": 100 * t.size / max(texts, 1), "grows": topic_selectors.grows(t), "growth": _growth(t), "spark": spark(t.trend),
        "mood": _mood(t), "negative": None if t.negative is None else round(100 * t.negative), "slot": t.slot,
        "low": round(100 * t.negative_low), "high": round(100 * t.negative_high),
        # As plain numbers, whatever the reader's language writes: a script reads them.
        "x": f"{((t.x or x) - x) / side + 0.5:.4f}", "y": f"{((t.y or y) - y) / side + 0.5:.4f}",
    }  # fmt: skip


def _title(t: Topic) -> str:
    return t.title or _("Topic %(n)s") % {"n": t.number}


def _growth(t: Topic) -> str:
    """The share of this week over the share before, in words where chance explains it."""
    if abs(t.growth_z) < topic_selectors.CERTAIN:
        return _("steady")
    return f"×{t.growth:.1f}" if t.growth >= 0.1 else "×0.1"


def _mood(t: Topic) -> str | None:
    if t.sentiment is None:
        return None
    return _("negative") if t.sentiment < -0.25 else _("positive") if t.sentiment > 0.25 else _("mixed")


def spark(trend: list[int]) -> str:
    """Points of a line over the days, for a polyline."""
    width, height = SPARK
    top, step = max([*trend, 1]), width / max(len(trend) - 1, 1)
    return " ".join(f"{i * step:.1f},{height - 2 - (height - 4) * n / top:.1f}" for i, n in enumerate(trend))


def detail(who: Visitor, t: Topic) -> dict[str, Any]:
    """Context of the template of one topic."""
    alike = topic_selectors.listed(project_id=t.project_id, encoder_sha=t.encoder_sha)
    shown = next((m for m in topic_selectors.maps(project_id=t.project_id) if m.encoder_sha == t.encoder_sha), None)
    run = topic_selectors.latest_run(project_id=t.project_id, encoder_sha=t.encoder_sha)
    row = _row(t, shown.texts if shown else t.size, topic_selectors.is_new(t, run), (0.0, 0.0, 1.0))
    return {
        "project": who.project, "manages": bool(who.roles & LEADS), "t": t, "row": row, "chart": chart(t.trend),
        "texts": topic_selectors.typical(t), "others": [(o.number, _title(o)) for o in alike if o.pk != t.pk],
        "history": [{"at": e.at, "by": e.actor, "words": _happened(e)} for e in topic_selectors.history(t)],
        "category_key": slugify(t.name or "-".join(t.keywords[:2]))[:100], "said": ", ".join(t.keywords[:6]),
        "job": topic_selectors.unfinished(project_id=t.project_id),
    }  # fmt: skip


def chart(trend: list[int]) -> dict[str, Any]:
    """Bars of texts a day, the latest at the right, with a scale and the equal table."""
    width, height = CHART
    top, step = max([*trend, 1]), width / max(len(trend), 1)
    today = timezone.now()
    bars = [
        {"x": f"{i * step + 1:.1f}", "y": f"{height - height * n / top:.1f}", "w": f"{max(step - 2, 1):.1f}",
         "h": f"{height * n / top:.1f}", "n": n, "at": today - timedelta(days=len(trend) - 1 - i), "week": i >= len(trend) - 7}
        for i, n in enumerate(trend)
    ]  # fmt: skip
    return {"bars": bars, "top": top, "width": width, "height": height, "total": sum(trend)}


def _happened(e: TopicEvent) -> str:
    others = ", ".join(f"#{n}" for n in e.others)
    words = {
        "birth": _("was born"), "death": _("died"), "split": _("split off from %(others)s"), "merge": _("absorbed %(others)s"),
        "rename": _("was renamed"), "pin": _("was pinned"), "unpin": _("is no longer pinned"), "mute": _("was muted"),
        "unmute": _("is no longer muted"), "note": _("got other notes or another owner"),
        "label": _("%(n)s inquiries were sent to labeling"), "category": _("became a category"),
    }  # fmt: skip
    return str(words.get(e.kind, e.kind)) % {"others": others, "n": e.detail.get("tasks", 0)}
