"""Prepared replies with gaps: `{customer}` is filled in when the reply is inserted. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

_GAP = re.compile(r"\{([a-z][a-z0-9_]{0,39})\}")


def gaps(text: str) -> list[str]:
    """The names of the gaps in a text, each once and in order.

    >>> gaps("Dear {customer}, {order} has left. {customer}!")
    ['customer', 'order']
    """
    return list(dict.fromkeys(_GAP.findall(text)))


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with its gaps filled in; a gap without a value stays, to be seen. Values are never searched for gaps.

    >>> fill("Dear {customer}: {order}", {"customer": "{order}"})
    'Dear {order}: {order}'
    """
    return _GAP.sub(lambda found: values.get(found[1]) or found[0], text)
