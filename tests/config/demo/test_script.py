"""What the sample customers say is fixed by the seed, and annotators of another process know what was meant."""

from __future__ import annotations

from itertools import islice

import pytest

from config.demo import script
from config.demo.script import NEW, PACES, Truth
from feedback.masking import mask
from learning.sample.grammar import KEYS

BOTH = PACES["normal"].locales


@pytest.mark.parametrize("source", [script.usual, script.new])
def test_the_same_seed_says_the_same_and_another_something_else(source):
    said = [list(islice(source(seed, BOTH), 40)) for seed in (7, 7, 8)]
    assert said[0] == said[1]
    assert said[0] != said[2]


def test_two_customers_of_three_write_english():
    locales = [s.locale for s in islice(script.usual(7, BOTH), 300)]
    assert (locales.count("en"), locales.count("ja")) == (200, 100)


def test_the_new_problem_is_none_of_the_twelve_categories():
    assert NEW not in KEYS
    assert {s.category for s in islice(script.new(7, BOTH), 50)} == {NEW}
    assert {s.category for s in islice(script.usual(7, BOTH), 300)} == set(KEYS)


def test_annotators_know_the_category_of_every_text_as_it_is_masked():
    truth = Truth(7, BOTH)
    for source in (script.usual, script.new):
        said = list(islice(source(7, BOTH), 320))
        assert [truth.of(mask(s.text).text) for s in said] == [s.category for s in said]


def test_a_text_that_nobody_of_the_story_wrote_is_left_to_people(monkeypatch):
    monkeypatch.setattr(script, "MOST_BLOCKS", 1)
    assert Truth(7, ("en",)).of("A visitor wrote this.") is None
