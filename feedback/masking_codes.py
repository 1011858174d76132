"""E-mail addresses, and order and account numbers in a piece of text. Pure.

Every pattern is linear: its parts exclude each other, so nothing is tried twice.
"""

from __future__ import annotations

import re

from feedback.masking_spans import DATE, HAS_NUMBER, Span, lowered, says

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


def emails(piece: str) -> list[Span]:
    if "@" not in piece:
        return []
    found = []
    for match in _EMAIL.finditer(piece):
        kept = match[0].lstrip(_QUOTES)
        if not kept.startswith("@"):
            found.append(Span("email", match.end() - len(kept), match.end(), kept.casefold()))
    return found


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
_ORDER_WORDS = (
    "order", "invoice", "tracking", "booking", "reservation", "ref", "shipment", "parcel", "delivery", "confirmation", "ticket",
    "return", "注文", "受注", "オ-ダ-", "予約", "伝票", "追跡", "合わせ", "合せ", "請求書", "配送", "受付", "返品",
)  # fmt: skip
_ACCOUNT_WORDS = ("account", "customer", "member", "policy", "contract", "口座", "会員", "お客様", "顧客", "契約")


def orders(piece: str) -> list[Span]:
    return _codes(piece, "order", _ORDER) if says(piece, _ORDER_WORDS) else []


def accounts(piece: str) -> list[Span]:
    return _codes(piece, "account", _ACCOUNT) if says(piece, _ACCOUNT_WORDS) else []


def _codes(piece: str, kind: str, pattern: re.Pattern[str]) -> list[Span]:
    """Codes after a word. Where it is not called a number, years, dates and amounts are left alone."""
    found = []
    low = lowered(piece)
    for match in pattern.finditer(low):
        start, end = match.span("code")
        before = low[max(match.start() - 1, 0) : match.start()]
        if before.isascii() and before.isalnum() and match[0][0].isascii():
            continue
        named = bool(match["said"])
        if kind == "account" and not named:
            continue
        if DATE.match(match["code"]) or not _long_enough(match["code"], named=named or match["mark"] in _SIGNS):
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


def alone(piece: str) -> list[Span]:
    if not HAS_NUMBER.search(piece):
        return []
    return [Span("order", *m.span("code"), m["code"].lstrip("#").lower()) for m in _ALONE.finditer(piece)]
