"""How much memory a plan will need, known from the ONNX model and the largest sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dlconv.convert.tensorrt_memory import Estimate, estimated, require_room
from dlconv.errors import MachineError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.onnx
GIB = 1 << 30


def saved(path: Path, nodes: list[Any], batch: int | str, out: list[Any], weights: dict[str, Any], **how: Any) -> Path:
    import onnx
    from onnx import helper, numpy_helper

    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node(kind, ins, outs) for kind, ins, outs in nodes],
        "planted",
        [info("x", 1, [batch, 256])],
        [info("y", 1, out)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path, **how)
    return path


NODES = [("MatMul", ["x", "w"], ["m"]), ("Relu", ["m"], ["r"]), ("Add", ["r", "b"], ["y"])]
WEIGHTS = {"w": np.ones((256, 1024), np.float32), "b": np.ones(1024, np.float32)}


@pytest.mark.parametrize("outside", [False, True])
def test_weights_and_tensors_are_counted_at_the_largest_sizes(tmp_path: Path, outside: bool) -> None:
    how = {"save_as_external_data": True, "location": "m.data", "size_threshold": 1024} if outside else {}
    path = saved(tmp_path / "m.onnx", NODES, "N", ["N", 1024], WEIGHTS, **how)
    profiles = [{"x": [[1, 256], [2, 256], [8, 256]]}, {"x": [[1, 256], [32, 256], [32, 256]]}]
    tensor = 32 * 1024 * 4
    assert estimated(path, profiles, "fp32") == Estimate((256 * 1024 + 1024) * 4, 2 * tensor, 0)
    assert estimated(path, profiles, "fp16").weights_bytes == (256 * 1024 + 1024) * 2
    assert estimated(path, profiles[:1], "fp32").tensors_bytes == 2 * 8 * 1024 * 4
    assert estimated(path, (), "fp32").unknown == 3  # nobody told the range


def test_a_tensor_is_alive_until_the_last_node_that_reads_it(tmp_path: Path) -> None:
    chain = [("Relu", ["x"], ["a"]), ("Relu", ["a"], ["b"]), ("Relu", ["b"], ["c"])]
    size = 4 * 256 * 4
    for last, alive in (("c", 2), ("a", 3)):
        nodes = [*chain, ("Add", ["c", last], ["y"])]
        path = saved(tmp_path / "m.onnx", nodes, 4, [4, 256], {})
        assert estimated(path, (), "fp32") == Estimate(0, alive * size, 0)


def test_what_depends_on_the_data_is_told_as_not_counted(tmp_path: Path) -> None:
    nodes = [("NonZero", ["x"], ["n"]), ("Cast", ["n"], ["y"])]
    path = saved(tmp_path / "m.onnx", nodes[:1], 4, [2, "K"], {})
    found = estimated(path, (), "fp32")
    assert found.unknown == 1 and found.tensors_bytes == 4 * 256 * 4
    assert "tensors at least" in require_room(found, GIB, GIB, is_streamed=False)


def test_weights_that_do_not_fit_are_refused_unless_they_are_streamed() -> None:
    large = Estimate(30 * GIB, GIB, 0)
    with pytest.raises(MachineError) as refused:
        require_room(large, 20 * GIB, 24 * GIB, is_streamed=False)
    assert "weights are 30.0 GiB, and 20.0 of the 24.0 GiB" in refused.value.met
    assert "--trt weight-streaming=on" in refused.value.mend
    assert not require_room(large, 20 * GIB, 24 * GIB, is_streamed=True).endswith("may not be enough")
    close = Estimate(19 * GIB, 2 * GIB, 0)
    assert require_room(close, 20 * GIB, 24 * GIB, is_streamed=False).endswith("may not be enough")
    assert not require_room(close, 22 * GIB, 24 * GIB, is_streamed=False).endswith("may not be enough")
