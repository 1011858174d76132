"""Each check of labels finds the fault that it is meant for, and nothing in labels that are right."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy.stats import f_oneway

from learning.core.dataset_checks import Check, check_labels, describe

KEYS = ["refund", "delivery", "fraud"]


def rows(n: int = 600, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "inquiry": [f"i-{k}" for k in range(n)],
            "category": rng.choice(KEYS, n),
            "fold": rng.choice([0, 1, 2], n, p=[0.8, 0.1, 0.1]),
            "weight": np.full(n, 0.9),
            "revision": np.ones(n, int),
            "text": [f"{k:064x}" for k in range(n)],
            "group": [f"{k:016x}" for k in range(n)],
        }
    ).astype(dict.fromkeys(["inquiry", "category", "text", "group"], "object"))


def units(n: int) -> np.ndarray:
    x = np.random.default_rng(1).normal(size=(n, 8)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def failed(table: pd.DataFrame, x: np.ndarray | None = None, **before: int) -> list[Check]:
    found = check_labels(table, units(len(table)) if x is None else x, categories=KEYS, before=before or None)
    return [c for c in found if not c.passed]


def test_labels_that_are_right_pass_every_check() -> None:
    assert failed(rows(), refund=200, delivery=200, fraud=200) == []


def spoil(column: str, value: object) -> Callable[[pd.DataFrame], None]:
    def change(table: pd.DataFrame) -> None:
        table.loc[table.index[5], column] = value

    return change


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (spoil("category", "parcels"), "category"),
        (spoil("fold", 3), "fold"),
        (spoil("weight", 0.0), "weight"),
        (spoil("weight", -1.0), "weight"),
        (spoil("weight", float("nan")), "weight"),
        (spoil("weight", 12.0), "weight"),
        (spoil("revision", 0), "revision"),
        (spoil("text", "Where is my parcel?"), "text"),
        (spoil("inquiry", "i-4"), "inquiry"),
        (lambda table: table.insert(0, "email", "a@b.example"), "email"),
        (lambda table: table.drop(columns="group", inplace=True), "group"),
    ],
)
def test_a_wrong_value_is_a_fault_that_names_its_column(change: Callable[[pd.DataFrame], None], word: str) -> None:
    table = rows()
    change(table)
    (found,) = failed(table)
    assert found.fault
    assert word in found.detail


@pytest.mark.parametrize("value", [np.nan, np.inf, 3.0])
def test_embeddings_that_are_no_unit_vectors_are_a_fault(value: float) -> None:
    x = units(600)
    x[3] *= value
    (found,) = failed(rows(), x)
    assert (found.name, found.fault) == ("embeddings", True)
    assert found.detail.startswith("1 of 600")


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda t: t.loc[t.index[:500], ["fold"]].__setitem__("fold", 0), None),
        (lambda t: t.__setitem__("fold", 0), "sizes of the folds"),
        (lambda t: t.__setitem__("category", "refund"), "labels of each category"),
        (lambda t: t.__setitem__("group", ["0" * 16] * 9 + list(t["group"][9:])), "the same text, other labels"),
        (
            lambda t: t.__setitem__("fold", t["category"].map({"refund": 0, "delivery": 0, "fraud": 2})),
            "category and fold",
        ),
    ],
)
def test_unusual_data_is_remarked_and_stops_nothing(change: Callable[[pd.DataFrame], None], name: str | None) -> None:
    table = rows()
    change(table)
    found = failed(table)
    assert not any(c.fault for c in found)
    assert name is None or name in [c.name for c in found]


def test_categories_that_moved_since_the_last_snapshot_are_remarked() -> None:
    assert [c.name for c in failed(rows(), refund=580, delivery=10, fraud=10)] == [
        "categories against the last snapshot"
    ]


def test_no_labels_at_all_are_no_error() -> None:
    assert failed(rows(0), units(0)) == []


def test_a_description_gives_ranges_and_ties_as_other_ways_of_counting_do() -> None:
    table = rows()
    table["weight"] = table["category"].map({"refund": 0.5, "delivery": 0.9, "fraud": 1.5})
    table["revision"] = np.arange(1, len(table) + 1)
    told = describe(table)
    columns = {c.name: c for c in told.columns}
    weight = columns["weight"]
    assert (weight.low, weight.high, weight.distinct, weight.missing) == (0.5, 1.5, 3, 0)
    assert weight.mean == pytest.approx(sum(table["weight"]) / len(table))
    assert columns["inquiry"].mean is None
    assert columns["fold"].mean is None, "a fold is a name, its mean says nothing"
    ties = {(t.one, t.other): t.value for t in told.ties}
    assert ties["category", "weight"] == pytest.approx(1.0), "the category says the weight"
    assert ties["weight", "revision"] == pytest.approx(np.corrcoef(table["weight"], table["revision"])[0, 1])
    # η² is the share of variance that a one-way analysis explains.
    groups = [part["revision"].to_numpy() for _, part in table.groupby("category")]
    f = f_oneway(*groups).statistic
    explained = f * (len(groups) - 1) / (f * (len(groups) - 1) + len(table) - len(groups))
    assert ties["category", "revision"] == pytest.approx(np.sqrt(explained))


def test_columns_of_a_single_value_are_tied_to_nothing() -> None:
    told = describe(rows().assign(category="refund"))
    assert all(t.value is None for t in told.ties)
