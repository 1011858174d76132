"""The plain endpoints of labeling/, as the OpenAPI document shows them."""

from __future__ import annotations

from feedback.described import Described, Parameter, describe
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
