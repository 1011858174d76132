"""Open a ``tokenizer.json`` for serving."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer


def open_tokenizer(path: Path, max_tokens: int) -> Tokenizer:
    """A tokenizer without padding that cuts texts after ``max_tokens``, whatever the file says."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer


def token_ids(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Ids of each text; lone surrogates, which the library refuses, are read as ``?``."""
    if not len(texts):
        return []
    return [e.ids for e in tokenizer.encode_batch_fast([t.encode("utf-8", "replace").decode() for t in texts])]
