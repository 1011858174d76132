"""Personal data in a customer's text, replaced by typed placeholders. Pure: neither Django nor the database.

E-mail addresses, phone numbers, order and account numbers become `[email]`, `[phone 2]`, `[order]`, `[account]`: the
same value keeps its number within a text. Card numbers (Luhn, ISO/IEC 7812-1) and IBANs (mod 97, ISO 13616) become
`[card *1111]`, `[iban *3000]`: nothing but their last four characters leaves this module.

Matching runs on a view of the text that has the same length and plain ASCII digits, letters and signs in place of
full-width ones. Every pattern is linear: its parts exclude each other, so nothing is tried twice. Names, postal
addresses and numbers that people spell out in words are not recognised.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

CUT = frozenset({"card", "iban"})
KINDS = ("email", "phone", "order", "account", "card", "iban")
_PLACEHOLDER = re.compile(r"\[(email|phone|order|account|card|iban)(?: (\d{1,4}|\*[0-9A-Z]{4}))?\]")


@dataclass(frozen=True)
class Found:
    """One piece of personal data. `original` is the text between `start` and `end`; of a card or IBAN only four characters."""

    kind: str
    original: str
    start: int
    end: int
    placeholder: str


@dataclass(frozen=True)
class Masked:
    """A text that may be shown, stored and learned from, with what was taken out of it."""

    text: str
    found: tuple[Found, ...] = ()


@dataclass(frozen=True)
class Span:
    """Where a finder saw something, and the form by which the same value is told again."""

    kind: str
    start: int
    end: int
    value: str


Finder = Callable[[str], list[Span]]


def mask(text: str, templates: Sequence[str] = ()) -> Masked:
    """Replace personal data by placeholders; masking twice changes nothing.

    `templates` are a project's own order numbers in the notation of `template_pattern`.

    >>> mask("Where is order 48213? Write to jo@example.com or call 090-1234-5678.").text
    'Where is order [order]? Write to [email] or call [phone].'
    >>> mask("My card is 4111 1111 1111 1111, paid 1,200 yen on 2026-01-31.").text
    'My card is [card *1111], paid 1,200 yen on 2026-01-31.'
    """
    if not _TRIGGER.search(text):
        return Masked(text)
    view = _narrow(text)
    spans = _search(view, _finders(tuple(templates)))
    return _replaced(text, view, spans) if spans else Masked(text)


_TRIGGER = re.compile(r"[@＠\d]")


def _search(view: str, finders: Sequence[Finder]) -> list[Span]:
    """All spans in order. Each finder sees the pieces between placeholders as texts of their own, until none finds more."""
    pieces, spans = list(_between(view)), []
    while pieces:
        start, end = pieces.pop()
        piece = view[start:end]
        hits = next((hits for find in finders if (hits := find(piece))), [])
        at = start
        for hit in hits:
            spans.append(Span(hit.kind, start + hit.start, start + hit.end, hit.value))
            pieces.append((at, start + hit.start))
            at = start + hit.end
        if hits:
            pieces.append((at, end))
    return sorted(spans, key=lambda span: span.start)


def _between(view: str) -> Iterator[tuple[int, int]]:
    at = 0
    if "[" in view:
        for known in _PLACEHOLDER.finditer(view):
            yield at, known.start()
            at = known.end()
    yield at, len(view)


def _replaced(text: str, view: str, spans: Sequence[Span]) -> Masked:
    names = _Names(view)
    parts, found, at = [], [], 0
    for span in spans:
        placeholder = names.of(span)
        original = span.value[-4:] if span.kind in CUT else text[span.start : span.end]
        parts += [text[at : span.start], placeholder]
        found.append(Found(span.kind, original, span.start, span.end, placeholder))
        at = span.end
    return Masked("".join([*parts, text[at:]]), tuple(found))


class _Names:
    """Placeholders by value; numbers go on after those that the text already holds, so that each stands for one value."""

    def __init__(self, view: str) -> None:
        self.known: dict[tuple[str, str], str] = {}
        self.last: dict[str, int] = {}
        for kind, number in _PLACEHOLDER.findall(view) if "[" in view else ():
            self.last[kind] = max(self.last.get(kind, 0), int(number or 1) if number.isdigit() or not number else 0)

    def of(self, span: Span) -> str:
        if span.kind in CUT:
            return f"[{span.kind} *{span.value[-4:]}]"
        if (span.kind, span.value) not in self.known:
            number = self.last[span.kind] = self.last.get(span.kind, 0) + 1
            self.known[span.kind, span.value] = f"[{span.kind}]" if number == 1 else f"[{span.kind} {number}]"
        return self.known[span.kind, span.value]


def _wide() -> dict[int, str]:
    """Characters → the one ASCII character that they stand for."""
    table = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
    table |= dict.fromkeys(map(ord, "\u3000\u00a0\u2002\u2003\u2007\u2009\u202f\t"), " ")
    table |= dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u30fc\u2500\uff70"), "-")
    for code in range(0x80, sys.maxunicode + 1):
        if (digit := unicodedata.decimal(chr(code), None)) is not None:
            table[code] = str(digit)
    return table


_WIDE = _wide()


def _narrow(text: str) -> str:
    return text.translate(_WIDE) if not text.isascii() or "\t" in text else text


# --- e-mail -----------------------------------------------------------------------------------------------------------

# Scripts written without spaces run into an address ("メールはtanaka@example.jpです"): they belong to it only where
# nothing else stands before the sign.
_UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af"
_LABEL = rf"(?:(?![{_UNSPACED}_])[\w-])"
_HOST = rf"(?:{_LABEL}+\.)+(?={_LABEL}*[^\W\d]){_LABEL}{{2,}}|(?:[\w-]+\.)+[A-Za-z]{{2,}}"
_ATOM = rf"(?:(?![{_UNSPACED}])[\w.!#$%&'*+/=?^`{{|}}~-])"
_EMAIL = re.compile(
    rf"(?:(?<![\w.!#$%&'*+/=?^`{{|}}~-])|(?<=[{_UNSPACED}]))"
    rf"(?:{_ATOM}+|[{_UNSPACED}]+|\"[^\"\n@]{{1,64}}\")@(?:{_HOST})"
)
_QUOTES = "'*`~|{/.!?=#"


def _emails(piece: str) -> list[Span]:
    if "@" not in piece:
        return []
    found = []
    for match in _EMAIL.finditer(piece):
        kept = match[0].lstrip(_QUOTES)
        if not kept.startswith("@"):
            found.append(Span("email", match.end() - len(kept), match.end(), kept.casefold()))
    return found


# --- IBAN -------------------------------------------------------------------------------------------------------------

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


def _ibans(piece: str) -> list[Span]:
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
_DATE = re.compile(r"(?<![\d./-])(?:\d{1,2}([./-])\d{1,2}\1(?:\d{4}|\d{2})|\d{4}([./-])\d{1,2}\2\d{1,2})(?![./-]?\d)")
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


def _cards(piece: str) -> list[Span]:
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


def _phones(piece: str) -> list[Span]:
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
    for date in _DATE.finditer(piece, start, end):
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
    if not _says(piece, _PHONE_WORDS):
        return []
    return [
        Span("phone", m.start(), m.end(), "".join(_GROUP.findall(m[0])))
        for m in _SHORT.finditer(piece)
        if not _DATE.match(m[0]) and _after_word(piece, m.start(), m[0])
    ]


# --- order and account numbers ----------------------------------------------------------------------------------------

_CODE = r"(?P<code>(?:[a-z]{1,6}-?)?\d(?:-?[a-z0-9]){2,39})(?![a-z0-9])"
_SAID = (
    r"(?P<said> ?(?:numbers?\b|num\b\.?|nos?\b\.?|nr\b\.?|id\b|code\b|#|№|番号|ナンバ-|コ-ド)){0,2}"
    r" ?(?P<mark>[:#=№]|\bis\b|は|が|の)? ?[#\"'「『(]?"
)
# A lowered text is searched without IGNORECASE and from a literal: both let the engine skip ahead.
_ORDER = re.compile(
    r"(?:orders?|invoice|tracking|booking|reservation|reference|ref\b|shipment|parcel|delivery|confirmation|ticket|return"
    rf"|注文|受注|オ-ダ-|予約|伝票|追跡|問い合わせ|問合せ|問い合せ|請求書|配送|受付|返品)\.?{_SAID}{_CODE}"
)
_ACCOUNT = re.compile(rf"(?:account|customer|member(?:ship)?|policy|contract|口座|会員|お客様|顧客|契約){_SAID}{_CODE}")
_ALONE = re.compile(
    r"(?<![A-Za-z0-9_&/-])(?P<code>#\d{4,20}|\d{3}-\d{7}-\d{7}|[A-Z]{2}\d{9}[A-Z]{2}"
    r"|(?!ISO-|IEC-|DIN-|JIS-|RFC-|CVE-)[A-Z]{1,5}-\d{5,20}(?:-\d{1,12})?|[A-Z]{1,5}-\d{4,8}-\d{3,12}|[A-Z]{2,5}\d{6,20})(?![A-Za-z0-9_-])"
)
_AMOUNT = re.compile(
    r" ?(?:units?|pieces?|pcs|items?|times|x\b|%|yen\b|usd|eur|jpy|dollars?|euros?|kg|g\b|ml|days?|hours?"
    r"|円|個|台|本|点|枚|件|年|月|日|名|人)",
    re.IGNORECASE,
)
# Regular expressions over words are slow: they run only where one of their words stands beside digits.
_HAS_NUMBER = re.compile(r"\d[\dA-Za-z-]{2}")
_ORDER_WORDS = (
    "order", "invoice", "tracking", "booking", "reservation", "ref", "shipment", "parcel", "delivery", "confirmation", "ticket",
    "return", "注文", "受注", "オ-ダ-", "予約", "伝票", "追跡", "合わせ", "合せ", "請求書", "配送", "受付", "返品",
)  # fmt: skip
_ACCOUNT_WORDS = ("account", "customer", "member", "policy", "contract", "口座", "会員", "お客様", "顧客", "契約")


def _orders(piece: str) -> list[Span]:
    return _codes(piece, "order", _ORDER) if _says(piece, _ORDER_WORDS) else []


def _accounts(piece: str) -> list[Span]:
    return _codes(piece, "account", _ACCOUNT) if _says(piece, _ACCOUNT_WORDS) else []


def _says(piece: str, words: Sequence[str]) -> bool:
    lowered = _lowered(piece)
    return any(word in lowered for word in words) and bool(_HAS_NUMBER.search(piece))


def _lowered(piece: str) -> str:
    """Lower case of the same length (that of "İ" is longer)."""
    lowered = piece.lower()
    return lowered if len(lowered) == len(piece) else piece.translate(_LOWER)


_LOWER = str.maketrans({chr(c): chr(c + 32) for c in range(ord("A"), ord("Z") + 1)})


def _codes(piece: str, kind: str, pattern: re.Pattern[str]) -> list[Span]:
    """Codes after a word. Where it is not called a number, years, dates and amounts are left alone."""
    found = []
    lowered = _lowered(piece)
    for match in pattern.finditer(lowered):
        start, end = match.span("code")
        before = lowered[max(match.start() - 1, 0) : match.start()]
        if before.isascii() and before.isalnum() and match[0][0].isascii():
            continue
        named = bool(match["said"])
        if kind == "account" and not named:
            continue
        if _DATE.match(match["code"]) or not _long_enough(match["code"], named=named or match["mark"] in _SIGNS):
            continue
        if not named and (_AMOUNT.match(piece, end) or _is_fraction(piece, end)):
            continue
        found.append(Span(kind, start, end, match["code"]))
    return found


_SIGNS = (":", "#", "=", "№")


def _long_enough(code: str, *, named: bool) -> bool:
    digits = sum(c.isdigit() for c in code)
    if named:
        return digits >= 3
    return digits >= 4 and not re.fullmatch(r"(?:19|20)\d\d", code)


def _is_fraction(piece: str, end: int) -> bool:
    return bool(re.match(r"[.,:/]\d", piece[end : end + 2]))


def _alone(piece: str) -> list[Span]:
    if not _HAS_NUMBER.search(piece):
        return []
    return [Span("order", *m.span("code"), m["code"].lstrip("#").lower()) for m in _ALONE.finditer(piece)]


# --- a project's own order numbers ------------------------------------------------------------------------------------

MAX_TEMPLATES, MAX_TEMPLATE = 20, 60


def template_fault(template: str) -> str | None:
    """What is wrong with a template, as a sentence that says what to do, or None."""
    if not 3 <= len(template) <= MAX_TEMPLATE:
        return f"must have 3 to {MAX_TEMPLATE} characters"
    if sum(c in "9*" for c in template) < 2:
        return "needs at least two places for digits (9) or any characters (*), such as EN-999999"
    if re.search(r"\*[A9*]", template):
        return "has a * followed by another place: put a fixed sign such as - between them"
    if not template.isprintable() or set(template) & set("[]@ "):
        return "may hold letters, digits and signs, but no space, bracket or @"
    return None


def template_pattern(template: str) -> str:
    """A template as a linear regular expression: 9 is a digit, A a letter, * one or more of both, the rest is itself.

    >>> re.fullmatch(template_pattern("EN-9999-AA"), "EN-2041-xy") is not None
    True
    """
    places = {"9": r"\d", "A": "[A-Za-z]", "*": "[A-Za-z0-9]+"}
    return "".join(places.get(c, re.escape(c)) for c in template)


@lru_cache(maxsize=1024)
def _finders(templates: tuple[str, ...]) -> tuple[Finder, ...]:
    finders: tuple[Finder, ...] = (_ibans, _cards, _emails, _phones, _orders, _accounts, _alone)
    if not templates:
        return finders
    either = "|".join(template_pattern(t) for t in sorted(templates, key=len, reverse=True))
    own = re.compile(rf"(?<![A-Za-z0-9])(?:{either})(?![A-Za-z0-9])", re.IGNORECASE)

    def project_orders(piece: str) -> list[Span]:
        return [Span("order", *m.span(), m[0].lower()) for m in own.finditer(piece)]

    return (_ibans, _cards, _emails, project_orders, *finders[3:])
