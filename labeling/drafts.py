"""Use cases of drafts: propose one for an open case, dismiss it, and note what an agent sent instead of it, or of it.

A draft is never sent by itself. It becomes a reply only where an agent sends a text; how that text compares says what the
agent thought of the draft, which is what the next tuning learns from.
"""

from __future__ import annotations

from difflib import SequenceMatcher

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from feedback import privacy
from feedback.problems import Problem, not_found
from feedback.texts import fault_in
from labeling.case_models import CaseEntry
from labeling.draft_models import Draft, DraftState
from labeling.models import Escalation, EscalationState

# From this likeness (Ratcliff/Obershelp, of 1) on, what was sent is the draft with changes and not another reply.
SAME_REPLY = 0.5


def without_one(*, project_id: int) -> QuerySet[Escalation]:
    """Open cases that have no draft and that nobody has answered yet, oldest first."""
    waiting = Escalation.objects.filter(project_id=project_id, state=EscalationState.OPEN, first_response_at=None)
    return waiting.filter(draft=None).select_related("inquiry__category").order_by("pk")


def propose(*, project_id: int, case_id: int, text: str, source: str) -> Draft | None:
    """Keep a draft for a case; None where it is closed, answered or has one already.

    A text that cannot be sent is kept as none, so that the model is not asked again. Nothing of the case changes: an agent who
    has it open is not overtaken.
    """
    usable = fault_in(text) is None
    text = privacy.masked(text, project_id=project_id).text if usable else ""
    with transaction.atomic():
        case = without_one(project_id=project_id).select_for_update(of=("self",)).filter(pk=case_id).first()
        if case is None:
            return None
        if not usable:
            return Draft.objects.create(case=case, source=source[:40], state=DraftState.NONE, decided_at=timezone.now())
        return Draft.objects.create(case=case, text=text, source=source[:40])


def dismiss(*, project_id: int, case_id: int, agent_id: int) -> None:
    """An agent finds the draft of no use. 404 where there is none, 409 where it was decided before."""
    own = Draft.objects.filter(case_id=case_id, case__project_id=project_id)
    if own.filter(state=DraftState.WAITING).update(
        state=DraftState.DISMISSED, decided_by=agent_id, decided_at=timezone.now()
    ):
        return
    if not own.exists():
        raise not_found("draft")
    raise Problem(409, "draft-decided", "Somebody has decided about this draft already.")


def settle(case: Escalation, entry: CaseEntry) -> None:
    """A reply was sent: the first one says what became of the draft. Inside the caller's transaction."""
    draft = Draft.objects.select_for_update().filter(case=case, state=DraftState.WAITING).first()
    if draft is not None:
        Draft.objects.filter(pk=draft.pk).update(
            state=judged(draft.text, entry.text), sent=entry, decided_by=entry.author_id, decided_at=timezone.now()
        )


def judged(draft: str, sent: str) -> DraftState:
    """What a sent text says of a draft.

    >>> str(judged("It is on its way.", "It is on its way. "))
    'approved'
    >>> str(judged("It is on its way.", "It is on its way to you."))
    'edited'
    >>> str(judged("It is on its way.", "Please call us."))
    'replaced'
    """
    a, b = draft.split(), sent.split()
    if a == b:
        return DraftState.APPROVED
    return DraftState.EDITED if SequenceMatcher(None, a, b).ratio() >= SAME_REPLY else DraftState.REPLACED
