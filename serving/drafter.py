"""A language model that writes drafts, as it is served: a bundle of graph, weights and tokenizer. No torch, no Django.

Greedy: the likeliest token each time, so that the same case has the same draft. A token reads all before it anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnxruntime
from tokenizers import Tokenizer

from serving.artifacts import Bundle

KIND = "language"
GRAPH, TOKENIZER, TEMPLATES = "model.onnx", "tokenizer.json", "templates.json"


@dataclass(frozen=True)
class Written:
    """``text`` of ``tokens`` tokens; ``ended`` by the model itself, not by the limit; ``logp`` per token, natural log."""

    text: str
    tokens: int
    ended: bool
    logp: float


class Drafter:
    """Reads a prompt and goes on."""

    def __init__(
        self, session: onnxruntime.InferenceSession, tokenizer: Tokenizer, end: tuple[int, ...], context: int
    ) -> None:
        self.session, self.tokenizer, self.end, self.context = session, tokenizer, frozenset(end), context

    @classmethod
    def load(cls, bundle: Bundle) -> Drafter:
        """Of a verified bundle. Raises KeyError where it is none of a language model."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        # From its path: the weights lie in a file beside the graph.
        session = onnxruntime.InferenceSession(str(bundle.path / GRAPH), options, providers=["CPUExecutionProvider"])
        tokenizer = Tokenizer.from_str(bundle.read(TOKENIZER).decode())
        return cls(session, tokenizer, tuple(bundle.manifest["end"]), int(bundle.manifest["context"]))

    def write(self, prompt: str, *, most: int = 256) -> Written | None:
        """What follows `prompt`, of at most ``most`` tokens; None where the prompt leaves no room to answer."""
        ids = list(self.tokenizer.encode(prompt).ids)
        begun, said, ended = len(ids), 0.0, False
        if not ids or begun >= self.context:
            return None
        while len(ids) < min(begun + most, self.context):
            logp = self._next(ids)
            token = int(logp.argmax())
            said += float(logp[token])
            if ended := token in self.end:
                break
            ids.append(token)
        count = len(ids) - begun
        return Written(self.tokenizer.decode(ids[begun:]).strip(), count, ended, said / (count + ended))

    def _next(self, ids: list[int]) -> npt.NDArray[np.float64]:
        """log p of each token that may follow [vocabulary]."""
        (logits,) = self.session.run(None, {"input_ids": np.array([ids], dtype=np.int64)})
        z = np.asarray(logits[0], dtype=np.float64)
        z = z - z.max()
        return np.asarray(z - np.log(np.exp(z).sum()))
