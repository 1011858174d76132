"""Reads customers' comments: with the head that a project's own ratings taught, or with the anchors' before there is one.

The version in production is looked up for each comment, so that a promotion or a rollback counts from the next comment on,
in every process. A bundle that does not verify is refused and said in the log; the version that this process read with
before it goes on, else the anchors.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.anchors import opinions
from serving.artifacts import Bundle, CorruptBundle, load_bundle
from serving.encoder import Encoder, EncoderError, OnnxEncoder
from serving.encoder.manifest import MANIFEST as ENCODER
from serving.head import OnnxHead
from serving.registry import bundle_path
from serving.sentiment import ToneHead, from_anchors, sentiment
from serving.sentiment_models import SentimentStage, SentimentVersion
from serving.served import served

log = logging.getLogger(__name__)
ANCHORS = "anchors"


@dataclass(frozen=True)
class Reader:
    """A head, the encoder whose vectors it reads, and the version that it is (None: the anchors).

    ``variant`` is the encoder that reads this language elsewhere in the project; a fine-tuned version has one of its own.
    """

    encoder: Encoder
    head: OnnxHead | ToneHead
    variant: str
    version_id: int | None = None
    name: str = ANCHORS

    def read(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """S [n] of the texts."""
        return sentiment(self.head.predict(self.encoder.encode(texts)))


class Readers:
    """The readers of this process; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._anchored: dict[tuple[str, str], Reader] = {}
        self._learned: dict[tuple[int, str], Reader] = {}

    def anchored(self, encoder: Encoder, language: str) -> Reader:
        """The reader before any feedback."""
        with self._lock:
            key = (encoder.sha256, language)
            if key not in self._anchored:
                self._anchored[key] = Reader(encoder, from_anchors(encoder, opinions(language)), encoder.sha256)
            return self._anchored[key]

    def reader_of(self, project_id: int, text: str, locale: str = "") -> Reader:
        """The reader that serves this text now."""
        encoder, language = served.encoder_for(text, locale)
        production = SentimentVersion.objects.filter(project_id=project_id, stage=SentimentStage.PRODUCTION)
        version = production.filter(encoder_sha=encoder.sha256).first()
        return self.anchored(encoder, language) if version is None else self._of(version, encoder, language)

    def forget(self) -> None:
        """Start anew (tests)."""
        with self._lock:
            self._learned.clear()

    def _of(self, version: SentimentVersion, encoder: Encoder, language: str) -> Reader:
        place = (version.project_id, encoder.sha256)
        with self._lock:
            known = self._learned.get(place)
            if known is not None and known.version_id == version.pk:
                return known
            try:
                self._learned[place] = open_version(version, encoder)
            except CorruptBundle as error:
                log.error("%s is refused, what read before goes on: %s", version, error)
                return known or self.anchored(encoder, language)
            return self._learned[place]


def open_version(version: SentimentVersion, encoder: Encoder) -> Reader:
    """The reader in a version's verified bundle; raises CorruptBundle."""
    bundle = load_bundle(bundle_path(version.manifest_sha), version.manifest_sha)
    return Reader(
        _own_encoder(bundle) or encoder, OnnxHead.load(bundle), encoder.sha256, version.pk, f"s{version.number}"
    )


def _own_encoder(bundle: Bundle) -> Encoder | None:
    """A fine-tuned version brings the encoder that it was tuned with."""
    if ENCODER not in bundle.manifest["files"]:
        return None
    try:
        return OnnxEncoder.load(bundle.path)
    except EncoderError as error:
        raise CorruptBundle(str(error)) from error


readers = Readers()
