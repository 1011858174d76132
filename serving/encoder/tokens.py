"""A ``tokenizer.json`` for serving, and a memo of its words: a short text costs the library more than its vector costs a student."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

# Words whose ids are remembered: some 20 MB, then it begins anew. Longer words are no words, and would not come again.
MOST_REMEMBERED, LONGEST_REMEMBERED = 100_000, 32
_PLAIN = re.compile(r"[\t\n\r -~]*")
# BERT's words in ASCII (arXiv:1810.04805, its BasicTokenizer): runs of letters and digits, and each other sign alone.
_WORDS = re.compile(r"[0-9A-Za-z]+|[!-/:-@\[-`{-~]")


class Tokens:
    """Ids of texts. Thread-safe: what threads write to the memo at the same time is the same.

    Where a tokenizer splits into words first and reads each word for itself (BERT's WordPiece), a text in plain ASCII gets its
    ids word by word from the memo; every other text, and one that spells a special token, is read by the library. Both give
    the same ids.
    """

    def __init__(self, tokenizer: Tokenizer, max_tokens: int) -> None:
        """``tokenizer`` is set to cut texts after ``max_tokens`` (special ones included) and not to pad."""
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_tokens)
        self._tokenizer = tokenizer
        self._memo: dict[str, tuple[int, ...]] = {}
        self._around = _special_ids(tokenizer) if _reads_words(tokenizer) else None
        self._lowers = self._around is not None and bool(tokenizer.normalizer.lowercase)
        self._spelled = _spelled_out(tokenizer)
        self._most = max_tokens - sum(map(len, self._around or ()))

    @classmethod
    def open(cls, path: Path, max_tokens: int) -> Tokens:
        """Read ``tokenizer.json``; raises the library's plain Exception where it is none."""
        return cls(Tokenizer.from_file(str(path)), max_tokens)

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text; lone surrogates, which the library refuses, are read as ``?``."""
        found = [self._from_words(t) for t in texts]
        if missing := [i for i, ids in enumerate(found) if ids is None]:
            plain = [texts[i].encode("utf-8", "replace").decode() for i in missing]
            for i, encoding in zip(missing, self._tokenizer.encode_batch_fast(plain), strict=True):
                found[i] = encoding.ids
        return [ids for ids in found if ids is not None]

    def written(self, unit: int) -> str:
        """A token as text, without the marks of its place in a word; special tokens are empty."""
        token = self._tokenizer.id_to_token(unit) or ""
        special = token.startswith(("[", "<")) and token.endswith(("]", ">")) and len(token) > 2
        return "" if special else token.removeprefix("##").replace("▁", " ")

    def _from_words(self, text: str) -> list[int] | None:
        if self._around is None or not _PLAIN.fullmatch(text) or (self._spelled and self._spelled.search(text)):
            return None
        memo, ids = self._memo, list[int]()
        for word in _WORDS.findall(text.lower() if self._lowers else text):
            ids += memo[word] if word in memo else self._word(word)
        before, after = self._around
        return [*before, *ids[: self._most], *after]

    def _word(self, word: str) -> tuple[int, ...]:
        ids = tuple(self._tokenizer.encode(word, add_special_tokens=False).ids)
        if len(word) <= LONGEST_REMEMBERED:
            if len(self._memo) >= MOST_REMEMBERED:
                self._memo = {}  # a new one: another thread may be looking up words in the old one
            self._memo[word] = ids
        return ids


def _reads_words(tokenizer: Tokenizer) -> bool:
    """Whether a text's ids are those of its words, one after the other.

    Added tokens that are looked for in the normalised text are not: one with a space in it also matches across a line's end.
    """
    return not any(t.normalized for t in tokenizer.get_added_tokens_decoder().values()) and (
        isinstance(tokenizer.model, models.WordPiece)
        and isinstance(tokenizer.normalizer, normalizers.BertNormalizer)
        and isinstance(tokenizer.pre_tokenizer, pre_tokenizers.BertPreTokenizer)
    )


def _special_ids(tokenizer: Tokenizer) -> tuple[list[int], list[int]] | None:
    """Ids that stand before and after every text; None where it is not as simple as that."""
    special, word = tokenizer.encode("").ids, tokenizer.encode("a", add_special_tokens=False).ids
    text = tokenizer.encode("a").ids
    fitting = [k for k in range(len(special) + 1) if [*special[:k], *word, *special[k:]] == text]
    return (special[: fitting[0]], special[fitting[0] :]) if fitting else None


def _spelled_out(tokenizer: Tokenizer) -> re.Pattern[str] | None:
    """What finds a token in a text that the library takes whole wherever it is written, as ``[SEP]``."""
    contents = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    return re.compile("|".join(map(re.escape, contents)), re.IGNORECASE) if contents else None
