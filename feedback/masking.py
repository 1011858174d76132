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
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from feedback.masking_codes import accounts, alone, emails, orders
from feedback.masking_numbers import cards, ibans, phones
from feedback.masking_spans import Finder, Span

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
    spans = _search(view, _finders(tuple(templates)), _touching(text, view), bare=bool(templates))
    return _replaced(text, view, spans) if spans else Masked(text)


_TRIGGER = re.compile(r"[@＠\d]")


_TWO_SCRIPTS = re.compile(r"[0-9](?![0-9])\d|(?![0-9])\d[0-9]")


def _touching(text: str, view: str) -> list[Span]:
    """Card numbers that touch digits of another script, with which they would be one longer number that is no card."""
    if text.isascii() or not _TWO_SCRIPTS.search(text):
        return []
    ascii_digits = "".join(v if c == v or not v.isdigit() else "x" for c, v in zip(text, view, strict=True))
    others = "".join("x" if c == v and v.isdigit() else v for c, v in zip(text, view, strict=True))
    return sorted([*cards(ascii_digits), *cards(others)], key=lambda span: span.start)


def _search(view: str, finders: Sequence[Finder], known: Sequence[Span], *, bare: bool) -> list[Span]:
    """All spans in order, with those that are `known`. `bare`: there may be some with neither a digit nor an @.

    Each finder sees the pieces between placeholders and spans as texts of their own, until none finds more.
    """
    pieces, spans = list(_between(view, known)), list(known)
    while pieces:
        start, end = pieces.pop()
        if not bare and not _TRIGGER.search(view, start, end):
            continue
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


def _between(view: str, known: Sequence[Span]) -> Iterator[tuple[int, int]]:
    taken = [placeholder.span() for placeholder in _PLACEHOLDER.finditer(view)] if "[" in view else []
    at = 0
    for start, end in sorted([*taken, *((span.start, span.end) for span in known)]):
        yield at, start
        at = end
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


# The last decimal digit of Unicode; looking at the million code points above it would cost a second at every start.
LAST_DIGIT = 0x1FBF9


def _wide() -> dict[int, str]:
    """Characters → the one ASCII character that they stand for."""
    table = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
    table |= dict.fromkeys(map(ord, "\u3000\u00a0\u2002\u2003\u2007\u2009\u202f\t"), " ")
    table |= dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u30fc\u2500\uff70"), "-")
    for code in range(0x80, LAST_DIGIT + 1):
        if (digit := unicodedata.decimal(chr(code), None)) is not None:
            table[code] = str(digit)
    return table


_WIDE = _wide()


def _narrow(text: str) -> str:
    return text.translate(_WIDE) if not text.isascii() or "\t" in text else text


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
    finders: tuple[Finder, ...] = (ibans, cards, emails, phones, orders, accounts, alone)
    if not templates:
        return finders
    either = "|".join(template_pattern(t) for t in sorted(templates, key=len, reverse=True))
    own = re.compile(rf"(?<![A-Za-z0-9])(?:{either})(?![A-Za-z0-9])", re.IGNORECASE)

    def project_orders(piece: str) -> list[Span]:
        return [Span("order", *m.span(), m[0].lower()) for m in own.finditer(piece)]

    return (ibans, cards, emails, project_orders, *finders[3:])
