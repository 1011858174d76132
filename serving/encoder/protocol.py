"""What the rest of Enso knows of an encoder: texts in, unit vectors out, one identity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Embeddings = NDArray[np.float32]


@runtime_checkable
class Encoder(Protocol):
    """Turns texts into unit vectors. Two encoders with the same ``sha256`` give the same vectors."""

    @property
    def sha256(self) -> str:
        """Identity of the variant: weights, tokenizer and preprocessing."""
        ...

    @property
    def name(self) -> str: ...

    @property
    def dim(self) -> int: ...

    def encode(self, texts: Sequence[str]) -> Embeddings:
        """Unit rows [n, dim] in float32, in the order of ``texts``; an empty list gives [0, dim]."""
        ...
