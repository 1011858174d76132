"""The served classification head: one ONNX graph, with the weights as its inputs.

The graph computes ``softmax((features(embedding) @ weights + bias) / temperature)``. Only the feature map (the
identity, or random features followed by the embedding itself; before them, for a head trained on few labels, what the
nearest texts of its pool say) is fixed in it, so a label that changes the weights needs neither an export nor a new
session: `OnnxHead.with_weights` gives a sibling that shares the session.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from serving.artifacts import Bundle, CorruptBundle

GRAPH, WEIGHTS, BIAS = "head.onnx", "weights.npy", "bias.npy"
FEATURES_KEY = "enso.features"  # metadata of the graph: how many feature columns the weights must have
VECTORS = "neighbours"  # in a manifest's preprocessing: how many texts' vectors the graph holds
NEIGHBOURS_KEY = "enso.neighbours"  # and how many of them, the first, are scores of neighbours
BLOCK = 256  # rows a run of a head that looks up neighbours: it holds their cosines to the whole pool
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class HeadDelta:
    """Weights that replace those of a base version, nothing else: no graph, no thresholds.

    Each delta is whole: the one with the highest ``number`` of a base (its manifest hash) is what that base serves,
    whichever were seen before it.
    """

    base: str
    number: int
    categories: tuple[str, ...]
    weights: Floats
    bias: Floats
    temperature: float

    def to_bytes(self) -> bytes:
        """One line of JSON with the checksum of the rest, then weights and bias as little-endian float32."""
        parts = [
            np.ascontiguousarray(part, dtype="<f4").reshape(-1).view(np.uint8).data
            for part in (self.weights, self.bias)
        ]
        head = {
            "base": self.base,
            "number": self.number,
            "categories": list(self.categories),
            "features": len(self.weights),
            "temperature": self.temperature,
            "crc32": zlib.crc32(parts[1], zlib.crc32(parts[0])),
        }
        return b"".join([json.dumps(head, sort_keys=True, ensure_ascii=False).encode(), b"\n", *parts])

    @classmethod
    def from_bytes(cls, data: bytes) -> HeadDelta:
        """Raises CorruptBundle where a byte is missing or changed."""
        try:
            end = data.find(b"\n")
            head, body = json.loads(data[:end] if end >= 0 else data), memoryview(data)[end + 1 :]
            if zlib.crc32(body) != head["crc32"]:
                raise CorruptBundle("The delta was cut off or changed: its weights do not have the checksum it states.")
            table = np.frombuffer(body, dtype="<f4").reshape(head["features"] + 1, len(head["categories"]))
            names = tuple(map(str, head["categories"]))
            return cls(str(head["base"]), int(head["number"]), names, table[:-1], table[-1], float(head["temperature"]))
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptBundle(f"The delta cannot be read: {error}.") from error


class OnnxHead:
    """Class probabilities from embeddings. Safe to call from several threads; immutable."""

    def __init__(
        self,
        session: ort.InferenceSession,
        *,
        weights: npt.ArrayLike,
        bias: npt.ArrayLike,
        temperature: float,
        categories: Sequence[str],
    ) -> None:
        """``weights`` [features, C], ``bias`` [C]; raises ValueError where shapes, values or categories do not fit."""
        self._session = session
        self.categories = tuple(categories)
        self.dimension = int(session.get_inputs()[0].shape[1])
        told = session.get_modelmeta().custom_metadata_map
        self.features = int(told[FEATURES_KEY])
        self.neighbours = int(told.get(NEIGHBOURS_KEY, 0))
        self.weights, self.bias = _frozen(weights), _frozen(bias)
        self.temperature = float(temperature)
        self._temperature = _frozen(temperature)
        self._check()

    @classmethod
    def load(cls, bundle: Bundle) -> OnnxHead:
        """Open the head of a verified bundle. Raises CorruptBundle where its parts do not fit together."""
        try:
            return cls.from_graph(
                bundle.read(GRAPH),
                weights=np.load(io.BytesIO(bundle.read(WEIGHTS)), allow_pickle=False),
                bias=np.load(io.BytesIO(bundle.read(BIAS)), allow_pickle=False),
                temperature=float(bundle.manifest["temperature"]),
                categories=bundle.categories,
            )
        except KeyError as error:
            raise CorruptBundle(f"The head in {bundle.path} lacks {error}.") from error
        except (ValueError, TypeError) as error:
            raise CorruptBundle(f"The head in {bundle.path} cannot be served: {error}.") from error

    @classmethod
    def from_graph(
        cls, graph: bytes, *, weights: npt.ArrayLike, bias: npt.ArrayLike, temperature: float, categories: Sequence[str]
    ) -> OnnxHead:
        """Open ``graph`` (serialised ONNX). Raises ValueError where it is no head graph."""
        return cls(_session(graph), weights=weights, bias=bias, temperature=temperature, categories=categories)

    def with_weights(
        self,
        weights: npt.ArrayLike,
        bias: npt.ArrayLike,
        temperature: float | None = None,
        categories: Sequence[str] | None = None,
    ) -> OnnxHead:
        """The same features with other weights (and, after a taxonomy change, other categories)."""
        return OnnxHead(
            self._session,
            weights=weights,
            bias=bias,
            temperature=self.temperature if temperature is None else temperature,
            categories=self.categories if categories is None else categories,
        )

    def with_delta(self, delta: HeadDelta) -> OnnxHead:
        """The same features with the weights of a delta. Raises ValueError where they do not fit."""
        return self.with_weights(delta.weights, delta.bias, delta.temperature, delta.categories)

    def predict(self, x: npt.ArrayLike) -> Floats:
        """Probabilities [n, C] float32 of the embeddings ``x`` [n, d]. Raises ValueError for another width."""
        return self._run("probabilities", x, len(self.categories))

    def neighbour_scores(self, x: npt.ArrayLike) -> Floats:
        """What neighbours say of the embeddings ``x`` [n, d]: the first ``neighbours`` feature columns, [n, 0] for most heads."""
        if not self.neighbours:
            return np.zeros((len(np.asarray(x)), 0), dtype=np.float32)
        return self._run("neighbours", x, self.neighbours)

    def _run(self, output: str, x: npt.ArrayLike, width: int) -> Floats:
        embedding = np.ascontiguousarray(x, dtype=np.float32)
        if embedding.ndim != 2 or embedding.shape[1] != self.dimension:
            raise ValueError(f"embeddings must be [n, {self.dimension}], not {list(embedding.shape)}")
        if not len(embedding):
            return np.zeros((0, width), dtype=np.float32)
        inputs = {"weights": self.weights, "bias": self.bias, "temperature": self._temperature}
        if not self.neighbours or len(embedding) <= BLOCK:
            return np.asarray(self._session.run([output], {"embedding": embedding, **inputs})[0])
        blocks = (embedding[at : at + BLOCK] for at in range(0, len(embedding), BLOCK))
        return np.concatenate([self._session.run([output], {"embedding": block, **inputs})[0] for block in blocks])

    def _check(self) -> None:
        count = len(self.categories)
        if not count:
            raise ValueError("a head needs at least one category")
        if self.weights.shape != (self.features, count) or self.bias.shape != (count,):
            found = f"weights {list(self.weights.shape)} and bias {list(self.bias.shape)}"
            raise ValueError(f"{found} do not fit {self.features} features and {count} categories")
        if not (np.isfinite(self.weights).all() and np.isfinite(self.bias).all()):
            raise ValueError("the weights hold values that are not finite")
        if not (np.isfinite(self.temperature) and self._temperature > 0):
            raise ValueError(f"the temperature must be positive and finite, not {self.temperature}")


def npy_bytes(array: npt.ArrayLike) -> bytes:
    """The array as float32 in NumPy's file format: the same array always gives the same bytes."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array, dtype=np.float32), allow_pickle=False)
    return buffer.getvalue()


def _frozen(values: npt.ArrayLike) -> Floats:
    array = np.array(values, dtype=np.float32, order="C")
    array.flags.writeable = False
    return array


def _session(graph: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    # The head is far smaller than a thread hand-over; web threads bring the parallelism.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions share no base class
        raise ValueError(f"onnxruntime refuses the graph ({error})") from error
    inputs = [i.name for i in session.get_inputs()]
    if inputs != ["embedding", "weights", "bias", "temperature"] or not isinstance(
        session.get_inputs()[0].shape[1], int
    ):
        raise ValueError(f"this is no head graph: its inputs are {inputs}")
    if not session.get_modelmeta().custom_metadata_map.get(FEATURES_KEY, "").isdigit():
        raise ValueError("this is no head graph: it does not say how many features it has")
    return session
