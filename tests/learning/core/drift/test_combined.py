"""The calibrated test: its stated false-alarm rate, its power, and the corrections for tests, looks and slices."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from learning.core.drift.combined import Calibration, check_slices, fitting, holm, resamples_for
from learning.core.drift.reference import Reference, Window
from tests.learning.core.drift.worlds import World

KNOWN = list(range(10))
WORLD = World()


def window(n: int, rng: np.random.Generator, *, new: float = 0.0, moved: float = 0.0) -> Window:
    """``new`` of the texts come from unseen topics, ``moved`` of them all from one known topic."""
    groups = [(round(new * n), [10, 11]), (round(moved * n), [0])]
    groups.append((n - sum(size for size, _ in groups), KNOWN))
    topic = np.concatenate([WORLD.topics(size, rng, among) for size, among in groups])
    return Window(WORLD.texts(topic, rng), np.where(topic < 10, topic, 3))


@pytest.fixture(scope="module")
def reference():
    texts = window(900, np.random.default_rng(0))
    return Reference(texts.x, predictions=texts.predictions, classes=10)


@pytest.fixture(scope="module")
def calibration(reference):
    return Calibration(reference, 150, rng=np.random.default_rng(1), names=("psi", "ks", "mmd"), resamples=300)


def alarms(calibration: Calibration, runs: int, seed: int, **drift: float) -> float:
    rng = np.random.default_rng(seed)
    return float(np.mean([calibration.check(window(calibration.n, rng, **drift)).drifted for _ in range(runs)]))


def test_clean_windows_alarm_at_the_stated_rate():
    """Over references as well as windows: a reference that is a little unlucky alarms more, another one less."""
    rate = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        texts = window(900, rng)
        found = Calibration(Reference(texts.x, predictions=texts.predictions, classes=10), 150, rng=rng, resamples=150)
        rate.append(alarms(found, 40, seed + 100))
    assert 0.02 <= np.mean(rate) <= 0.08


@pytest.mark.parametrize("drift", [{"new": 0.08}, {"moved": 0.2}], ids=str)
def test_planted_drift_is_found(calibration, drift):
    assert alarms(calibration, 30, 7, **drift) >= 0.9


def test_the_parts_say_what_kind_of_change_it_was(calibration):
    rng = np.random.default_rng(8)
    new, moved = (calibration.check(window(150, rng, **d)).parts for d in ({"new": 0.1}, {"moved": 0.25}))
    assert max(new, key=new.get) != "cell_shares"
    assert max(moved, key=moved.get) == "cell_shares"


def test_every_detector_asked_for_is_reported_with_its_p_value(calibration):
    report = calibration.check(window(150, np.random.default_rng(9)))
    assert [f.detector for f in report.findings] == ["novelty", "novel_density", "cell_shares", "psi", "ks", "mmd"]
    assert all(0 < f.p_value <= 1 for f in report.findings)


def test_a_report_can_be_rebuilt_from_its_evidence(reference, calibration, tmp_path):
    seen = window(150, np.random.default_rng(10), new=0.05)
    reference.save(tmp_path / "evidence.npz")
    again = Calibration(
        Reference.load(tmp_path / "evidence.npz"),
        150,
        rng=np.random.default_rng(1),
        names=("psi", "ks", "mmd"),
        resamples=300,
    )
    assert again.check(seen) == calibration.check(seen)


def test_thirty_looks_share_one_level(reference):
    calibration = Calibration(reference, 100, rng=np.random.default_rng(2), resamples=resamples_for(0.05, 30))
    rng = np.random.default_rng(3)
    quiet = [calibration.check(window(100, rng), looks=30).drifted for _ in range(120)]
    assert np.mean(quiet) <= 0.02
    assert calibration.check(window(100, rng, new=0.3), looks=30).drifted


def test_too_few_resamples_for_the_looks_are_refused(calibration):
    with pytest.raises(ValueError, match="1200 resamples"):
        calibration.check(window(150, np.random.default_rng(0)), looks=30)


@pytest.mark.parametrize("n", [5, 700])
def test_a_window_too_small_or_too_large_for_the_reference_is_refused(reference, n):
    with pytest.raises(ValueError, match="20 to 450"):
        Calibration(reference, n, rng=np.random.default_rng(0))


def test_a_window_of_another_size_is_refused(calibration):
    with pytest.raises(ValueError, match="150"):
        calibration.check(window(149, np.random.default_rng(0)))


def test_a_large_window_is_thinned_with_its_answers(reference):
    large = window(800, np.random.default_rng(0))
    thinned = fitting(large, reference, np.random.default_rng(1))
    assert len(thinned.x) == len(thinned.predictions) == 450
    rows = {tuple(r): p for r, p in zip(large.x.tolist(), large.predictions, strict=True)}
    assert all(rows[tuple(r)] == p for r, p in zip(thinned.x.tolist(), thinned.predictions, strict=True))


def test_a_window_that_fits_is_left_alone(reference):
    small = window(100, np.random.default_rng(0))
    assert fitting(small, reference, np.random.default_rng(1)) is small


def test_the_slice_that_drifted_is_named_and_tiny_ones_are_left_out():
    rng = np.random.default_rng(4)
    refs = [window(400, rng) for _ in range(3)]
    made = [Reference(r.x, predictions=r.predictions, classes=10) for r in refs]
    windows = [window(120, rng), window(120, rng, new=0.2), window(10, rng)]
    names = ("en", "ja", "fr")
    reports = check_slices(dict(zip(names, zip(made, windows, strict=True), strict=True)), rng=rng, resamples=200)
    assert {name: r.drifted for name, r in reports.items()} == {"en": False, "ja": True}
    assert reports["en"].level == pytest.approx(0.025)


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_that_of_an_independent_implementation(seed):
    p = np.random.default_rng(seed).random(seed * 2 + 1) ** 3
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
