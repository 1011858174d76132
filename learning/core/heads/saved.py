"""A trained head as bytes, so that a training that is killed after it does not fit again. Float64, exact.

It serves nothing: what is served is a bundle (serving/artifacts.py). Not kept are things that a head is not made of.
"""

from __future__ import annotations

import json
import zlib
from typing import Any

import numpy as np

from learning.core.heads.features import FeatureMap
from learning.core.heads.neighbours import NeighbourScores
from learning.core.heads.training import TrainedHead
from learning.core.heads.whitening import Whitening

FORMAT = 2  # of the bytes: a training that an older release began fits its head again


def to_bytes(head: TrainedHead) -> bytes:
    """One line of JSON with the checksum of the rest, then weights, bias and parts, little-endian.

    Metrics and hyper-parameters must be JSON. The same head always gives the same bytes.
    """
    names = sorted(head.parts)
    arrays = [head.weights, head.bias, *(head.parts[name] for name in names)]
    body = b"".join(np.ascontiguousarray(a, dtype="<f8").tobytes() for a in arrays)
    looked_up = head.neighbours
    if looked_up is not None:
        singles = (looked_up.whitening.centre, looked_up.whitening.matrix)
        halves = (looked_up.rows, looked_up.views, looked_up.whitened, looked_up.votes)
        body += b"".join(np.ascontiguousarray(a, dtype="<f4").tobytes() for a in singles)
        body += b"".join(np.ascontiguousarray(a, dtype="<f2").tobytes() for a in halves)
    f = head.features
    first = {
        "format": FORMAT, "kind": head.kind, "categories": list(head.categories), "temperature": head.temperature, "metrics": head.metrics,
        "features": [f.dimension, f.count, f.seed, f.direct], "hyperparameters": head.hyperparameters, "parts": names,
        "shares": dict(head.shares), "crc32": zlib.crc32(body),
        "neighbours": None if looked_up is None else [len(looked_up.rows), looked_up.share, looked_up.k],
    }  # fmt: skip
    return json.dumps(first, ensure_ascii=False).encode() + b"\n" + body


def from_bytes(data: bytes) -> TrainedHead:
    """Raises ValueError where a byte is missing or changed, or another release wrote them."""
    first, _, body = data.partition(b"\n")
    told = json.loads(first)
    if told.get("format") != FORMAT:
        raise ValueError("a saved head of another release")
    if zlib.crc32(body) != told["crc32"]:
        raise ValueError("a saved head was cut off or changed")
    features = FeatureMap(*told["features"])
    k = len(told["categories"])
    size = 8 * k * (features.width + 1) * (1 + len(told["parts"]))
    rows = np.frombuffer(body[:size], dtype="<f8").astype(np.float64).reshape(-1, k)
    weights, bias, rest = np.split(rows, [features.width, features.width + 1])
    parts = np.split(rest, len(told["parts"])) if told["parts"] else []
    return TrainedHead(
        kind=told["kind"], categories=tuple(told["categories"]), features=features, weights=weights, bias=bias[0],
        temperature=told["temperature"], metrics=told["metrics"], hyperparameters=told["hyperparameters"],
        parts=dict(zip(told["parts"], parts, strict=True)), shares=told["shares"],
        neighbours=_neighbours(body[size:], told["neighbours"], features.dimension, k) if told["neighbours"] else None,
    )  # fmt: skip


def _neighbours(data: bytes, told: list[Any], dimension: int, classes: int) -> NeighbourScores:
    n, share, k = told
    singles = np.frombuffer(data, dtype="<f4", count=dimension * (dimension + 1)).astype(np.float32)
    halves = np.frombuffer(data, dtype="<f2", offset=4 * len(singles)).astype(np.float16)
    rows, views, whitened, votes = np.split(halves, np.cumsum([n * dimension, n * classes, n * dimension]))
    return NeighbourScores(
        rows.reshape(n, dimension), views.reshape(n, classes),
        Whitening(singles[:dimension], singles[dimension:].reshape(dimension, dimension)),
        whitened.reshape(n, dimension), votes.reshape(n, classes), share=share, k=k,
    )  # fmt: skip
