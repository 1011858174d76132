"""Sentiment S in [−1, 1] from contrasting anchor sentences: the axis between two means in embedding space. Pure.

A cold start that needs no labels: S = tanh((x·a − c)/h), with a the difference of the means of positive and negative
anchors, c the mean of plain questions on that axis (most inquiries are neither) and h half the distance between the
anchors' means. It knows the tone of whole sentences; irony and mixed feelings it does not handle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.encoder import Encoder

ANCHORS: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "positive": (
            "Thank you so much, that was wonderful help.",
            "I am really happy with this service.",
            "Great, everything works perfectly now.",
            "Excellent support, quick and friendly.",
            "I love it, well done.",
            "A delightful and beautiful experience.",
        ),
        "negative": (
            "This is outrageous, I am furious with you.",
            "Your service is terrible and I am fed up.",
            "I am really angry, nobody helps me.",
            "Worst company ever, this is a disgrace.",
            "I hate this, it is awful and useless.",
            "A dull, miserable waste of time and money.",
        ),
        "neutral": (
            "How do I change my address?",
            "Where can I find my invoice?",
            "I would like to know when my order arrives.",
            "Can I use the card abroad?",
            "My payment has not gone through yet.",
            "Please tell me how to reset the password.",
        ),
    },
    "ja": {
        "positive": (
            "とても助かりました。ありがとうございます。",
            "対応が早くて親切で、大変満足しています。",
            "素晴らしいサービスで、とても気に入りました。",
            "きれいで快適でした。また利用したいです。",
            "問題なく使えて、本当に嬉しいです。",
            "おいしくて最高でした。",
        ),
        "negative": (
            "ひどい対応で、とても怒っています。",
            "最悪です。二度と利用しません。",
            "何度も連絡したのに無視されて、腹が立ちます。",
            "汚くて不快で、本当にがっかりしました。",
            "使えない商品で、お金の無駄でした。",
            "いい加減にしてください。もう我慢できません。",
        ),
        "neutral": (
            "住所を変更したいのですが、どうすればよいですか。",
            "請求書はどこで確認できますか。",
            "注文した商品はいつ届きますか。",
            "カードは海外でも使えますか。",
            "支払いがまだ完了していないようです。",
            "パスワードの再設定方法を教えてください。",
        ),
    },
}


@dataclass(frozen=True)
class AnchorSentiment:
    """Axis [d], centre and half width, in the space of one encoder."""

    axis: NDArray[np.float32]
    centre: float
    half: float

    @classmethod
    def of(cls, encoder: Encoder, language: str) -> AnchorSentiment:
        """Fit on the anchors of `language` (English where there are none)."""
        anchors = ANCHORS.get(language, ANCHORS["en"])
        positive, negative, neutral = (encoder.encode(anchors[k]) for k in ("positive", "negative", "neutral"))
        axis = positive.mean(axis=0) - negative.mean(axis=0)
        half = float((positive @ axis).mean() - (negative @ axis).mean()) / 2
        return cls(axis, float((neutral @ axis).mean()), max(half, 1e-6))

    def score(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """[n, d] unit embeddings → [n] in [−1, 1]."""
        tone: NDArray[np.float32] = np.tanh((x @ self.axis - self.centre) / self.half).astype(np.float32)
        return tone
