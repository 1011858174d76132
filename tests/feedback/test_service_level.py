from __future__ import annotations

import doctest

import pytest

from feedback import service_level as slo


def test_the_worked_examples_hold():
    assert doctest.testmod(slo).failed == 0


@pytest.mark.parametrize(
    ("window", "spent"), list(zip(slo.WINDOWS, (0.02, 0.05, 0.10, 0.10), strict=True)), ids=lambda v: str(v)[:30]
)
def test_each_factor_spends_the_share_of_the_budget_that_it_stands_for(window, spent):
    assert slo.factor_of(slo.AVAILABILITY, spent=spent, minutes=window.long_minutes) == pytest.approx(window.factor)
    assert window.long_minutes / window.short_minutes == 12


def test_an_alert_needs_both_windows_so_that_it_ends_when_the_trouble_does():
    hour = slo.WINDOWS[0]
    broken, mended = (20.0, 1000.0), (0.0, 1000.0)
    assert slo.firing(slo.AVAILABILITY, hour, long=broken, short=broken)
    assert not slo.firing(slo.AVAILABILITY, hour, long=broken, short=mended)
    assert not slo.firing(slo.AVAILABILITY, hour, long=mended, short=broken)


def test_without_requests_nothing_burns():
    assert slo.burn_rate(slo.AVAILABILITY, bad=0, total=0) == 0
    assert slo.budget_left(slo.AVAILABILITY, bad=0, total=0) == 1
