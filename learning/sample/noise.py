"""What hurried people do to their texts: slips of the finger, missing capitals and full stops, shouting."""

from __future__ import annotations

from random import Random

# Keys beside each other, so that a slip looks like one.
_BESIDE = {"a": "sq", "e": "wr", "i": "uo", "o": "ip", "t": "ry", "n": "bm", "s": "ad", "r": "et", "l": "k", "d": "sf"}


def hurried(text: str, locale: str, rng: Random) -> str:
    """``text`` with the slips of one writer: some make none, some several."""
    return _hurried_ja(text, rng) if locale == "ja" else _hurried_en(text, rng)


def shouted(text: str, locale: str, rng: Random) -> str:
    """The text of somebody who is angry: capitals or a row of exclamation marks."""
    if locale == "en" and rng.random() < 0.4:
        return text.upper()
    return text.rstrip(".。!！") + ("！！" if locale == "ja" else "!" * rng.randrange(2, 5))


def _hurried_en(text: str, rng: Random) -> str:
    if rng.random() < 0.22:
        text = text.lower()
    if rng.random() < 0.12:
        text = text.replace("'", "")
    if rng.random() < 0.2:
        text = text.rstrip(".")
    for _ in range(rng.choice((0, 0, 0, 0, 0, 1, 1, 2, 3))):
        text = _slip(text, rng)
    return text


def _slip(text: str, rng: Random) -> str:
    """One letter dropped, doubled, swapped with the next, or replaced by its neighbour on the keyboard."""
    at = rng.randrange(len(text))
    if not text[at].isascii() or not text[at].isalpha():
        return text
    kind = rng.randrange(4)
    if kind == 0:
        return text[:at] + text[at + 1 :]
    if kind == 1:
        return text[:at] + text[at] + text[at:]
    if kind == 2:
        return text[:at] + text[at + 1 : at + 2] + text[at] + text[at + 2 :]
    return text[:at] + rng.choice(_BESIDE.get(text[at].lower(), text[at])) + text[at + 1 :]


def _hurried_ja(text: str, rng: Random) -> str:
    if rng.random() < 0.2:
        text = text.rstrip("。")
    if rng.random() < 0.1:
        text = text.replace("、", " ")
    if rng.random() < 0.08:
        text = text.replace("。", "！", 1)
    if rng.random() < 0.08:
        text = text.replace("ください", "下さい")
    if rng.random() < 0.12:
        at = rng.randrange(len(text))
        text = text[:at] + text[at + 1 :] if "ぁ" <= text[at : at + 1] <= "ん" else text
    return text
