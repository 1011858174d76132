"""Agreement between annotators beyond chance. Pure: counts in, numbers out.

Everything follows from one kind of count, `Pairs`: how many items of a given number of answers two people answered with two
categories. The counts can be kept up to date answer by answer (labeling/tallies.py), or made from arrays (`tally`).

No coefficient is ever NaN: where it is undefined its value is None and `why` says so in a sentence.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959963984540054
NO_ITEM = "No item was labeled by both."
ONE_CATEGORY = "Both used one category only: chance alone explains the agreement."
NO_PAIR = "No item was labeled by two people."
ALL_ONE_CATEGORY = "Everybody used one category only: chance alone explains the agreement."


class Pairs(NamedTuple):
    """`items` items of `size` answers each, to which `first` said `says_first` and `second` said `says_second`."""

    week: Any
    size: int
    first: int
    second: int
    says_first: int
    says_second: int
    items: int


@dataclass(frozen=True)
class Kappa:
    """Cohen's κ with its 95 % interval; `value` is None where it is undefined, and `why` then says so.

    `half` is half the interval's width before it is cut to [−1, 1].
    """

    value: float | None
    low: float | None
    high: float | None
    items: int
    observed: float | None
    why: str = ""
    half: float = 0.0


@dataclass(frozen=True)
class Coefficient:
    """A coefficient over all annotators; `value` is None where it is undefined, and `why` then says so."""

    value: float | None
    items: int
    why: str = ""


def cohen_kappa(pairs: Iterable[tuple[Hashable, Hashable]]) -> Kappa:
    """κ = (p_o − p_e)/(1 − p_e) over items that two people labeled (Cohen 1960), with the large-sample interval of
    Fleiss, Cohen and Everitt (1969).

    Where both always gave one and the same category, chance explains everything: p_e = 1, κ is undefined, and that is
    said instead of NaN.

    >>> round(cohen_kappa([("a", "a")] * 20 + [("a", "b")] * 5 + [("b", "a")] * 10 + [("b", "b")] * 15).value, 6)
    0.4
    """
    return kappa_of_table(Counter(pairs))


def kappa_of_table(table: Mapping[tuple[Any, Any], int]) -> Kappa:
    """Cohen's κ of a table {(first's answer, second's answer): items}."""
    n = sum(table.values())
    if n == 0:
        return Kappa(None, None, None, 0, None, NO_ITEM)
    rows, columns = _margins(table)
    observed = math.fsum(c for (a, b), c in table.items() if a == b) / n
    expected = math.fsum(rows[k] * columns[k] for k in rows) / n**2
    if expected >= 1.0:
        return Kappa(None, None, None, n, observed, ONE_CATEGORY)
    kappa = (observed - expected) / (1 - expected)
    half = Z95 * math.sqrt(max(_variance(table, rows, columns, observed, expected), 0.0))
    return Kappa(kappa, max(kappa - half, -1.0), min(kappa + half, 1.0), n, observed, half=half)


def _margins(table: Mapping[tuple[Any, Any], int]) -> tuple[Counter[Any], Counter[Any]]:
    rows: Counter[Any] = Counter()
    columns: Counter[Any] = Counter()
    for (a, b), count in table.items():
        rows[a] += count
        columns[b] += count
    return rows, columns


def _variance(
    table: Mapping[tuple[Any, Any], int],
    rows: Counter[Any],
    columns: Counter[Any],
    po: float,
    pe: float,
) -> float:
    """Equation 13 of Fleiss, Cohen and Everitt (1969), unweighted."""
    n = sum(table.values())
    same = math.fsum(
        c / n * ((1 - pe) - (rows[a] + columns[a]) / n * (1 - po)) ** 2 for (a, b), c in table.items() if a == b
    )
    other = (1 - po) ** 2 * math.fsum(
        c / n * ((columns[a] + rows[b]) / n) ** 2 for (a, b), c in table.items() if a != b
    )
    return (same + other - (po * pe - 2 * pe + po) ** 2) / (n * (1 - pe) ** 4)


def one_against_rest(table: Mapping[tuple[Any, Any], int], category: Any) -> Counter[tuple[bool, bool]]:
    """The same items with the question "is it `category`?"."""
    found: Counter[tuple[bool, bool]] = Counter()
    for (a, b), n in table.items():
        found[a == category, b == category] += n
    return found


def mean_kappa(kappas: Iterable[Kappa]) -> Kappa:
    """Mean pairwise κ weighted by shared items, with its 95 % interval (pairs taken as independent of each other).

    Pairs whose κ is undefined are left out, with their items.
    """
    given = list(kappas)
    known = [(k.value, k) for k in given if k.value is not None]
    items = sum(k.items for _, k in known)
    if not items:
        return Kappa(None, None, None, 0, None, ALL_ONE_CATEGORY if any(k.items for k in given) else NO_PAIR)
    mean = math.fsum(v * k.items for v, k in known) / items
    half = math.sqrt(math.fsum((k.items / items * k.half) ** 2 for _, k in known))
    observed = math.fsum((k.observed or 0.0) * k.items for _, k in known) / items
    return Kappa(mean, max(mean - half, -1.0), min(mean + half, 1.0), items, observed, half=half)


def fleiss_kappa(pairs: Iterable[Pairs]) -> Coefficient:
    """Fleiss' κ (1971). It wants the same number of answers for every item: the most frequent number is taken, and `items`
    says over how many items.
    """
    by_size: dict[int, list[Pairs]] = defaultdict(list)
    for p in pairs:
        by_size[p.size].append(p)
    if not by_size:
        return Coefficient(None, 0, NO_PAIR)
    size, group = max(by_size.items(), key=lambda kv: (_items_of(kv[1], kv[0]), kv[0]))
    total = sum(p.items for p in group)
    agreed = sum(p.items for p in group if p.says_first == p.says_second)
    shares = [n / (2 * total) for n in _answers(group).values()]
    expected = math.fsum(s * s for s in shares)
    items = _items_of(group, size)
    if len(shares) == 1:
        return Coefficient(None, items, ALL_ONE_CATEGORY)
    return Coefficient((agreed / total - expected) / (1 - expected), items)


def _items_of(group: list[Pairs], size: int) -> int:
    """An item of n answers has n(n − 1)/2 pairs."""
    return sum(p.items for p in group) * 2 // (size * (size - 1))


def _answers(group: list[Pairs]) -> Counter[int]:
    found: Counter[int] = Counter()
    for p in group:
        found[p.says_first] += p.items
        found[p.says_second] += p.items
    return found


def krippendorff_alpha(pairs: Iterable[Pairs]) -> Coefficient:
    """Krippendorff's α for nominal categories and any number of answers per item (Krippendorff 2011).

    An item of m answers adds each of its ordered pairs with weight 1/(m − 1); items with one answer say nothing.
    """
    given = list(pairs)
    values: dict[int, float] = defaultdict(float)
    apart = items = 0.0
    for p in given:
        weight = p.items / (p.size - 1)
        values[p.says_first] += weight
        values[p.says_second] += weight
        apart += 2 * weight if p.says_first != p.says_second else 0.0
        items += p.items * 2 / (p.size * (p.size - 1))
    if not given:
        return Coefficient(None, 0, NO_PAIR)
    if len(values) == 1:
        return Coefficient(None, round(items), ALL_ONE_CATEGORY)
    n = math.fsum(values.values())
    expected = n * n - math.fsum(v * v for v in values.values())
    return Coefficient(1.0 - (n - 1) * apart / expected, round(items))


Ints = NDArray[np.int64]


def tally(items: Ints, annotators: Ints, categories: Ints) -> list[Pairs]:
    """`Pairs` of answers given as three arrays of non-negative numbers; a person answers an item at most once."""
    order = np.lexsort((annotators, items))
    items, annotators, categories = items[order], annotators[order], categories[order]
    if not len(items):
        return []
    starts = np.flatnonzero(np.r_[True, items[1:] != items[:-1]])
    size = np.repeat(np.diff(np.r_[starts, len(items)]), np.diff(np.r_[starts, len(items)]))
    people, labels = int(annotators.max()) + 1, int(categories.max()) + 1
    keys = []
    for apart in range(1, int(size.max())):
        left = np.flatnonzero(items[apart:] == items[:-apart])
        right = left + apart
        key = (size[left] * people + annotators[left]) * people + annotators[right]
        keys.append((key * labels + categories[left]) * labels + categories[right])
    found, counts = np.unique(np.concatenate(keys) if keys else np.zeros(0, np.int64), return_counts=True)
    return [_unpacked(int(k), int(n), people, labels) for k, n in zip(found, counts, strict=True)]


def _unpacked(key: int, count: int, people: int, labels: int) -> Pairs:
    key, second_says = divmod(key, labels)
    key, first_says = divmod(key, labels)
    key, second = divmod(key, people)
    size, first = divmod(key, people)
    return Pairs(None, size, first, second, first_says, second_says, count)


def by_pair(pairs: Iterable[Pairs]) -> dict[tuple[int, int], Counter[tuple[int, int]]]:
    """The table of each two people: how often they gave which two answers."""
    tables: dict[tuple[int, int], Counter[tuple[int, int]]] = defaultdict(Counter)
    for p in pairs:
        tables[p.first, p.second][p.says_first, p.says_second] += p.items
    return dict(sorted(tables.items()))
