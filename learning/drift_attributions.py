"""The attributions that a drift check compares: those of the version that the reference belongs to, as it was made.

They are not stored: embeddings are rows and the head is a bundle, so that they can be computed again for any report.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from learning.core.drift.attribution import AttributionShift, attribution_shift
from learning.core.explain import contributions
from learning.core.heads.features import FeatureMap
from learning.drift_evidence import Evidence, Texts
from serving.artifacts import CorruptBundle
from serving.head import OnnxHead
from serving.registry import open_bundle

NAME = "attribution_ks"
MOST = 2_000  # texts of the reference, the newest: more cost time and move nothing
FEWEST = 20


def shift_of(known: Evidence, texts: Texts) -> AttributionShift | None:
    """None where no version served yet, its head is not linear in known features, or there are too few texts."""
    head = _head(known)
    if head is None or min(len(texts.ids), len(known.texts.ids)) < FEWEST:
        return None
    now, before = (_contributions(*head, x) for x in (texts.x, known.texts.x[-MOST:]))
    return attribution_shift(now, before, rng=np.random.default_rng(known.seed))


def detector(found: AttributionShift, level: float) -> dict[str, Any]:
    """As a report lists it, beside the detectors by name."""
    return {
        "name": NAME, "value": found.gap, "p": found.p_value, "drifted": found.drifted(level), "part": False,
    }  # fmt: skip


def _head(known: Evidence) -> tuple[OnnxHead, FeatureMap] | None:
    version = known.row.model
    if version is None:
        return None
    try:
        bundle = open_bundle(version)
        told = bundle.manifest["preprocessing"].get("features")
        return (OnnxHead.load(bundle), FeatureMap(**told)) if told else None
    except CorruptBundle:
        return None


def _contributions(head: OnnxHead, features: FeatureMap, x: NDArray[np.float32]) -> NDArray[np.float64]:
    answered = head.predict(x).argmax(1)
    weights = head.weights[head.neighbours :].astype(np.float64)  # what neighbours say belongs to no coordinate
    return contributions(features, weights, x.astype(np.float64), answered)
