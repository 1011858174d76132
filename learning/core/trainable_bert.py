"""A BERT-style encoder in torch whose upper layers can learn; the lower ones run once per text.

The same model as learning/core/encoder_graph writes for serving (arXiv:1810.04805), over the same tensors, with
dropout. Not handled: what learning/core/checkpoints does not read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that every torch program uses

from learning.core.checkpoints import read_checkpoint
from serving.encoder.tokens import Tokens

Ints = npt.NDArray[np.int64]
Drop = Callable[[Tensor], Tensor]
BATCH = 64
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
}


def keep(x: Tensor) -> Tensor:
    """No dropout."""
    return x


def dropout(share: float, generator: torch.Generator) -> Drop:
    """Dropout from a generator of its own: runs repeat whatever else draws random numbers."""
    return lambda x: x * (torch.rand(x.shape, generator=generator) >= share).float() / (1 - share)


class TrainableBert:
    """The checkpoint in ``directory``; ``weights`` are its tensors under BERT's names. Texts are cut at ``max_tokens``."""

    def __init__(self, directory: Path, *, max_tokens: int) -> None:
        self.checkpoint = read_checkpoint(directory)
        self.weights = {k: torch.from_numpy(np.array(v)) for k, v in self.checkpoint.tensors.items()}
        self._tokens = Tokens.open(directory / "tokenizer.json", min(max_tokens, self.checkpoint.max_tokens))
        self._activation = ACTIVATIONS[self.checkpoint.activation]

    def below(self, texts: Sequence[str], first: int) -> list[Tensor]:
        """What enters layer ``first``: token vectors [tokens, hidden] of each text."""
        out: list[Tensor] = [torch.empty(0)] * len(texts)
        with torch.no_grad():
            for rows, x, mask in self._embedded(texts):
                for i in range(first):
                    x = self._layer(i, x, mask, keep)
                for row, vectors, real in zip(rows, x, mask, strict=True):
                    out[row] = vectors[real].clone()
        return out

    def above(self, tokens: Sequence[Tensor], first: int, drop: Drop = keep) -> Tensor:
        """Unit vectors [n, hidden] of texts from what entered layer ``first``."""
        mask = torch.arange(max(map(len, tokens)))[None] < torch.tensor([len(t) for t in tokens])[:, None]
        x = torch.nn.utils.rnn.pad_sequence(list(tokens), batch_first=True)
        for i in range(first, self.checkpoint.layers):
            x = self._layer(i, x, mask, drop)
        share = mask.float()[:, :, None]
        pooled = x[:, 0] if self.checkpoint.pooling == "cls" else (x * share).sum(1) / share.sum(1)
        return F.normalize(pooled, dim=1)

    def vectors(self, tokens: Sequence[Tensor], first: int) -> npt.NDArray[np.float32]:
        """The same as an array, in batches, without gradients."""
        with torch.no_grad():
            parts = [self.above(tokens[i : i + BATCH], first) for i in range(0, len(tokens), BATCH)]
        return np.asarray(torch.cat(parts).numpy(), dtype=np.float32)

    def _embedded(self, texts: Sequence[str]) -> Iterator[tuple[Ints, Tensor, Tensor]]:
        """(row numbers, token vectors [n, tokens, hidden], mask [n, tokens]) at the bottom, texts of similar length together."""
        w, c = self.weights, self.checkpoint
        types = w.get("embeddings.token_type_embeddings.weight")
        tokens = [torch.tensor(t) for t in self._tokens([c.prefix + t for t in texts])]
        order = np.argsort([len(t) for t in tokens], kind="stable")
        for rows in (order[i : i + BATCH] for i in range(0, len(order), BATCH)):
            ids = torch.nn.utils.rnn.pad_sequence([tokens[i] for i in rows], batch_first=True, padding_value=c.pad_id)
            mask = torch.arange(ids.shape[1])[None] < torch.tensor([len(tokens[i]) for i in rows])[:, None]
            places = w["embeddings.position_embeddings.weight"][c.positions_from :][: ids.shape[1]]
            x = w["embeddings.word_embeddings.weight"][ids] + places + (0 if types is None else types[0])
            yield rows, self._norm(x, "embeddings.LayerNorm"), mask

    def _layer(self, i: int, x: Tensor, mask: Tensor, drop: Drop) -> Tensor:
        p = f"encoder.layer.{i}."
        x = self._norm(x + drop(self._attention(p, x, mask)), p + "attention.output.LayerNorm")
        inner = self._activation(self._linear(x, p + "intermediate.dense"))
        return self._norm(x + drop(self._linear(inner, p + "output.dense")), p + "output.LayerNorm")

    def _attention(self, p: str, x: Tensor, mask: Tensor) -> Tensor:
        n, t, d = x.shape
        heads = self.checkpoint.heads
        q, k, v = (
            self._linear(x, f"{p}attention.self.{part}").view(n, t, heads, d // heads).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        return self._linear(seen.transpose(1, 2).reshape(n, t, d), p + "attention.output.dense")

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        w, b = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return F.layer_norm(x, (x.shape[-1],), w, b, self.checkpoint.epsilon)
