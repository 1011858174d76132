"""The plain endpoints of serving/, as the OpenAPI document shows them."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from feedback.described import IDEMPOTENCY_KEY, JSON, Described, Parameter, describe
from labeling.exchange.csv_files import ENCODINGS
from serving.api import BatchIn, EscalateIn, InquiryIn, PredictIn
from serving.batch import TAKEN
from serving.batch_api import LineIn

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


class RefusedRowOut(msgspec.Struct):
    """A row that could not be predicted, and what to do."""

    row: int
    field: str
    detail: str


class PredictionFileOut(msgspec.Struct):
    """How far the prediction of a file is."""

    id: int
    state: Literal["queued", "running", "done", "failed", "cancelled", "dead"]
    progress: Share
    rows: int
    eta_seconds: float | None
    predicted: int
    refused: int
    refused_rows: list[RefusedRowOut]
    problem: str | None
    result: str | None


def _parameter(name: str, about: str, *values: str) -> Parameter:
    return Parameter(
        name, "query", about, {"type": "string", **({"enum": list(values)} if values else {"maxLength": 200})}
    )


# Parquet is told as bytes: its own media type is taken too.
FILES = {"text/csv": str, "application/x-ndjson": str, "application/octet-stream": str}
describe(
    "predict-files",
    Described(
        method="post", tag="predict", bodies=FILES, answers={202: PredictionFileOut},
        parameters=(
            _parameter("name", "The name of the file: its ending tells the format."),
            _parameter("format", "The format, where neither the name nor the media type tells it.", *TAKEN),
            _parameter("result", "The format of the result; that of the file where nothing is said.", *TAKEN),
            _parameter("encoding", "Where a CSV file is not UTF-8.", *ENCODINGS),
            _parameter("text_column", "The file's own name for the column `text`."),
        ),
    ),
)  # fmt: skip
describe("predict-file", Described(method="get", tag="predict", answers={200: PredictionFileOut}))
describe(
    "predict-result",
    Described(method="get", tag="predict", answers={200: str}, answer_media=tuple(FILES)),
)
describe("predict-cancel", Described(method="post", tag="predict", answers={202: PredictionFileOut}))
describe(
    "predict-stream",
    Described(
        method="post", tag="predict", bodies={"application/x-ndjson": LineIn}, answers={200: str},
        answer_media=("application/x-ndjson",),
    ),
)  # fmt: skip
