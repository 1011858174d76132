"""Choosing among candidate replies at run time: scores from a graph, a masked softmax, and exploration. Pure.

The behaviour policy is (1 − ε)·softmax(score / T) + ε / n over the n candidates, as it is trained
(learning/core/preference/policy.py); its probability of what is shown is the propensity that is logged. What is not a
candidate has no probability at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from serving.artifacts import Bundle, CorruptBundle
from serving.breaker import Breaker

GRAPH, KIND = "policy.onnx", "reply-policy"
_GAP = re.compile(r"\{([a-z][a-z0-9_]{0,39})\}")


@dataclass(frozen=True)
class Offer:
    """A reply of the catalog: `text` may hold gaps such as {order}."""

    id: int
    category: str
    locale: str
    text: str
    expires_at: datetime | None = None


@dataclass(frozen=True)
class Choice:
    """What is shown: the reply, its text with gaps filled, and the probabilities of all candidates by id."""

    policy: int
    reply: int
    text: str
    propensity: float
    candidates: dict[int, float]


def filled(text: str, metadata: Mapping[str, Any]) -> str | None:
    """The text with each gap filled from plain values of an inquiry's metadata; None where one is missing.

    >>> filled("Order {order} is on its way.", {"order": "A-7"})
    'Order A-7 is on its way.'
    >>> filled("Dear {name}", {"name": {"first": "x"}}) is None
    True
    """
    if gaps_in(text, metadata):
        return None
    return _GAP.sub(lambda gap: str(metadata[gap[1]]), text)


def gaps_in(text: str, metadata: Mapping[str, Any]) -> list[str]:
    """Names of the gaps that no plain value fills, each once.

    >>> gaps_in("Order {order}, {day}, {order}", {"day": "Friday", "order": True})
    ['order']
    """
    return [
        name
        for name in dict.fromkeys(_GAP.findall(text))
        if isinstance(v := metadata.get(name), bool) or not isinstance(v, str | int | float) or v == ""
    ]


def candidates(
    offers: Sequence[Offer], *, category: str, locale: str, metadata: Mapping[str, Any], now: datetime
) -> dict[int, str]:
    """Eligible replies by id with their texts: of this category, in the locale, else its language, else English.

    A reply that has expired or lacks a value for a gap is not eligible.
    """
    for wanted in dict.fromkeys((locale, locale.split("-")[0], "en")):
        found: dict[int, str] = {}
        for o in offers:
            if (o.category, o.locale) != (category, wanted) or (o.expires_at is not None and o.expires_at <= now):
                continue
            if (text := filled(o.text, metadata)) is not None:
                found[o.id] = text
        if found:
            return found
    return {}


class ServedPolicy:
    """The graph of one version: scores of the replies that it knows. Safe to call from several threads."""

    def __init__(self, graph: bytes, replies: Sequence[int], *, temperature: float, exploration: float) -> None:
        """`replies` are ids in the order of the graph's columns; ValueError where the graph has other columns."""
        options = ort.SessionOptions()
        # Far smaller than a thread hand-over, and a thread pool per policy would spin beside the web threads.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self.breaker = Breaker()
        self.replies = tuple(replies)
        self.temperature, self.exploration = temperature, exploration
        self._column = {reply: i for i, reply in enumerate(self.replies)}
        shapes = {i.name: i.shape for i in self._session.get_inputs()}
        if shapes["eligible"][1] != len(self.replies):
            raise ValueError(f"the graph scores {shapes['eligible'][1]} replies, {len(self.replies)} are named")

    @classmethod
    def load(cls, bundle: Bundle) -> ServedPolicy:
        """Raises CorruptBundle where its parts do not fit together."""
        try:
            m = bundle.manifest
            return cls(
                bundle.read(GRAPH), [int(r) for r in m["replies"]], temperature=float(m["temperature"]),
                exploration=float(m["exploration"]),
            )  # fmt: skip
        except (KeyError, ValueError, TypeError) as error:
            raise CorruptBundle(f"The policy in {bundle.path} cannot be served: {error}.") from error

    def knows(self, reply: int) -> bool:
        return reply in self._column

    def probabilities(self, x: NDArray[np.float32], ids: Sequence[int], *, explore: bool = True) -> NDArray[np.float64]:
        """Of each candidate [len(ids)] for one embedding ``x`` [d]; without `explore` the learned part alone."""
        mask = np.zeros((1, len(self.replies)), dtype=bool)
        columns = [self._column[i] for i in ids]
        mask[0, columns] = True
        share = np.asarray(self.exploration if explore else 0.0, dtype=np.float32)
        feed = {"embedding": x[None, :].astype(np.float32), "eligible": mask, "exploration": share}
        p = np.asarray(self._session.run(["probabilities"], feed)[0][0, columns], dtype=np.float64)
        if not (np.isfinite(p).all() and p.sum() > 0):
            raise ValueError("the policy gave no probabilities")
        return np.asarray(p / p.sum())


@dataclass(frozen=True)
class Shelf:
    """What a project chooses replies from: the policy of each encoder (by sha256) with its version, and the offers."""

    policies: Mapping[str, tuple[int, ServedPolicy]] = field(default_factory=dict)
    offers: tuple[Offer, ...] = ()


def choose(
    policy: ServedPolicy, version: int, x: NDArray[np.float32], offered: Mapping[int, str], *, draw: float | None
) -> Choice | None:
    """Draw one of the offered replies by ``draw`` in [0, 1), or (None) take the likeliest; None where it knows none.

    Candidates with the very same text are told apart by their ids and nothing else.
    """
    ids = sorted(i for i in offered if policy.knows(i))
    if not ids:
        return None
    p = policy.probabilities(x, ids, explore=draw is not None)
    at = int(p.argmax()) if draw is None else min(int(np.searchsorted(p.cumsum(), draw, side="right")), len(ids) - 1)
    shares = {i: float(share) for i, share in zip(ids, p, strict=True)}
    return Choice(version, ids[at], offered[ids[at]], max(float(p[at]), 1e-9), shares)
