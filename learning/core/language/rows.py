"""Texts → token rows: a prompt and a reply as one sequence, of which the reply's tokens (and the end) are what is learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor

from learning.core.language.base import Base


@dataclass(frozen=True)
class Preferred:
    """People prefer ``chosen`` to ``rejected`` as a continuation of ``prompt``; ``weight`` ≥ 0."""

    prompt: str
    chosen: str
    rejected: str
    weight: float = 1.0


@dataclass(frozen=True)
class Judged:
    """People liked ``reply`` as a continuation of ``prompt``, or did not; ``weight`` ≥ 0."""

    prompt: str
    reply: str
    liked: bool
    weight: float = 1.0


@dataclass(frozen=True)
class Tokens:
    """Token ids of prompt, reply and end; the reply begins at ``start``."""

    ids: tuple[int, ...]
    start: int


@dataclass(frozen=True)
class Rows:
    """What a learner is given: row i has the sequences ``first[i]`` and ``second[i]`` and ``weight[i]``.

    For pairs they are chosen and rejected. For judged replies the second is the next row's reply under this prompt, KTO's
    mismatched pair, and ``liked`` [n] says what people thought of the first. ``left_out`` did not fit the context.
    """

    first: tuple[Tokens, ...]
    second: tuple[Tokens, ...]
    weight: npt.NDArray[np.float32]
    liked: npt.NDArray[np.bool_]
    left_out: int

    def __len__(self) -> int:
        return len(self.first)


class Encoder:
    """Prompts and replies → token ids, by a base model's own tokenizer."""

    def __init__(self, base: Base, *, limit: int) -> None:
        self.tokenizer: Tokenizer = base.tokenizer()
        self.end, self.limit = base.end[0], min(limit, base.context)

    def tokens(self, prompt: str, reply: str) -> Tokens | None:
        """None where prompt and reply are longer than the limit: half a reply is not what people judged."""
        start = self.tokenizer.encode(prompt).ids
        # Encoded apart from the prompt, as drafting goes on from the prompt's own tokens.
        ids = [*start, *self.tokenizer.encode(reply, add_special_tokens=False).ids, self.end]
        return Tokens(tuple(ids), len(start)) if start and len(ids) <= self.limit else None

    def pairs(self, examples: Sequence[Preferred]) -> Rows:
        found = [(self.tokens(e.prompt, e.chosen), self.tokens(e.prompt, e.rejected), e.weight) for e in examples]
        kept = [(a, b, w) for a, b, w in found if a is not None and b is not None and w > 0]
        return Rows(
            tuple(a for a, _, _ in kept), tuple(b for _, b, _ in kept), np.array([w for _, _, w in kept], np.float32),
            np.ones(len(kept), dtype=bool), len(examples) - len(kept),
        )  # fmt: skip

    def judged(self, examples: Sequence[Judged]) -> Rows:
        others = [e.reply for e in (*examples[1:], *examples[:1])]
        found = [
            (self.tokens(e.prompt, e.reply), self.tokens(e.prompt, o), e) for e, o in zip(examples, others, strict=True)
        ]
        kept = [(a, b, e) for a, b, e in found if a is not None and b is not None and e.weight > 0]
        return Rows(
            tuple(a for a, _, _ in kept), tuple(b for _, b, _ in kept),
            np.array([e.weight for _, _, e in kept], np.float32), np.array([e.liked for _, _, e in kept], dtype=bool),
            len(examples) - len(kept),
        )  # fmt: skip


def log_probabilities(model: torch.nn.Module, sequences: Sequence[Tokens]) -> Tensor:
    """log π(reply, end | prompt) of each sequence [n], summed over tokens, with gradient where the model has one.

    Padded on the right: in a causal model what comes later changes nothing before it, so no padding id is needed.
    """
    width = max(len(s.ids) for s in sequences)
    ids = torch.zeros((len(sequences), width), dtype=torch.long)
    mask, said = torch.zeros_like(ids), torch.zeros(ids.shape)
    for n, s in enumerate(sequences):
        ids[n, : len(s.ids)] = torch.as_tensor(s.ids)
        mask[n, : len(s.ids)] = 1
        said[n, s.start : len(s.ids)] = 1
    device = next(model.parameters()).device
    ids, mask, said = ids.to(device), mask.to(device), said.to(device)
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
    each = torch.log_softmax(logits.float(), dim=-1).gather(2, ids[:, 1:, None])[:, :, 0]
    return (each * said[:, 1:]).sum(dim=1)
