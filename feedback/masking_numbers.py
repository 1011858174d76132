"""Card numbers, IBANs and phone numbers in a piece of text. Pure.

Every pattern is linear: its parts exclude each other, so nothing is tried twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from feedback.masking_spans import DATE, Span, says

_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?=[ -]?[A-Za-z0-9])")
_LENGTHS = {
    code: int(length)
    for length, codes in {
        15: "NO", 16: "BE", 18: "DK FI FK FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL",
        24: "AD CZ DZ ES MD PK RO SA SE SK TN VG", 25: "AO CV GW LY MZ PT ST", 26: "IR IS TR",
        27: "BF BI BJ CF CG CI CM DJ FR GA GQ GR IT KM MC MG ML MR NE SM SN TD TG", 28: "AL AZ BY CY DO GT HN HU LB MA NI PL SV",
        29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for code in codes.split()
}  # fmt: skip


def ibans(piece: str) -> list[Span]:
    found: list[Span] = []
    for match in _IBAN.finditer(piece):
        if found and match.start() < found[-1].end:
            continue
        length = _LENGTHS.get(match[0][:2].upper())
        span = _iban_at(piece, match.start(), length) if length else None
        if span:
            found.append(span)
    return found


def _iban_at(piece: str, start: int, length: int) -> Span | None:
    """An IBAN of exactly `length` characters from `start`, with single spaces or hyphens between them."""
    taken, at = "", start
    while len(taken) < length and at < len(piece):
        if piece[at].isascii() and piece[at].isalnum():
            taken += piece[at].upper()
        elif piece[at] not in " -" or piece[at - 1] in " -":
            return None
        at += 1
    after = piece[at : at + 1]
    if len(taken) < length or (after.isascii() and after.isalnum()):
        return None
    rotated = "".join(str(int(c, 36)) for c in taken[4:] + taken[:4])
    return Span("iban", start, at, taken) if int(rotated) % 97 == 1 else None


# --- long runs of digits: cards and phones ----------------------------------------------------------------------------

_RUN = re.compile(r"(?<!\d)\+? ?\(?\d(?:[ ()./-]{0,3}\d){8,}")
_SEVEN = re.compile(r"\d(?:[ ()./-]{0,3}\d){6}")
_THIRTEEN = re.compile(r"\d(?:[ ()./-]{0,3}\d){12}")
_GROUP = re.compile(r"\d+")
# Which first digits a card number of each length may have.
_FIRST = {13: "4", 14: "3", 15: "3"} | dict.fromkeys(range(16, 20), "234568")
_DOUBLED = "0246813579"


def luhn(digits: str) -> bool:
    """Whether the check digit of ISO/IEC 7812-1 fits.

    >>> luhn("4111111111111111"), luhn("4111111111111112")
    (True, False)
    """
    return sum(map(int, digits[::-2])) % 10 == -sum(int(_DOUBLED[int(d)]) for d in digits[-2::-2]) % 10


def is_card(digits: str) -> bool:
    return digits[0] in _FIRST.get(len(digits), "") and luhn(digits)


def cards(piece: str) -> list[Span]:
    if not _THIRTEEN.search(piece):
        return []
    found = []
    for run in _RUN.finditer(piece):
        groups = [(g.start() + run.start(), g[0]) for g in _GROUP.finditer(run[0])]
        found += list(_cards_in(groups, piece))
    return found


def _cards_in(groups: list[tuple[int, str]], piece: str) -> Iterator[Span]:
    """The longest neighbouring groups that make a card number, from the left."""
    first = 0
    while first < len(groups):
        last = _last_of_card(groups, first, piece)
        if last is None:
            first += 1
            continue
        end = groups[last][0] + len(groups[last][1])
        yield Span("card", groups[first][0], end, "".join(g for _, g in groups[first : last + 1]))
        first = last + 1


def _last_of_card(groups: list[tuple[int, str]], first: int, piece: str) -> int | None:
    best, digits = None, ""
    for last in range(first, min(first + 19, len(groups))):
        digits += groups[last][1]
        if len(digits) > 19 and last > first:
            break
        if len(digits) < 13 or not _may_group(groups, first, last, piece):
            continue
        if is_card(digits) or _hides_card(digits):
            best = last
    return best


def _may_group(groups: list[tuple[int, str]], first: int, last: int, piece: str) -> bool:
    """Dates and lists of small numbers are no card: groups have three digits or more, or the whole run is one even pattern."""
    sizes = [len(g) for _, g in groups[first : last + 1]]
    if min(sizes) >= 3 or (len(sizes) > 1 and all(size == 4 for size in sizes[:-1])):
        return True
    if first > 0 or last < len(groups) - 1:
        return False
    gaps = {piece[a + len(g) : b] for (a, g), (b, _) in pairwise(groups)}
    return len(gaps) == 1 and len(set(sizes[:-1])) == 1


def _hides_card(digits: str) -> bool:
    """A longer run that holds a card number with something glued to it."""
    return len(digits) > 19 and any(
        is_card(digits[at : at + size]) for size in (16, 15, 14) for at in range(len(digits) - size + 1)
    )


def phones(piece: str) -> list[Span]:
    if not _SEVEN.search(piece):
        return []
    found = []
    for run in _RUN.finditer(piece):
        for start, end in _without_dates(piece, run.start(), run.end()):
            shown = piece[start:end].strip(" .-/")
            start = piece.index(shown, start)
            end = start + len(shown)
            if not _glued(piece, start, end) and (_is_phone(shown) or _after_word(piece, start, shown)):
                found.append(Span("phone", start, end, "".join(_GROUP.findall(shown))))
    return found or _short_phones(piece)


def _without_dates(piece: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for date in DATE.finditer(piece, start, end):
        yield start, date.start()
        start = date.end()
    yield start, end


def _glued(piece: str, start: int, end: int) -> bool:
    """Part of a longer name or number, such as AB0312345678 or 5+0312345678."""
    before, after = piece[max(start - 1, 0) : start], piece[end : end + 1]
    return any(c.isascii() and (c.isalnum() or c in "_+#$€£¥") for c in (before, after) if c)


_DOMESTIC = re.compile(r"\(?0[1-9]\d{0,4}\)?(?:[ ./-]? ?\(?\d+\)?){0,5}")
_AMERICAN = re.compile(r"(?:1[ .-])?(?:\([2-9]\d\d\) ?|[2-9]\d\d[ .-])\d{3}[ .-]\d{4}")


def _is_phone(shown: str) -> bool:
    """International (+ or 00), domestic with a leading 0 (Japan, most of Europe), or 3-3-4 (North America)."""
    digits = "".join(_GROUP.findall(shown))
    if shown.startswith("+"):
        return 8 <= len(digits) <= 15
    if digits.startswith("00"):
        return 10 <= len(digits) <= 17 and digits[2:3] != "0"
    if _AMERICAN.fullmatch(shown):
        return True
    grouped = len(_GROUP.findall(shown)) > 1
    return bool(_DOMESTIC.match(shown)) and (9 if grouped else 10) <= len(digits) <= 11 and _few_groups(shown)


def _few_groups(shown: str) -> bool:
    groups = _GROUP.findall(shown)
    return len(groups) <= 6 and len(groups[0]) >= 2 and min(map(len, groups)) >= 2


_PHONE_WORDS = (
    "phone",
    "tel",
    "mobile",
    "cell",
    "fax",
    "whatsapp",
    "call",
    "ring",
    "電話",
    "携帯",
    "ケ-タイ",
    "連絡先",
    "でんわ",
    "℡",
    "☎",
    "📞",
)
_PHONE_WORD = re.compile(
    r"(?:\b(?:tele)?phone|\btel|\bmobile|\bcell|\bfax|\bwhatsapp|\bcall(?: me)?|\bring(?: me)?|電話|携帯|ケ-タイ|連絡先|でんわ|℡|☎|📞)"
    r"(?: ?(?:number|no|nr|番号))?[^\w+(]{0,3}(?:(?:is|at|on|は|が)[^\w+(]{0,2})?$",
    re.IGNORECASE,
)
_SHORT = re.compile(r"(?<![\w.,+#$€£¥-])\d(?:[ -]?\d){6,8}(?![\w%])")


def _after_word(piece: str, start: int, shown: str) -> bool:
    digits = sum(map(len, _GROUP.findall(shown)))
    return 7 <= digits <= 15 and bool(_PHONE_WORD.search(piece[max(start - 30, 0) : start]))


def _short_phones(piece: str) -> list[Span]:
    """Seven to nine digits are a phone number only where the text says so."""
    if not says(piece, _PHONE_WORDS):
        return []
    return [
        Span("phone", m.start(), m.end(), "".join(_GROUP.findall(m[0])))
        for m in _SHORT.finditer(piece)
        if not DATE.match(m[0]) and _after_word(piece, m.start(), m[0])
    ]
