"""Answering a customer and closing the case. What a resolution teaches flows back as events.

- The category is a gold label (`label.resolved`), and settles an open label task of the same inquiry.
- A reply that a person wrote although an automatic one was there is a preference (`reply.preferred`).
- A guideline that misled becomes a proposal, which a lead accepts (`guideline.proposed`).
- A version that must not go on serving is named by the inquiry that it answered (`model.blocked`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from django.db import transaction
from django.utils import timezone

from feedback import privacy
from feedback.models import Category, Reply
from feedback.problems import invalid
from labeling import case_events, drafts, escalations, macros, services
from labeling.case_models import CaseEntry, CaseFinding, EntryKind, FindingKind, Outcome
from labeling.escalations import Hand
from labeling.models import Escalation, EscalationState, LabelSource


@dataclass(frozen=True)
class Resolution:
    """How a case ends. `category` is a key; `reply` may be empty only where none was needed."""

    category: str
    outcome: str = Outcome.ANSWERED
    reply: str = ""
    prefer: bool = True
    guideline: str = ""
    block_model: bool = False


def reply(hand: Hand, *, text: str) -> Escalation:
    """Tell the customer something and keep the case open: the first response is given."""
    _must_be_complete(text)
    text = privacy.without_payment_numbers(text, project_id=hand.project_id)
    with transaction.atomic():
        case = escalations.find(project_id=hand.project_id, case_id=hand.case_id)
        entry = CaseEntry(kind=EntryKind.REPLY, text=text)
        case = escalations.change(hand, entry, reply_text=text, **_answered(case))
        drafts.settle(case, entry)
        case_events.Replied(case.pk, str(case.inquiry_id), entry.pk).publish(project_id=case.project_id)
    return case


def _answered(case: Escalation) -> dict[str, object]:
    """The first response stops the first clock; the second one goes on."""
    if case.first_response_at is not None:
        return {}
    return {"first_response_at": timezone.now(), "next_due_at": case.resolve_due_at}


def _must_be_complete(text: str) -> None:
    escalations.must_be_text("reply", text)
    if left := macros.gaps(text):
        raise invalid("reply", f"Fill in or remove {{{left[0]}}}: the customer would read it as it stands.")


def resolve(hand: Hand, *, how: Resolution) -> Escalation:
    """Close the case as `how` says, in one transaction with everything that follows from it; 409 when overtaken."""
    category = Category.objects.filter(project_id=hand.project_id, key=how.category, archived_at=None).first()
    _must_fit(how, category)
    assert category is not None
    how = replace(
        how,
        reply=privacy.without_payment_numbers(how.reply, project_id=hand.project_id),
        guideline=privacy.masked(how.guideline, project_id=hand.project_id).text,
    )
    with transaction.atomic():
        case = escalations.find(project_id=hand.project_id, case_id=hand.case_id)
        # Read before the label is settled: until then the inquiry's category is the model's.
        automatic = automatic_reply(case)
        entry = _written(hand, how)
        fields = _answered(case) | {"reply_text": how.reply} if entry else {}
        closing = CaseEntry(kind=EntryKind.RESOLVED, data={"outcome": how.outcome, "category": category.key})
        case = escalations.change(
            hand, closing, state=EscalationState.RESOLVED, outcome=how.outcome, category=category, assignee_id=hand.agent_id,
            resolved_at=timezone.now(), snoozed_until=None, **fields | {"next_due_at": None},
        )  # fmt: skip
        services.settle_label(inquiry=case.inquiry, category_id=category.pk, source=LabelSource.AGENT)
        services.settle_by_agent(case.inquiry, category.pk)
        if entry is not None:
            drafts.settle(case, entry)
        _announce(case, how, category, entry)
        _teach(hand, case, how, category, entry, automatic)
    return case


def _must_fit(how: Resolution, category: Category | None) -> None:
    if category is None:
        raise invalid("category", "Choose what it was about: the choice becomes a label.")
    if how.outcome not in Outcome.values:
        raise invalid("outcome", f"The outcome is one of {', '.join(Outcome.values)}.")
    if how.reply.strip():
        _must_be_complete(how.reply)
    elif how.outcome == Outcome.ANSWERED:
        raise invalid("reply", "Write what the customer is told, or choose another outcome.")
    if how.guideline:
        escalations.must_be_text("guideline", how.guideline)


def automatic_reply(case: Escalation) -> Reply | None:
    """What the customer was told by the model, or would have been: its category's reply in the inquiry's language."""
    inquiry = case.inquiry
    if inquiry.reply_id or inquiry.category_id is None:
        return inquiry.reply
    rows = Reply.objects.filter(category_id=inquiry.category_id, active=True).order_by("slot")
    language = inquiry.locale.split("-")[0]
    return next((r for r in rows if r.locale.split("-")[0] == language), None)


def _written(hand: Hand, how: Resolution) -> CaseEntry | None:
    if not how.reply.strip():
        return None
    return CaseEntry.objects.create(case_id=hand.case_id, kind=EntryKind.REPLY, author_id=hand.agent_id, text=how.reply)


def _announce(case: Escalation, how: Resolution, category: Category, entry: CaseEntry | None) -> None:
    """The case is resolved; that the inquiry is, too, feedback announces when its category is settled."""
    said = entry.pk if entry else None
    event = case_events.Resolved(case.pk, str(case.inquiry_id), how.outcome, category.key, said)
    event.publish(project_id=case.project_id)


def _teach(
    hand: Hand, case: Escalation, how: Resolution, category: Category, entry: CaseEntry | None, automatic: Reply | None
) -> None:
    inquiry = str(case.inquiry_id)
    common = {"case": case, "project_id": case.project_id, "author_id": hand.agent_id}
    if how.prefer and entry and automatic and automatic.text.strip() != entry.text.strip():
        CaseFinding.objects.create(
            kind=FindingKind.PREFERRED_REPLY, category=category, entry=entry, rejected=automatic, **common
        )
        case_events.ReplyPreferred(case.pk, inquiry, entry.pk, automatic.pk).publish(project_id=case.project_id)
    if how.guideline:
        found = CaseFinding.objects.create(kind=FindingKind.GUIDELINE, category=category, text=how.guideline, **common)
        case_events.GuidelineProposed(case.pk, inquiry, category.key, found.pk).publish(project_id=case.project_id)
    if how.block_model:
        found = CaseFinding.objects.create(kind=FindingKind.BLOCKED_MODEL, category=category, **common)
        case_events.ModelBlocked(case.pk, inquiry, found.pk).publish(project_id=case.project_id)
