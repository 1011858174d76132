"""Whether products of bytes are exact is read from what the kernel says of the processor, and is true of it."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from serving.encoder.cpu import has_dot_products
from serving.encoder.transformer import session_options


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fpu avx2 avx512_vnni", True), ("fpu avx2 avx_vnni", True), ("fpu avx2 avx512f", False), ("", False)],
)
def test_the_flags_of_the_first_processor_tell(tmp_path, flags, expected):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t: avx512_vnni\n")
    assert has_dot_products(tmp_path / "cpuinfo") is expected


def test_where_nobody_can_tell_the_exact_instructions_are_taken(tmp_path):
    assert has_dot_products(tmp_path / "absent") is False


def test_products_of_the_largest_bytes_do_not_saturate_under_the_options_that_are_chosen():
    """255 · 127 twice is more than 16 bits hold: what the fast instructions without VNNI cut off."""
    weights = np.full((64, 64), 127, np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w"], ["y"])],
        "products",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["n", 64])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, ["n", 64])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), session_options(1), providers=["CPUExecutionProvider"])
    x = np.full((3, 64), 255, np.uint8)
    assert (session.run(None, {"x": x})[0] == x.astype(np.int32) @ weights.astype(np.int32)).all()
