"""The plain endpoints of labeling/, as the OpenAPI document shows them."""

from __future__ import annotations

from typing import Any

from feedback.described import JSON, Described, Parameter, describe
from labeling.desk_api import AnnotationIn, LeaseIn, NextIn
from labeling.exchange.formats import FORMATS, STREAMED

describe(
    "labels",
    Described(
        method="get", tag="labels", answers={200: str},
        answer_media=tuple(sorted({FORMATS[name].media_type.partition(";")[0] for name in STREAMED})),
        parameters=(
            Parameter("format", "query", "How the labels are written.", {"type": "string", "enum": sorted(STREAMED)}),
            Parameter("since", "query", "Only what was settled from then on, with its offset.", {"type": "string"}),
            Parameter("project", "query", "The project's slug; a key has only its own.", {"type": "string"}),
            Parameter("bom", "query", "1: a byte order mark first, for spreadsheets.", {"type": "string"}),
        ),
    ),
)  # fmt: skip

# The desk's own hot paths, for people who are signed in.
for name, body, answers in (
    ("queue-next", NextIn, {200: dict[str, Any], 204: None}),
    ("task-annotations", AnnotationIn, {201: dict[str, Any]}),
    ("task-heartbeat", LeaseIn, {200: dict[str, Any]}),
):
    describe(
        name, Described(method="post", tag="queue", bodies={JSON: body}, answers=answers, security=("cookieAuth",))
    )
