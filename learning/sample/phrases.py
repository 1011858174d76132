"""Expand a phrase of the sample grammar: ``(a|b)`` is a choice, ``{slot}`` a filled-in word, both nest."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from random import Random

_INNERMOST = re.compile(r"\(([^()]*)\)")
_SLOT = re.compile(r"\{(\w+)\}")


def expand(phrase: str, slots: Mapping[str, Sequence[str]], rng: Random) -> str:
    """One text of ``phrase``; raises KeyError for a slot that is neither an amount nor in ``slots``.

    >>> expand("(yes|yes), {who}", {"who": ["(you|you)"]}, Random(0))
    'yes, you'
    """
    while found := _INNERMOST.search(phrase):
        phrase = phrase[: found.start()] + rng.choice(found[1].split("|")) + phrase[found.end() :]
    while found := _SLOT.search(phrase):
        phrase = phrase[: found.start()] + _fill(found[1], slots, rng) + phrase[found.end() :]
    return phrase


def _fill(slot: str, slots: Mapping[str, Sequence[str]], rng: Random) -> str:
    if slot == "euros":
        return str(rng.randrange(8, 480))
    if slot == "yen":
        return str(rng.randrange(6, 400) * 100 - rng.choice((0, 20)))
    if slot == "small":
        return str(rng.randrange(2, 90))
    return expand(rng.choice(slots[slot]), slots, rng)
