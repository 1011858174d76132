"""Text encoders: texts in, unit vectors out, on onnxruntime, tokenizers and numpy alone."""

from serving.encoder.catalogue import DEFAULT_ENGLISH, encoder_directory, enso_home, load_encoder
from serving.encoder.manifest import EncoderError
from serving.encoder.protocol import Embeddings, Encoder
from serving.encoder.transformer import OnnxEncoder

__all__ = [
    "DEFAULT_ENGLISH",
    "Embeddings",
    "Encoder",
    "EncoderError",
    "OnnxEncoder",
    "encoder_directory",
    "enso_home",
    "load_encoder",
]
