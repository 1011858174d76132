"""Training a servable head from anything between nothing and many labels."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.core import calibration as cal
from learning.core.export import export_head
from learning.core.heads.ridge import RidgeStatistics
from learning.core.heads.training import TrainedHead, train_heads
from tests.learning.core.heads.synthetic import clusters, unit

K, D = 6, 24
CATEGORIES = [f"c{i}" for i in range(K)]


@cache
def trained(n: int, *, names: bool = True) -> TrainedHead:
    """The same head for all tests that only look at it."""
    return train(n, names=names)


def train(n: int, *, names: bool = True, spread: float = 1.2, **options: object) -> TrainedHead:
    x, y, directions = clusters(n, K, d=D, spread=spread)
    prior = unit(directions + 0.3 * np.random.default_rng(5).standard_normal(directions.shape) / np.sqrt(D) * 3)
    given = {"categories": CATEGORIES, "prior_prototypes": prior if names else None, "random_features": 64, **options}
    return train_heads(x, y, **given)


def accuracy(head: TrainedHead, spread: float = 1.2) -> float:
    x, y, _ = clusters(1500, K, d=D, spread=spread, seed=77)
    return cal.accuracy(head.probabilities(x).argmax(axis=1), y).estimate


def test_without_labels_the_category_texts_answer() -> None:
    head = trained(0)
    assert (head.kind, dict(head.shares)) == ("prior", {"prior": 1.0})
    assert accuracy(head) > 0.5


def test_with_nothing_at_all_every_category_is_as_likely() -> None:
    head = trained(0, names=False)
    assert head.probabilities(np.ones((1, D)))[0] == pytest.approx(np.full(K, 1 / K))


def test_labels_make_it_better_than_the_texts() -> None:
    assert accuracy(trained(400)) > accuracy(trained(0)) + 0.02


def test_with_few_labels_the_texts_still_help() -> None:
    assert accuracy(trained(15)) > accuracy(trained(15, names=False)) + 0.05


def test_the_texts_count_for_less_as_labels_grow() -> None:
    few, many = trained(15), trained(400)
    assert many.shares.get("prior", 0.0) < few.shares["prior"]


def test_a_category_without_labels_is_still_recognised_by_its_text() -> None:
    x, y, directions = clusters(200, K, d=D)
    seen = y != 2
    head = train_heads(x[seen], y[seen], categories=CATEGORIES, prior_prototypes=directions, random_features=64)
    fresh, truth, _ = clusters(600, K, d=D, seed=3)
    assert (head.probabilities(fresh).argmax(axis=1) == truth)[truth == 2].mean() > 0.5


def test_its_probabilities_can_be_believed() -> None:
    head = trained(400)
    x, y, _ = clusters(3000, K, d=D, spread=1.2, seed=77)
    assert cal.expected_calibration_error(head.probabilities(x), y) < 0.05


def test_what_it_says_of_itself_is_what_fresh_texts_say() -> None:
    head = trained(400)
    assert head.metrics["held_out"]["accuracy"] == pytest.approx(accuracy(head), abs=0.06)


def test_without_regard_to_live_labels_the_least_held_out_loss_wins() -> None:
    head = train(60, live_share=0.0)
    assert head.metrics["held_out_log_loss"][head.kind] == min(head.metrics["held_out_log_loss"].values())


def test_live_labels_are_felt_by_default() -> None:
    assert trained(400).shares["ridge"] >= 0.5


def test_the_parts_add_up_to_the_head() -> None:
    head = trained(120)
    total = sum(head.shares[name] * part for name, part in head.parts.items())
    assert np.allclose(total[:-1], head.weights)
    assert np.allclose(total[-1], head.bias)


def test_the_ridge_part_is_the_ridge_of_its_statistics() -> None:
    head = trained(120)
    x, y, directions = clusters(120, K, d=D, spread=1.2)
    prior = unit(directions + 0.3 * np.random.default_rng(5).standard_normal(directions.shape) / np.sqrt(D) * 3)
    chosen = head.hyperparameters["members"]["ridge"]
    statistics = RidgeStatistics(head.features.width, CATEGORIES)
    statistics.add(head.features(x), y)
    statistics.add(
        head.features(prior), np.arange(K), [head.hyperparameters["pseudo_weights"][key] for key in CATEGORIES]
    )
    expected = statistics.solve(chosen["lambda"]) / chosen["temperature"]
    assert head.parts["ridge"][:-1] == pytest.approx(expected, abs=1e-9)


def test_it_survives_its_export() -> None:
    head = trained(120)
    x, _, _ = clusters(50, K, d=D, seed=8)
    _, gap = export_head(
        head.features,
        weights=head.weights,
        bias=head.bias,
        temperature=head.temperature,
        categories=head.categories,
        check_on=x,
    )
    assert gap <= 1e-5


def test_the_same_seed_gives_the_same_head() -> None:
    first, second = train(30, seed=3), train(30, seed=3)
    assert np.array_equal(first.weights, second.weights)
    assert first.hyperparameters == second.hyperparameters


def test_calibration_labels_change_the_temperature_and_nothing_else() -> None:
    x, y, _ = clusters(250, K, d=D, spread=2.5, seed=4)
    plain, calibrated = trained(120), train(120, calibration=(x, y))
    assert np.array_equal(plain.weights, calibrated.weights)
    assert calibrated.temperature == cal.fit_temperature(calibrated.scores(x), y)
    assert calibrated.metrics["calibration"]["n"] == 250


def test_a_handful_of_calibration_labels_is_pooled_with_the_held_out_scores() -> None:
    x, y, _ = clusters(3, K, d=D, seed=4)
    assert 0.3 < train(120, calibration=(x, y)).temperature < 3


def test_no_calibration_labels_are_as_good_as_none_given() -> None:
    assert train(30, calibration=(np.zeros((0, D)), np.zeros(0, dtype=int))).temperature == 1.0


def test_rows_of_weight_zero_are_left_out() -> None:
    x, y, _ = clusters(80, K, d=D)
    w = np.r_[np.ones(50), np.zeros(30)]
    given = {"categories": CATEGORIES, "random_features": 64}
    weighted, cut = train_heads(x, y, weights=w, **given), train_heads(x[:50], y[:50], **given)
    assert np.allclose(weighted.weights, cut.weights)
    assert weighted.metrics["labels"] == 50


def test_wrong_labels_of_little_weight_do_little_harm() -> None:
    x, y, _ = clusters(300, K, d=D, spread=1.0)
    wrong = np.where(np.arange(300) % 2 == 0, (y + 1) % K, y)
    w = np.where(np.arange(300) % 2 == 0, 0.05, 1.0)
    given = {"categories": CATEGORIES, "random_features": 64}
    assert (
        accuracy(train_heads(x, wrong, weights=w, **given), 1.0) > accuracy(train_heads(x, wrong, **given), 1.0) + 0.05
    )


def test_misleading_texts_are_outvoted_by_labels() -> None:
    x, y, directions = clusters(300, K, d=D, spread=1.0)
    misled = train_heads(
        x, y, categories=CATEGORIES, prior_prototypes=np.roll(directions, 1, axis=0), random_features=64
    )
    plain = train_heads(x, y, categories=CATEGORIES, random_features=64)
    assert accuracy(misled, 1.0) > accuracy(plain, 1.0) - 0.03


def test_near_duplicates_do_not_flatter_the_held_out_accuracy() -> None:
    rng = np.random.default_rng(0)
    x, y = np.repeat(unit(rng.standard_normal((30, D))), 6, axis=0), np.repeat(rng.integers(0, 2, 30), 6)
    given = {"categories": ["a", "b"], "random_features": 64}
    blind = train_heads(x, y, **given).metrics["held_out"]["accuracy"]
    honest = train_heads(x, y, groups=np.repeat(np.arange(30), 6), **given).metrics["held_out"]["accuracy"]
    assert blind > 0.95
    assert honest < 0.8


def test_progress_is_reported_to_the_end() -> None:
    seen: list[float] = []
    train(12, progress=lambda share, what: seen.append(share))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 12), st.integers(1, 5), st.booleans(), st.integers(0, 999))
def test_any_handful_of_labels_gives_probabilities(n: int, classes: int, names: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = unit(rng.standard_normal((n, 8)) + 1e-9), rng.integers(0, classes, n)
    prior = unit(rng.standard_normal((classes, 8))) if names else None
    head = train_heads(
        x, y, categories=[str(k) for k in range(classes)], prior_prototypes=prior, seed=seed, random_features=32,
        weights=rng.choice([0.0, 0.5, 1.0], n),
    )  # fmt: skip
    p = head.probabilities(unit(rng.standard_normal((4, 8))))
    assert p.shape == (4, classes)
    assert np.isfinite(p).all()
    assert p.sum(axis=1) == pytest.approx(np.ones(4))


def test_labels_of_one_category_only_are_enough() -> None:
    x, _, directions = clusters(10, K, d=D)
    head = train_heads(
        x, np.zeros(10, dtype=int), categories=CATEGORIES, prior_prototypes=directions, random_features=64
    )
    assert np.isfinite(head.probabilities(x)).all()


def test_a_category_known_by_labels_alone_stands_beside_named_ones() -> None:
    x, y, directions = clusters(200, K, d=D)
    directions[4] = 0.0
    head = train_heads(x, y, categories=CATEGORIES, prior_prototypes=directions, random_features=64)
    assert (head.probabilities(x).argmax(axis=1) == y)[y == 4].mean() > 0.8


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"categories": []}, "at least one category"),
        ({"y": [0, 1, 9]}, "row 2 has a label outside the 6 categories"),
        ({"y": [0, -1, 2]}, "row 1 has a label outside"),
        ({"y": [0.0, 1.0, 2.0]}, "must be integers"),
        ({"x": np.full((3, D), np.nan)}, "row 0 has an embedding"),
        ({"weights": [1, -1, 1]}, "row 1 has an embedding or a weight"),
        ({"weights": [1, 1]}, "do not fit"),
        ({"prior_prototypes": np.ones((5, D))}, r"prototypes must be finite and \[6, 24\]"),
    ],
)
def test_it_refuses_what_cannot_be_trained_on(change: dict[str, object], sentence: str) -> None:
    given = {"x": np.ones((3, D)), "y": [0, 1, 2], "categories": CATEGORIES, **change}
    with pytest.raises(ValueError, match=sentence):
        train_heads(given.pop("x"), given.pop("y"), **given)
