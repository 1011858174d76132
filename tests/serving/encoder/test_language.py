from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.encoder import default_encoder_for, language_of


@pytest.mark.parametrize(
    ("text", "locale", "language"),
    [
        ("Where is my parcel?", "", "en"),
        ("Where is my parcel?", "ja", "en"),
        ("Wo ist mein Paket?", "de-DE", "de"),
        ("Où est mon colis ?", "fr_FR", "fr"),
        ("荷物が届きません", "", "ja"),
        ("荷物が届きません", "en", "ja"),
        ("ｶﾆｶﾞ ﾄﾄﾞｶﾅｲ", "", "ja"),
        ("返金希望", "", "ja"),
        ("退款", "zh-CN", "zh"),
        ("환불해 주세요", "", "ko"),
        ("주문 취소 取消", "", "ko"),
        ("ThinkPad X1 Carbon Gen 9が壊れた", "", "ja"),
        ("iPhone 15 Pro Max 256GB Titanium ケース", "ja", "ja"),
        ("My order of 抹茶 tea has not arrived", "", "en"),
        ("", "", "en"),
        ("4711", "ja", "en"),
        ("👍", "", "en"),
    ],
)
def test_the_language_follows_script_then_locale(text, locale, language):
    assert language_of(text, locale) == language


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Where is my parcel?", "all-MiniLM-L6-v2-int8"),
        ("Où est mon colis ?", "all-MiniLM-L6-v2-int8"),
        ("荷物が届きません", "ngram"),
        ("退款", "ngram"),
        ("환불해 주세요", "ngram"),
        ("Где мой заказ?", "ngram"),
        ("Πού είναι το δέμα μου;", "ngram"),
        ("👍 4711", "all-MiniLM-L6-v2-int8"),
    ],
)
def test_scripts_that_minilm_was_not_trained_on_take_the_ngram_encoder(text, name):
    assert default_encoder_for(text) == name


@given(text=st.text(), locale=st.sampled_from(["", "en", "ja", "zh-TW", "de", "x"]))
def test_every_text_has_a_language_and_an_encoder(text, locale):
    assert language_of(text, locale)
    assert default_encoder_for(text, locale) in {"ngram", "all-MiniLM-L6-v2-int8"}
