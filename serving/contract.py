"""The plain endpoints of serving/, as the OpenAPI document shows them."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from feedback.described import IDEMPOTENCY_KEY, JSON, Described, describe
from serving.api import BatchIn, EscalateIn, InquiryIn, PredictIn

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Tone = Annotated[float, msgspec.Meta(ge=-1, le=1)]


class ReplyOut(msgspec.Struct):
    """What the customer is shown; a person's own words have no id."""

    id: int | None
    text: str


class PredictionOut(msgspec.Struct):
    """What the service decided, and why."""

    category: str | None
    confidence: Share
    probabilities: dict[str, Share]
    sentiment: Tone
    decision: Literal["auto", "human"]
    reasons: list[dict[str, Any]]
    reply: ReplyOut | None
    task: int | None
    escalation: int | None
    model: str


class AnswerOut(PredictionOut, kw_only=True):
    """The answer to an inquiry that is stored."""

    id: uuid.UUID


class PredictionsOut(msgspec.Struct):
    """Answers in the order of the inquiries."""

    predictions: list[PredictionOut]


class StoryOut(msgspec.Struct):
    """An inquiry as it stands now."""

    id: uuid.UUID
    external_id: str | None
    status: Literal["answered", "waiting", "resolved"]
    category: str | None
    reply: ReplyOut | None
    decision: dict[str, Any] | None
    history: list[dict[str, Any]]


class EscalationOut(msgspec.Struct):
    """The open escalation of an inquiry."""

    escalation: int
    state: Literal["open", "resolved"]


class MomentOut(msgspec.Struct):
    """A step in the history of an inquiry."""

    at: datetime
    what: str


describe(
    "inquiries",
    Described(
        method="post", tag="inquiries", bodies={JSON: InquiryIn}, parameters=(IDEMPOTENCY_KEY,),
        answers={200: (AnswerOut, PredictionOut), 201: AnswerOut},
    ),
)  # fmt: skip
describe("inquiry", Described(method="get", tag="inquiries", answers={200: StoryOut}))
describe(
    "inquiry-escalate",
    Described(
        method="post", tag="inquiries", bodies={JSON: EscalateIn}, body_required=False, answers={201: EscalationOut}
    ),
)
describe("predict", Described(method="post", tag="predict", bodies={JSON: PredictIn}, answers={200: PredictionOut}))
describe(
    "predict-batch", Described(method="post", tag="predict", bodies={JSON: BatchIn}, answers={200: PredictionsOut})
)
