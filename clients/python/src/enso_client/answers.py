"""What the server answers, as typed dictionaries. A newer server may add fields."""

from __future__ import annotations

from typing import Any, Literal, TypedDict


class Reason(TypedDict):
    code: str
    detail: str


class Reply(TypedDict):
    id: int | None
    text: str


class Answer(TypedDict):
    """What the model says about a text, and whether it or a person answers. `id` is None where nothing was stored."""

    id: str | None
    category: str
    confidence: float
    probabilities: dict[str, float]
    sentiment: float | None
    decision: Literal["auto", "human"]
    reasons: list[Reason]
    reply: Reply | None
    task: int | None
    escalation: int | None
    model: str


class Story(TypedDict):
    """Where an inquiry stands, and what happened to it."""

    id: str
    external_id: str | None
    status: str
    category: str | None
    reply: Reply | None
    decision: Answer | None
    history: list[dict[str, Any]]


class Receipt(TypedDict):
    """What became of an event: stored, duplicate (known already) or conflict (its id was used for another one)."""

    id: str | None
    result: Literal["stored", "duplicate", "conflict"]


class Escalation(TypedDict):
    escalation: int
    state: str


class Model(TypedDict):
    number: int
    kind: str
    stage: str
    encoder: str
    manifest: str
    parent: int | None
    metrics: dict[str, Any]
    gates: Any
    lineage: dict[str, Any]
    created_at: str
    promoted_at: str | None


class Job(TypedDict):
    id: int
    kind: str
    state: str
    progress: float
    stage: str
    attempt: int
    errors: list[str]
    result: dict[str, Any]
    created_at: str
    started_at: str | None
    finished_at: str | None
