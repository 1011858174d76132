"""Which language a text is in, as far as the choice of an encoder needs to know: by its script, then by its locale."""

from __future__ import annotations

import re

_KANA = re.compile(r"[\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f]")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff々]")
_HANGUL = re.compile(r"[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]")
_LETTER = re.compile(r"[^\W\d_]")
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f\u1e00-\u1eff\uff21-\uff5a]")
# One of these characters says about as much as three Latin letters.
_LETTERS_PER_CHARACTER = 3
_EAST_ASIAN = frozenset({"ja", "zh", "ko"})


def language_of(text: str, locale: str = "") -> str:
    """``ja``, ``zh``, ``ko``, or the language of ``locale`` (``en`` where none is given), e.g. for ``pt-BR`` ``pt``.

    A text is East Asian when its kana, han or hangul make up a third of it (half, where the locale says otherwise; any
    at all, where the locale agrees): a product name in another script does not change the language.
    """
    said = re.split(r"[-_]", locale.strip().lower(), maxsplit=1)[0]
    if text.isascii():
        return "en" if not said or said in _EAST_ASIAN else said
    kana, han, hangul = (len(script.findall(text)) for script in (_KANA, _HAN, _HANGUL))
    count = kana + han + hangul
    weight = _LETTERS_PER_CHARACTER * count
    share = weight / max(1, weight + len(_LETTER.findall(text)) - count)
    if count and share >= _least_share(said):
        return _east_asian(said, kana=kana, hangul=hangul, count=count)
    return "en" if not said or said in _EAST_ASIAN else said


def _least_share(said: str) -> float:
    if said in _EAST_ASIAN:
        return 0.0
    return 1 / 2 if said else 1 / 3


def _east_asian(said: str, *, kana: int, hangul: int, count: int) -> str:
    if hangul * 2 > count:
        return "ko"
    if kana:
        return "ja"
    return said if said in _EAST_ASIAN else "ja"  # han alone is Chinese only where the locale says so


def is_latin(text: str) -> bool:
    """Whether at least half of the letters are Latin (a text without letters is)."""
    return text.isascii() or 2 * len(_LATIN.findall(text)) >= len(_LETTER.findall(text))
