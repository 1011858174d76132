"""What neighbours say: as the formula has it, in the served graph as in training, and after being saved."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.core.calibration import softmax
from learning.core.export import check_parity, head_graph
from learning.core.heads import saved
from learning.core.heads.features import FeatureMap
from learning.core.heads.neighbours import REST, NeighbourScores
from learning.core.heads.training import TrainedHead
from learning.core.heads.whitening import Whitening
from serving.head import OnnxHead


def unit(n: int, d: int, seed: int) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((n, d))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def looked_up(n: int = 60, d: int = 12, classes: int = 4, seed: int = 0, share: float = 0.7) -> NeighbourScores:
    rng, rows = np.random.default_rng(seed), unit(n, d, seed)
    votes = rng.random((n, classes)) * (rng.random((n, 1)) < 0.8)
    return NeighbourScores.of(
        rows, rows @ rng.standard_normal((d, classes)).astype(np.float32), Whitening.of(rows), votes.astype(np.float32), share
    )  # fmt: skip


def head_of(found: NeighbourScores | None, d: int = 12, classes: int = 4, seed: int = 0) -> TrainedHead:
    rng, features = np.random.default_rng(seed), FeatureMap(d, 16, seed)
    return TrainedHead(
        kind="stack", categories=tuple(f"c{i}" for i in range(classes)), features=features,
        weights=rng.standard_normal((features.width, classes)), bias=rng.standard_normal(classes), temperature=1.3,
        metrics={}, hyperparameters={}, parts={}, shares={}, neighbours=found,
    )  # fmt: skip


def served(head: TrainedHead) -> OnnxHead:
    return OnnxHead.from_graph(
        head_graph(head.features, head.neighbours), weights=head.served_weights, bias=head.bias,
        temperature=head.temperature, categories=head.categories,
    )  # fmt: skip


def by_hand(found: NeighbourScores, x: np.ndarray) -> np.ndarray:
    """One text [d], term by term in float64."""
    rows, views, whitened, votes = (
        part.astype(np.float64) for part in (found.rows, found.views, found.whitened, found.votes)
    )
    near = np.argsort(-(rows @ x.astype(np.float64)))[: found.k]
    z = (x.astype(np.float64) - found.whitening.centre) @ found.whitening.matrix
    cosines = whitened @ z / np.linalg.norm(z)
    brought = sum(max(cosines[j], 0.0) ** 3 * votes[j] for j in np.argsort(-cosines)[: found.k])
    share = brought / brought.sum() if brought.sum() > 0 else np.zeros(found.classes)
    length = np.linalg.norm(rows[near].sum(axis=0))
    return views[near].sum(axis=0) / length + found.share * np.log((1 - REST) * share + REST / found.classes)


def test_scores_are_those_of_the_formula() -> None:
    found, x = looked_up(), unit(20, 12, 5)
    assert np.allclose(found(x), [by_hand(found, row) for row in x], atol=1e-4)


def test_a_text_that_no_label_reached_is_not_drawn_to_any_category() -> None:
    rows = unit(30, 12, 1)
    none = np.zeros((30, 4), np.float32)
    found = NeighbourScores.of(rows, none, Whitening.of(rows), none, 1.0)
    assert np.ptp(found(unit(5, 12, 2)), axis=1).max() < 1e-6


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 300), d=st.integers(2, 40), classes=st.integers(1, 9), seed=st.integers(0, 99),
    share=st.floats(0.0, 3.0),
)  # fmt: skip
def test_the_served_graph_says_what_training_says(n: int, d: int, classes: int, seed: int, share: float) -> None:
    head = head_of(looked_up(n, d, classes, seed, share), d, classes, seed)
    x = unit(40, d, seed + 1)
    x = x[~head.undecided(x)]
    assert check_parity(served(head), head.probabilities(x), x) < 1e-5


def test_many_rows_are_answered_as_one_by_one() -> None:
    head = head_of(looked_up(900, seed=3), seed=3)
    x = unit(600, 12, 8)
    x = x[~head.undecided(x)]
    onnx, every = served(head), [served(head).predict(row[None])[0] for row in x[::50]]
    assert np.allclose(onnx.predict(x)[::50], every, atol=1e-5)
    assert onnx.neighbour_scores(x).shape == (len(x), 4)


def test_texts_between_two_neighbours_by_either_measure_are_undecided_and_no_others() -> None:
    rows, none = np.eye(12, dtype=np.float32), np.zeros((12, 2), np.float32)
    turned = np.roll(rows, 6, axis=0)  # the other measure reads the last six numbers first
    found = NeighbourScores.of(rows, none, Whitening(np.zeros(12, np.float32), turned), none, 0.0)
    found = replace(found, whitened=rows.astype(np.float16), k=3)
    x = np.tile(np.linspace(0.2, 0.5, 12, dtype=np.float32), (3, 1))
    x[1, 8] = x[1, 9]  # third and fourth by the encoder's cosine
    x[2, [2, 3]] = 0.7, 0.8  # first and second; the fourth is as near as the third by both
    x[2, 11] = x[2, 10]
    assert found.undecided(x).tolist() == [False, True, True]


def test_weights_of_neighbours_are_one_for_their_own_category() -> None:
    head = head_of(looked_up())
    onnx, x = served(head), unit(9, 12, 4)
    assert (onnx.neighbours, onnx.features) == (4, 4 + head.features.width)
    rows = np.concatenate([onnx.neighbour_scores(x), head.features(x)], axis=1)
    assert np.allclose(onnx.predict(x), softmax((rows @ head.served_weights + head.bias) / 1.3), atol=1e-5)


@pytest.mark.parametrize("found", [None, looked_up(7)], ids=["no neighbours", "neighbours"])
def test_a_saved_head_comes_back_as_it_was(found: NeighbourScores | None) -> None:
    head = head_of(found)
    again = saved.from_bytes(saved.to_bytes(head))
    assert saved.to_bytes(again) == saved.to_bytes(head)
    assert np.array_equal(again.scores(unit(5, 12, 1)), head.scores(unit(5, 12, 1)))


def test_the_pool_lies_in_the_graph_once_by_each_measure_and_in_halves() -> None:
    with_pool = head_graph(FeatureMap(64), looked_up(3000, 64, 3))
    whitening = 4 * 64 * 65
    assert len(with_pool) - len(head_graph(FeatureMap(64))) < 3000 * (2 * 64 + 2 * 3) * 2 + whitening + 5_000


@pytest.mark.parametrize("wrong", ["rows", "views", "whitened", "votes"])
def test_a_pool_that_does_not_fit_together_is_refused(wrong: str) -> None:
    found = looked_up()
    with pytest.raises(ValueError, match="no look-up"):
        replace(found, **{wrong: getattr(found, wrong)[1:]})
    with pytest.raises(ValueError, match="no look-up"):
        replace(found, **{wrong: getattr(found, wrong)[:, 1:]})


def test_an_empty_pool_is_refused() -> None:
    found = looked_up()
    with pytest.raises(ValueError, match="no look-up"):
        replace(found, **{name: getattr(found, name)[:0] for name in ("rows", "views", "whitened", "votes")})


def test_a_head_that_another_release_saved_is_refused() -> None:
    first, _, rest = saved.to_bytes(head_of(None)).partition(b"\n")
    with pytest.raises(ValueError, match="another release"):
        saved.from_bytes(first.replace(b'"format": 2', b'"format": 1') + b"\n" + rest)
