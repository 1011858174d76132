"""Choosing among candidate replies at run time: scores from a graph, a masked softmax, and exploration. Pure.

The behaviour policy is (1 − ε)·softmax(score / T) + ε / n over the n candidates, as it is trained
(learning/core/preference/policy.py); its probability of what is shown is the propensity that is logged. What is not a
candidate has no probability at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from feedback.gaps import GAP, gaps_of
from serving.artifacts import Bundle, CorruptBundle
from serving.breaker import Breaker
from serving.rollout import takes_candidate

GRAPH, KIND = "policy.onnx", "reply-policy"
PERSON = 0  # the id of "ask a person" among the candidates


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
    """What is shown: the reply, its text with gaps filled, and the probabilities of all candidates by id.

    Without a reply a person is asked, who has the id `PERSON` among the candidates.
    """

    policy: int
    reply: int | None
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
    return GAP.sub(lambda gap: str(metadata[gap[1]]), text)


def gaps_in(text: str, metadata: Mapping[str, Any]) -> list[str]:
    """Names of the gaps that no plain value fills, each once.

    >>> gaps_in("Order {order}, {day}, {order}", {"day": "Friday", "order": True})
    ['order']
    """
    return [
        name
        for name in gaps_of(text)
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

    def __init__(
        self, graph: bytes, replies: Sequence[int], *, temperature: float, exploration: float, person: bool = False
    ) -> None:
        """`replies` are ids in the order of the graph's columns, which a person follows where there is one.

        ValueError where the graph has other columns.
        """
        options = ort.SessionOptions()
        # Far smaller than a thread hand-over, and a thread pool per policy would spin beside the web threads.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self.breaker = Breaker()
        self.replies = tuple(replies)
        self.temperature, self.exploration, self.person = temperature, exploration, person
        self._column = {reply: i for i, reply in enumerate(self.replies)}
        shapes = {i.name: i.shape for i in self._session.get_inputs()}
        if shapes["eligible"][1] != len(self.replies) + person:
            raise ValueError(
                f"the graph scores {shapes['eligible'][1]} candidates, {len(self.replies) + person} are named"
            )

    @classmethod
    def load(cls, bundle: Bundle) -> ServedPolicy:
        """Raises CorruptBundle where its parts do not fit together."""
        try:
            m = bundle.manifest
            return cls(
                bundle.read(GRAPH), [int(r) for r in m["replies"]], temperature=float(m["temperature"]),
                exploration=float(m["exploration"]), person=bool(m.get("person", False)),
            )  # fmt: skip
        except (KeyError, ValueError, TypeError) as error:
            raise CorruptBundle(f"The policy in {bundle.path} cannot be served: {error}.") from error

    def knows(self, reply: int) -> bool:
        return reply in self._column

    def probabilities(self, x: NDArray[np.float32], ids: Sequence[int], *, explore: bool = True) -> NDArray[np.float64]:
        """Of each candidate [len(ids)] for one embedding ``x`` [d], and of the person last [len(ids) + 1] where there is one.

        Without `explore` the learned part alone. Exploring draws among replies: nobody waits for a person by chance.
        """
        mask = np.zeros((1, len(self.replies) + self.person), dtype=bool)
        columns = [self._column[i] for i in ids] + [len(self.replies)] * self.person
        mask[0, columns] = True
        feed = {"embedding": x[None, :].astype(np.float32), "eligible": mask, "exploration": np.zeros((), np.float32)}
        p = np.asarray(self._session.run(["probabilities"], feed)[0][0, columns], dtype=np.float64)
        if not (np.isfinite(p).all() and p.sum() > 0):
            raise ValueError("the policy gave no probabilities")
        p /= p.sum()
        if explore:
            p *= 1 - self.exploration
            p[: len(ids)] += self.exploration / len(ids)
        return np.asarray(p)


@dataclass(frozen=True)
class Tried:
    """A policy that a share of the customers gets (percent)."""

    version: int
    policy: ServedPolicy
    salt: str
    percent: int


@dataclass(frozen=True)
class Shelf:
    """What a project chooses replies from: the policy of each encoder (by sha256) with its version, what is on trial beside
    it, and the offers."""

    policies: Mapping[str, tuple[int, ServedPolicy]] = field(default_factory=dict)
    offers: tuple[Offer, ...] = ()
    trials: Mapping[str, Tried] = field(default_factory=dict)

    def policy_for(self, encoder_sha: str, unit: str) -> tuple[int, ServedPolicy] | None:
        """The version and policy that choose for a customer (`unit`; "" is nobody in particular)."""
        tried = self.trials.get(encoder_sha)
        if tried is not None and unit and takes_candidate(tried.salt, unit, tried.percent):
            return tried.version, tried.policy
        return self.policies.get(encoder_sha)


def choose(
    policy: ServedPolicy, version: int, x: NDArray[np.float32], offered: Mapping[int, str], *, draw: float | None
) -> Choice | None:
    """Draw one of the offered replies, or the person, by ``draw`` in [0, 1), or (None) take the likeliest; None where it
    knows none of the replies.

    Candidates with the very same text are told apart by their ids and nothing else.
    """
    ids = sorted(i for i in offered if policy.knows(i))
    if not ids:
        return None
    p = policy.probabilities(x, ids, explore=draw is not None)
    at = int(p.argmax()) if draw is None else min(int(np.searchsorted(p.cumsum(), draw, side="right")), len(p) - 1)
    named = [*ids, PERSON] if policy.person else ids
    shares = {i: float(share) for i, share in zip(named, p, strict=True)}
    share = min(max(float(p[at]), 1e-9), 1.0)
    if named[at] == PERSON:
        return Choice(version, None, "", share, shares)
    return Choice(version, named[at], offered[named[at]], share, shares)
