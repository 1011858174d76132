"""Text encoders: texts in, unit vectors out, on onnxruntime, tokenizers and numpy alone."""

from serving.encoder.catalogue import (
    DEFAULT_ENGLISH,
    NGRAM,
    default_encoder_for,
    encoder_directory,
    enso_home,
    load_encoder,
)
from serving.encoder.language import language_of
from serving.encoder.manifest import EncoderError
from serving.encoder.ngram import NgramEncoder
from serving.encoder.protocol import Embeddings, Encoder
from serving.encoder.static import StaticEncoder
from serving.encoder.transformer import OnnxEncoder

__all__ = [
    "DEFAULT_ENGLISH",
    "NGRAM",
    "Embeddings",
    "Encoder",
    "EncoderError",
    "NgramEncoder",
    "OnnxEncoder",
    "StaticEncoder",
    "default_encoder_for",
    "encoder_directory",
    "enso_home",
    "language_of",
    "load_encoder",
]
