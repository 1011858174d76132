"""Gaps of prepared replies, such as {order}: what one looks like, and what only looks like one. Pure."""

from __future__ import annotations

import re

GAP = re.compile(r"\{([a-z][a-z0-9_]{0,39})\}")


def gaps_of(text: str) -> list[str]:
    """Names of the gaps of a reply, each once, in their order.

    >>> gaps_of("Dear {customer}, order {order} of {customer}")
    ['customer', 'order']
    """
    return list(dict.fromkeys(GAP.findall(text)))


def stray_braces(text: str) -> str:
    """The first piece with a brace that belongs to no gap, "" where there is none.

    >>> stray_braces("Order {Order No} is on its way."), stray_braces("Order {order}")
    ('{Order No}', '')
    """
    left = GAP.sub("", text)
    found = re.search(r"\{[^{}\n]{0,40}\}?|\}", left)
    return found[0] if found else ""
