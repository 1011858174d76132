"""Checks of labels before a training: schema and ranges (pandera), statistics and correlations. No Django.

A fault (schema, range) stops the training: its numbers would mean nothing. A remark is reported beside the run and stops
nothing: data may be unusual and right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from numpy.typing import NDArray
from scipy import stats

SHARES = {0: 0.8, 1: 0.1, 2: 0.1}  # of the folds train, calibrate and test, by design
P_REMARK = 1e-3
FEW = 5  # labels of a category
MOVED = 0.25  # PSI of categories against the snapshot before: the field's "critical"
TIED = 0.3  # Cramér's V: "strong" for tables of this size
TOO_HEAVY = 11.0  # 1 + the largest weight of feedback
SHOWN = 5


@dataclass(frozen=True)
class Check:
    """One check: `fault` stops the training."""

    group: str
    name: str
    passed: bool
    detail: str
    fault: bool = False


def schema(categories: Sequence[str]) -> Any:
    """What every row must be."""
    sha = pa.Check.str_matches(r"^[0-9a-f]{16,64}$")
    return pa.DataFrameSchema(
        {
            "inquiry": pa.Column(str, unique=True),
            "category": pa.Column(str, pa.Check.isin(list(categories))),
            "fold": pa.Column(int, pa.Check.isin(list(SHARES))),
            "weight": pa.Column(float, pa.Check.in_range(0.0, TOO_HEAVY, include_min=False)),
            "revision": pa.Column(int, pa.Check.ge(1)),
            "text": pa.Column(str, sha),
            "group": pa.Column(str, sha),
        },
        strict=True,
    )


def check_labels(
    rows: pd.DataFrame, x: NDArray[np.float32], *, categories: Sequence[str], before: Mapping[str, int] | None = None
) -> list[Check]:
    """``rows`` has the columns of :func:`schema`, ``x`` [n, d] its embeddings, ``before`` counts of the last snapshot."""
    faults = [*_schema(rows, categories), *_embeddings(rows, x)]
    if not len(rows) or any(not c.passed for c in faults):
        return faults  # statistics of wrong values would say nothing
    return [*faults, *_statistics(rows, categories, before or {}), *_correlations(rows)]


def _schema(rows: pd.DataFrame, categories: Sequence[str]) -> list[Check]:
    if not len(rows):
        return []
    try:
        schema(categories).validate(rows, lazy=True)
    except pa.errors.SchemaErrors as error:
        said = f"{len(error.failure_cases)} values break {'; '.join(_broken(error.failure_cases)[:SHOWN])}"
        return [Check("schema", "columns and ranges", False, said, True)]
    return [
        Check("schema", "columns and ranges", True, f"{len(rows)} rows have the right columns, types and ranges", True)
    ]


def _broken(cases: pd.DataFrame) -> list[str]:
    """Column and check of each kind of fault; a whole column that is missing or unknown is the case itself."""
    named = {(str(c.failure_case if pd.isna(c.column) else c.column), str(c.check)) for c in cases.itertuples()}
    return [f"{column}: {check}" for column, check in sorted(named)]


def _embeddings(rows: pd.DataFrame, x: NDArray[np.float32]) -> list[Check]:
    if len(x) != len(rows):
        return [Check("schema", "embeddings", False, f"{len(x)} embeddings for {len(rows)} rows", True)]
    lengths = np.linalg.norm(np.nan_to_num(x, nan=np.inf), axis=1) if len(x) else np.ones(0)
    wrong = int((~(np.abs(lengths - 1.0) < 1e-3)).sum())
    said = f"{wrong} of {len(x)} embeddings are not finite or not of unit length"
    return [
        Check("schema", "embeddings", not wrong, said if wrong else f"{len(x)} are finite and of unit length", True)
    ]


def _statistics(rows: pd.DataFrame, categories: Sequence[str], before: Mapping[str, int]) -> list[Check]:
    counts = rows["category"].value_counts().reindex(list(categories), fill_value=0)
    few = [f"{key} ({n})" for key, n in counts.items() if n < FEW]
    folds = rows["fold"].value_counts().reindex(list(SHARES), fill_value=0)
    p = float(stats.chisquare(folds.to_numpy(), np.array(list(SHARES.values())) * len(rows)).pvalue)
    spread = _disagreements(rows)
    found = [
        Check("statistics", "labels of each category", not few, _list(few, f"fewer than {FEW}") or f"each has at least {FEW}"),
        Check("statistics", "sizes of the folds", p >= P_REMARK, f"{'/'.join(map(str, folds))}, expected 80/10/10 (p = {p:.2g})"),
        Check("statistics", "the same text, other labels", not spread, f"{spread} groups of near-duplicates have several categories"),
    ]  # fmt: skip
    if before:
        psi = _psi(counts, before)
        found.append(
            Check(
                "statistics",
                "categories against the last snapshot",
                psi <= MOVED,
                f"PSI {psi:.3f}, critical above {MOVED}",
            )
        )
    return found


def _disagreements(rows: pd.DataFrame) -> int:
    return int((rows.groupby("group")["category"].nunique() > 1).sum())


def _psi(counts: pd.Series, before: Mapping[str, int]) -> float:
    """Population stability index over the categories, each count raised by one half so that none is empty."""
    keys = sorted({*counts.index, *before})
    now = np.array([counts.get(k, 0) for k in keys], float) + 0.5
    old = np.array([before.get(k, 0) for k in keys], float) + 0.5
    p, q = now / now.sum(), old / old.sum()
    return float(((p - q) * np.log(p / q)).sum())


def _correlations(rows: pd.DataFrame) -> list[Check]:
    """Category against fold: a tie means that the folds do not judge what training learns."""
    table = pd.crosstab(rows["category"], rows["fold"]).to_numpy()
    if min(table.shape) < 2:
        return [Check("correlations", "category and fold", True, "nothing to compare")]
    p = float(stats.chi2_contingency(table).pvalue)
    v = float(stats.contingency.association(table, method="cramer"))
    return [Check("correlations", "category and fold", p >= P_REMARK or v < TIED, f"Cramér's V {v:.2f} (p = {p:.2g})")]


def _list(named: Sequence[str], what: str) -> str:
    more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
    return f"{what}: {', '.join(named[:SHOWN])}{more}" if named else ""


@dataclass(frozen=True)
class Column:
    """One column of the table: what it holds, and for numbers its range (None for names)."""

    name: str
    kind: str
    missing: int
    distinct: int
    low: float | None = None
    median: float | None = None
    mean: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Tie:
    """How two columns go together, from 0 to 1 (Pearson's r from −1); None where one of them has a single value."""

    one: str
    other: str
    measure: str
    value: float | None


@dataclass(frozen=True)
class Description:
    """Columns with their statistics, and ties between those that mean something."""

    columns: list[Column]
    ties: list[Tie]


NAMES, NUMBERS = ("category", "fold"), ("weight", "revision")


def describe(rows: pd.DataFrame) -> Description:
    """Statistics and correlations of a table with the columns of :func:`schema`; nothing of it names a row."""
    columns = [_column(name, rows[name]) for name in rows.columns]
    ties = [Tie("category", "fold", "Cramér's V", _cramer(rows["category"], rows["fold"]))]
    ties += [Tie(a, b, "correlation ratio η", _ratio(rows[a], rows[b])) for a in NAMES for b in NUMBERS]
    return Description(
        columns, [*ties, Tie("weight", "revision", "Pearson's r", _pearson(rows["weight"], rows["revision"]))]
    )


def _column(name: str, values: pd.Series) -> Column:
    numeric = name not in NAMES and pd.api.types.is_numeric_dtype(values)
    kind, missing, distinct = str(values.dtype), int(values.isna().sum()), int(values.nunique())
    if not numeric or values.notna().sum() == 0:
        return Column(name, kind, missing, distinct)
    low, median, mean, high = (
        float(f(values)) for f in (pd.Series.min, pd.Series.median, pd.Series.mean, pd.Series.max)
    )
    return Column(name, kind, missing, distinct, low, median, mean, high)


def _cramer(a: pd.Series, b: pd.Series) -> float | None:
    table = pd.crosstab(a, b).to_numpy()
    return float(stats.contingency.association(table, method="cramer")) if table.size and min(table.shape) > 1 else None


def _ratio(names: pd.Series, numbers: pd.Series) -> float | None:
    """η = √(variance between the groups / variance): 0 where all groups have the same mean, 1 where the name says the number."""
    total = float(((numbers - numbers.mean()) ** 2).sum())
    if names.nunique() < 2 or total <= 0.0:
        return None
    means = numbers.groupby(names).transform("mean")
    return float(np.sqrt(((means - numbers.mean()) ** 2).sum() / total))


def _pearson(a: pd.Series, b: pd.Series) -> float | None:
    return float(a.corr(b)) if a.nunique() > 1 and b.nunique() > 1 else None
