"""Rows → what a language model is tuned on: which replies people preferred, and which they liked or did not.

Pairs come from votes on same-meaning inquiries (screened as for reply policies), from comparisons by annotators, from agents who
wrote a better reply than the automatic one, and from drafts that agents changed or replaced. Liked are what agents sent and
drafts that they sent as they were; dismissed drafts are not. Inquiries are masked when they arrive; agents' words are masked here.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from feedback.masking import mask
from feedback.models import Inquiry, Project
from labeling.case_models import CaseEntry, CaseFinding, EntryKind, FindingKind
from labeling.models import ComparisonAnswer, Draft, DraftState
from labeling.ranking import share_of
from learning import preferences, replies
from learning.core.language.rows import Judged, Preferred
from learning.core.preference.learners import Evidence
from learning.core.preference.pairs import pairs_from_votes
from learning.core.preference.training import TrainingConfig, screen_evidence
from learning.draft_prompts import prompt_for, values_of
from serving import policies
from serving.prompts import Template

MOST = 20_000  # the newest of each source
HELD_OUT = 0.2  # of inquiries: they judge, and train nothing

Pair = tuple[uuid.UUID, str, str, float]
Opinion = tuple[uuid.UUID, str, bool, float]


@dataclass(frozen=True)
class Material:
    """``pairs`` (inquiry, chosen, rejected, weight) and ``opinions`` (inquiry, reply, liked, weight); ``asked`` holds what
    a prompt may say of each inquiry; ``too_dirty`` are the reasons why votes were left out."""

    pairs: list[Pair] = field(default_factory=list)
    opinions: list[Opinion] = field(default_factory=list)
    asked: dict[uuid.UUID, dict[str, str]] = field(default_factory=dict)
    too_dirty: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        rows = [[str(p[0]), *p[1:]] for p in (*self.pairs, *self.opinions)]
        return hashlib.sha256(msgspec.json.encode([rows, {str(k): v for k, v in self.asked.items()}])).hexdigest()

    def preferred(self, templates: list[Template], *, held_out: bool) -> list[Preferred]:
        """Pairs as prompts and replies, of the inquiries that judge or of those that train."""
        kept = [p for p in self.pairs if p[0] in self.asked and judges(p[0]) == held_out]
        return [Preferred(self.prompt(i, templates), _said(a), _said(b), w) for i, a, b, w in kept]

    def judged(self, templates: list[Template], *, held_out: bool) -> list[Judged]:
        """Opinions, and both sides of every pair, as prompts and replies; each reply to an inquiry once."""
        sides = [(i, text, up, w) for i, a, b, w in self.pairs for text, up in ((a, True), (b, False))]
        found = {(i, text, up): w for i, text, up, w in (*sides, *self.opinions)}
        kept = [(key, w) for key, w in found.items() if key[0] in self.asked and judges(key[0]) == held_out]
        return [Judged(self.prompt(i, templates), _said(text), up, w) for (i, text, up), w in kept]

    def prompt(self, inquiry: uuid.UUID, templates: list[Template]) -> str:
        return prompt_for(self.asked[inquiry], templates)


def judges(inquiry: uuid.UUID) -> bool:
    """Whether an inquiry is held out; fixed by its id, so that it never trains a later version either."""
    return share_of(inquiry, "language models") < HELD_OUT


def collect(*, project_id: int) -> Material:
    """Everything that people have said about replies in a project."""
    pairs, opinions, dirty = _votes(project_id)
    pairs += [*_compared(project_id), *_corrected(project_id), *_redrafted(project_id)]
    opinions += [*_sent(project_id), *_drafted(project_id)]
    ids = {p[0] for p in pairs} | {o[0] for o in opinions}
    rows = Inquiry.objects.filter(pk__in=ids).select_related("category")
    return Material(pairs, opinions, {i.pk: values_of(i) for i in rows.order_by("pk")}, tuple(dirty))


def _said(reply: str) -> str:
    """As it follows a prompt that ends with a word."""
    return f" {reply.strip()}"


def _votes(project_id: int) -> tuple[list[Pair], list[Opinion], list[str]]:
    pairs: list[Pair] = []
    opinions: list[Opinion] = []
    dirty: list[str] = []
    for catalog in replies.catalogs(project_id=project_id):
        serving = policies.in_production(project_id=project_id, encoder_sha=catalog.encoder.sha256)
        shown = preferences.collect(project_id=project_id, encoder_sha=catalog.encoder.sha256, replies=catalog.ids)
        if serving is None or not len(shown.votes):
            continue
        known = [int(r) for r in policies.open_bundle(serving).manifest["replies"]]
        reference = replies.extended(replies.opened(serving).without_person(), known, catalog.ids)
        evidence = Evidence(shown.x, catalog.replies, shown.votes, shown.weights, reference, logged=shown.logged)
        screening = screen_evidence(evidence, TrainingConfig())
        if screening.too_dirty:
            dirty.append(screening.too_dirty)
            continue
        weights, texts = shown.weights * screening.weights, [o.text for o in catalog.offers]
        made = pairs_from_votes(shown.votes, weights, shown.x)
        pairs += [
            (shown.inquiries[i], texts[a], texts[b], float(w))
            for i, a, b, w in zip(made.inquiry, made.chosen, made.rejected, made.weight, strict=True)
        ]
        v = shown.votes
        opinions += [
            (shown.inquiries[i], texts[r], bool(up >= 0.5), float(w))
            for i, r, up, w in zip(v.inquiry, v.reply, v.up, weights, strict=True) if w > 0
        ]  # fmt: skip
    return pairs, opinions, dirty


def _compared(project_id: int) -> Iterator[Pair]:
    """Annotators' comparisons that count; a tie or "neither" is no pair."""
    given = ComparisonAnswer.objects.filter(
        comparison__project_id=project_id, slot__isnull=False, verdict__in=["first", "second"]
    )
    said = given.values_list("comparison__inquiry_id", "comparison__first__text", "comparison__second__text", "verdict")
    for inquiry, first, second, verdict in said.order_by("-pk")[:MOST]:
        yield (inquiry, first, second, 1.0) if verdict == "first" else (inquiry, second, first, 1.0)


def _corrected(project_id: int) -> Iterator[Pair]:
    found = CaseFinding.objects.filter(project_id=project_id, kind=FindingKind.PREFERRED_REPLY)
    rows = found.values_list("case__inquiry_id", "entry__text", "rejected__text").order_by("-pk")[:MOST]
    masked = _masked(project_id, (r[1] for r in rows))
    yield from ((r[0], text, r[2], 1.0) for r, text in zip(rows, masked, strict=True))


def _redrafted(project_id: int) -> Iterator[Pair]:
    decided = Draft.objects.filter(case__project_id=project_id, state__in=[DraftState.EDITED, DraftState.REPLACED])
    rows = decided.values_list("case__inquiry_id", "sent__text", "text").order_by("-pk")[:MOST]
    masked = _masked(project_id, (r[1] for r in rows))
    yield from ((r[0], text, r[2], 1.0) for r, text in zip(rows, masked, strict=True))


def _sent(project_id: int) -> Iterator[Opinion]:
    entries = CaseEntry.objects.filter(case__project_id=project_id, kind=EntryKind.REPLY)
    rows = entries.values_list("case__inquiry_id", "text").order_by("-pk")[:MOST]
    yield from (
        (r[0], text, True, 1.0) for r, text in zip(rows, _masked(project_id, (r[1] for r in rows)), strict=True)
    )


def _drafted(project_id: int) -> Iterator[Opinion]:
    decided = Draft.objects.filter(case__project_id=project_id, state__in=[DraftState.APPROVED, DraftState.DISMISSED])
    for inquiry, text, state in decided.values_list("case__inquiry_id", "text", "state").order_by("-pk")[:MOST]:
        yield inquiry, text, state == DraftState.APPROVED, 1.0


def _masked(project_id: int, texts: Iterable[Any]) -> list[str]:
    """What agents wrote to a customer may name them; a model must not learn that."""
    orders = tuple(Project.objects.values_list("order_templates", flat=True).get(pk=project_id))
    return [mask(str(t), orders).text for t in texts]
