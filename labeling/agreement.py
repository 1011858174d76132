"""Agreement between annotators beyond chance. Pure: counts in, numbers out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

Z95 = 1.959963984540054


@dataclass(frozen=True)
class Kappa:
    """Cohen's κ with its 95 % interval; `value` is None where it is undefined, and `why` then says so."""

    value: float | None
    low: float | None
    high: float | None
    items: int
    observed: float | None
    why: str = ""


def cohen_kappa(pairs: Iterable[tuple[Hashable, Hashable]]) -> Kappa:
    """κ = (p_o − p_e)/(1 − p_e) over items that two people labeled (Cohen 1960), with the large-sample interval of
    Fleiss, Cohen and Everitt (1969).

    Where both always gave one and the same category, chance explains everything: p_e = 1, κ is undefined, and that is
    said instead of NaN.

    >>> round(cohen_kappa([("a", "a")] * 20 + [("a", "b")] * 5 + [("b", "a")] * 10 + [("b", "b")] * 15).value, 6)
    0.4
    """
    table = Counter(pairs)
    n = sum(table.values())
    if n == 0:
        return Kappa(None, None, None, 0, None, "No item was labeled by both.")
    rows, columns = _margins(table)
    observed = math.fsum(c for (a, b), c in table.items() if a == b) / n
    expected = math.fsum(rows[k] * columns[k] for k in rows) / n**2
    if expected >= 1.0:
        return Kappa(None, None, None, n, observed, "Both used one category only: chance alone explains the agreement.")
    kappa = (observed - expected) / (1 - expected)
    half = Z95 * math.sqrt(max(_variance(table, rows, columns, observed, expected), 0.0))
    return Kappa(kappa, max(kappa - half, -1.0), min(kappa + half, 1.0), n, observed)


def _margins(table: Counter[tuple[Hashable, Hashable]]) -> tuple[Counter[Hashable], Counter[Hashable]]:
    rows: Counter[Hashable] = Counter()
    columns: Counter[Hashable] = Counter()
    for (a, b), count in table.items():
        rows[a] += count
        columns[b] += count
    return rows, columns


def _variance(
    table: Counter[tuple[Hashable, Hashable]],
    rows: Counter[Hashable],
    columns: Counter[Hashable],
    po: float,
    pe: float,
) -> float:
    """Equation 13 of Fleiss, Cohen and Everitt (1969), unweighted."""
    n = sum(table.values())
    same = math.fsum(
        table[k, k] / n * ((1 - pe) - (rows[k] + columns[k]) / n * (1 - po)) ** 2 for k in rows if table[k, k]
    )
    other = (1 - po) ** 2 * math.fsum(
        c / n * ((columns[a] + rows[b]) / n) ** 2 for (a, b), c in table.items() if a != b
    )
    return (same + other - (po * pe - 2 * pe + po) ** 2) / (n * (1 - pe) ** 4)
