"""What sentiment knows before any feedback. The texts here are not among the anchors."""

from __future__ import annotations

import numpy as np
import pytest
from django.conf import settings
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.linear_model import Ridge

from serving import sentiment
from serving.anchors import NEGATIVE, NEUTRAL, POSITIVE, inquiries, opinions
from serving.sentiment import ToneHead, fit_anchors, from_anchors
from serving.served import served

LIKED = {
    "en": ["The waiter was attentive and the soup was superb.", "A heartfelt and beautifully written novel.", "Works like a dream."],
    "ja": ["対応がとても丁寧で気持ちよかったです。", "景色が素晴らしく、また泊まりたいです。", "使いやすくて大満足です。"],
}  # fmt: skip
DISLIKED = {
    "en": ["The waiter was surly and the soup was cold.", "A plodding novel that I could not finish.", "Broke on the first day."],
    "ja": ["対応がとても雑で嫌な気分になりました。", "部屋が汚くて、二度と泊まりたくないです。", "使いにくくて不満です。"],
}  # fmt: skip
ENRAGED = {
    "en": ["I am absolutely furious about how you handled this.", "You scammers, give me back my money now!"],
    "ja": ["ふざけるな、早く返金しろ！", "何度問い合わせても返事がない。最悪の会社だ。"],
}
PROBLEMS = {
    "en": [
        "My card payment was declined.",
        "The parcel has the wrong address on it.",
        "I cannot open the attachment.",
        "hello",
    ],
    "ja": ["荷物の住所が間違っています。", "添付ファイルが開けません。", "請求の内容を確認したいです。"],
}


@pytest.fixture(scope="module", params=["en", "ja"])
def language(request):
    return request.param


@pytest.fixture(scope="module")
def encoder(language):
    return served.encoder(settings.ENSO_ENCODER if language == "en" else "ngram")


def test_praise_reads_better_than_blame(encoder, language):
    head = from_anchors(encoder, opinions(language))
    assert head.score(encoder.encode(LIKED[language])).min() > 0
    assert head.score(encoder.encode(DISLIKED[language])).max() < 0


def test_an_inquiry_that_states_a_problem_is_not_angry_and_rage_is(encoder, language):
    head = from_anchors(encoder, inquiries(language))
    assert head.score(encoder.encode(PROBLEMS[language])).min() > -0.5
    assert head.score(encoder.encode(ENRAGED[language])).max() < -0.5


def test_most_anchors_are_read_right_by_a_head_that_has_not_seen_them(encoder, language):
    anchors = opinions(language)
    tones, part = np.array(anchors.tones), np.array(anchors.groups) % 2
    x = encoder.encode(anchors.texts)
    head = fit_anchors(x[part == 0], tones[part == 0], np.array(anchors.groups)[part == 0])
    clear = (part == 1) & (tones != NEUTRAL)
    assert ((head.score(x) > 0) == (tones == POSITIVE))[clear].mean() > 0.7


def test_no_anchor_has_two_tones_and_pairs_differ(language):
    for anchors in (opinions(language), inquiries(language)):
        tones = {}
        for text, tone in zip(anchors.texts, anchors.tones, strict=True):
            assert tones.setdefault(text, tone) == tone, text
        assert set(tones.values()) == {NEGATIVE, NEUTRAL, POSITIVE}


def test_a_language_without_anchors_reads_by_the_english_ones():
    assert opinions("fr") == opinions("en")


@pytest.fixture
def world():
    rng = np.random.default_rng(0)
    tones, groups = np.arange(24) % 3, np.arange(24) // 2
    x = rng.normal(0, 1, (24, 5)) + np.eye(5)[tones]
    return x.astype(np.float32), tones.astype(np.int64), groups.astype(np.int64)


@pytest.mark.parametrize("penalty", [0.05, 1.0])
def test_left_out_scores_are_those_of_a_refit_without_the_group(world, penalty):
    x, tones, groups = world
    importance = np.where(tones == 0, 1.5, 0.75)
    importance /= importance.mean()
    rows, targets = x.astype(np.float64), np.eye(3)[tones]
    solver = sentiment._Ridge(rows, targets, importance)
    alpha = penalty * solver._values.mean()
    found = solver.left_out(penalty, groups)
    for group in np.unique(groups):
        out = groups == group
        refit = Ridge(alpha=alpha).fit(rows[~out], targets[~out], sample_weight=importance[~out])
        assert np.abs(found[out] - refit.predict(rows[out])).max() < 1e-8
    weights, bias = solver.solve(penalty)
    whole = Ridge(alpha=alpha).fit(rows, targets, sample_weight=importance)
    assert np.abs(rows @ weights + bias - whole.predict(rows)).max() < 1e-8


def test_anchors_that_lack_a_tone_are_refused(world):
    x, tones, groups = world
    with pytest.raises(ValueError, match="lack a tone"):
        fit_anchors(x[tones > 0], tones[tones > 0], groups[tones > 0])


@given(
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=9, max_size=9),
    st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3),
)
def test_sentiment_stays_between_minus_one_and_one(values, bias):
    head = ToneHead(np.array(values, np.float64).reshape(3, 3), np.array(bias))
    s = head.score(np.eye(3, dtype=np.float32))
    assert np.isfinite(s).all()
    assert np.abs(s).max() <= 1


def test_praise_and_blame_that_are_as_likely_cancel():
    assert sentiment.sentiment(np.array([[0.4, 0.2, 0.4], [0, 1, 0]], np.float32)).tolist() == [0, 0]


@given(
    weights=arrays(np.float64, (4, 3), elements=st.floats(-300, 300)), x=arrays(np.float32, 4, elements=st.floats(-1, 1, width=32))
)  # fmt: skip
def test_one_text_is_read_as_it_is_among_others(weights, x):
    head = ToneHead(weights, np.array([0.5, 0.0, -0.5]))
    assert head.score_one(x) == pytest.approx(float(head.score(x[None, :])[0]), abs=1e-5)
