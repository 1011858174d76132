"""Who answers: the table of DESIGN §1 as a function. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Policy:
    """A project's thresholds."""

    confidence_threshold: float = 0.7
    anger_threshold: float = -0.5
    answers_by_hand: bool = False
    audit_rate: float = 0.05


@dataclass(frozen=True)
class Decision:
    """What happens to an inquiry. The audit changes nothing that the customer sees: it only adds a blind task."""

    decision: str
    reasons: tuple[dict[str, Any], ...]
    label: bool
    escalate: bool
    audit: bool


def decide(
    policy: Policy,
    *,
    category: str | None,
    confidence: float,
    high_risk: bool,
    sentiment: float | None,
    draw: float,
    unread: bool = False,
) -> Decision:
    """Decide from the best category, its calibrated confidence, the sentiment and one uniform draw in [0, 1).

    What no model could read (`unread`) may be risky or angry for all that is known: it becomes a case of its own.

    >>> d = decide(Policy(), category="refund", confidence=0.93, high_risk=False, sentiment=0.1, draw=0.5)
    >>> d.decision, d.label, d.escalate
    ('auto', False, False)
    """
    reasons: list[dict[str, Any]] = []
    if unread:
        reasons.append({"code": "unread", "detail": "No model could read it."})
        return Decision("human", tuple(reasons), label=False, escalate=True, audit=draw < policy.audit_rate)
    if high_risk:
        reasons.append({"code": "high_risk", "detail": f"The category {category!r} is always answered by a person."})
    if angry := sentiment is not None and sentiment < policy.anger_threshold:
        reasons.append({"code": "angry", "detail": f"Sentiment {sentiment:.2f} is below {policy.anger_threshold:.2f}."})
    if unsure := category is None or confidence < policy.confidence_threshold:
        reasons.append(
            {"code": "unsure", "detail": f"Confidence {confidence:.2f} is below {policy.confidence_threshold:.2f}."}
        )
    escalate = high_risk or angry or (unsure and policy.answers_by_hand)
    return Decision(
        decision="human" if reasons else "auto",
        reasons=tuple(reasons),
        label=unsure and not (high_risk or angry),
        escalate=escalate,
        audit=draw < policy.audit_rate,
    )


def handed_over(decision: Decision, share: float) -> Decision:
    """A sure answer for which the reply policy prefers a person (with probability `share`) to every prepared reply."""
    reason = {"code": "no_reply", "detail": f"No prepared reply is likely to help; a person is asked ({share:.0%})."}
    return replace(decision, decision="human", reasons=(*decision.reasons, reason), escalate=True)


def left_open(decision: Decision, gaps: Sequence[str]) -> Decision:
    """A sure answer whose reply has gaps that nothing fills: nobody is sent half a sentence, a person writes instead.

    The model knew the category, so that there is nothing to label.
    """
    named = ", ".join(gaps)
    reason = {"code": "gap", "detail": f"The reply needs {named}, which the inquiry's metadata does not give."}
    return replace(decision, decision="human", reasons=(*decision.reasons, reason), escalate=True)
