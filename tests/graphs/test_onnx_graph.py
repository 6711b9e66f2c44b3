"""Reading ONNX files: what is refused, and what is understood of the rest."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from dlconv.errors import FormatError
from dlconv.graphs import onnx_graph

pytestmark = pytest.mark.onnx

HOSTILE = runpy.run_path(str(Path(__file__).parents[1] / "hostile" / "onnx_files.py"))


def _read_and_check(path: Path) -> None:
    onnx_graph.read_model(path)
    onnx_graph.check(path)


@pytest.mark.parametrize("name", sorted(HOSTILE["REFUSED"]))
def test_a_hostile_file_is_one_clear_error(name: str, tmp_path: Path) -> None:
    path = HOSTILE["REFUSED"][name](tmp_path)
    with pytest.raises(FormatError) as caught:
        _read_and_check(path)
    assert caught.value.met
    assert caught.value.wanted
    assert caught.value.mend
    assert "\n" not in caught.value.met


@pytest.mark.parametrize("name", ["external_above", "external_absolute", "external_link", "external_in_a_constant"])
def test_external_data_is_refused_before_anything_loads_it(name: str, tmp_path: Path) -> None:
    path = HOSTILE["REFUSED"][name](tmp_path)
    with pytest.raises(FormatError, match="external data cannot be used"):
        onnx_graph.read_model(path)


def test_valid_models_are_not_accused(tmp_path: Path) -> None:
    for name in ("layer_normalization", "strings", "nested_ifs", "endless_loop"):
        folder = tmp_path / name
        folder.mkdir()
        _read_and_check(HOSTILE["DEADLY"][name](folder))


def test_external_data_below_the_model_is_taken(tmp_path: Path) -> None:
    import onnx

    path = HOSTILE["_save"](
        tmp_path,
        [HOSTILE["_node"]("MatMul", ["x", "w"], ["y"])],
        [HOSTILE["_value"]("x")],
        [HOSTILE["_value"]("y", [1, 100])],
        [HOSTILE["_stored"]("w", np.ones((4, 100), np.float32))],
    )
    model = onnx.load(path)
    (tmp_path / "weights").mkdir()
    onnx.save_model(model, path, save_as_external_data=True, location="weights/all.bin", size_threshold=0)
    _read_and_check(path)
    assert [tensor.name for tensor in onnx_graph.external_tensors(onnx_graph.read_model(path))] == ["w"]


def test_stale_inner_shapes_are_forgiven_and_told(tmp_path: Path) -> None:
    import onnx
    from onnx import helper

    value, node = HOSTILE["_value"], HOSTILE["_node"]
    path = HOSTILE["_save"](
        tmp_path, [node("Relu", ["x"], ["r"]), node("Neg", ["r"], ["y"])], [value("x")], [value("y")]
    )
    model = onnx.load(path)
    model.graph.value_info.append(helper.make_tensor_value_info("r", 1, [7, 7, 7]))
    onnx.save(model, path)
    with pytest.raises(onnx.shape_inference.InferenceError):
        onnx.checker.check_model(str(path), full_check=True)
    assert onnx_graph.check(path) == (onnx_graph.STALE_SHAPES,)


def test_initializers_among_the_inputs_are_no_inputs(tmp_path: Path) -> None:
    value, node = HOSTILE["_value"], HOSTILE["_node"]
    weights = [HOSTILE["_stored"]("w", np.ones((4, 4), np.float32))]
    nodes, inputs = [node("MatMul", ["x", "w"], ["y"])], [value("w", [4, 4]), value("x")]
    path = HOSTILE["_save"](tmp_path, nodes, inputs, [value("y")], weights)
    assert [spec.name for spec in onnx_graph.signature_of(onnx_graph.read_model(path)).inputs] == ["x"]


def test_free_dimensions_have_names_of_their_own(tmp_path: Path) -> None:
    value, node = HOSTILE["_value"], HOSTILE["_node"]
    shapes = {"x": [None, "dim_0", 3], "z": [None, -1, 3]}
    inputs = [value(name, shape) for name, shape in shapes.items()]
    path = HOSTILE["_save"](tmp_path, [node("Add", ["x", "z"], ["y"])], inputs, [value("y", ["A", "B", 3])])
    signature = onnx_graph.signature_of(onnx_graph.read_model(path))
    assert [spec.shape for spec in signature.inputs] == [("dim_1", "dim_0", 3), ("dim_2", "dim_3", 3)]
    assert signature.outputs[0].shape == ("A", "B", 3)


def test_shapes_stored_outside_of_the_file_are_brought_in(tmp_path: Path) -> None:
    import onnx

    value, node = HOSTILE["_value"], HOSTILE["_node"]
    weights = [HOSTILE["_stored"]("shape", np.array([2, 2], np.int64))]
    nodes, outputs = [node("Reshape", ["x", "shape"], ["y"])], [value("y", [2, 2])]
    path = HOSTILE["_save"](tmp_path, nodes, [value("x")], outputs, weights)
    onnx.save_model(onnx.load(path), path, save_as_external_data=True, location="all.bin", size_threshold=0)
    with pytest.raises(onnx.shape_inference.InferenceError):
        onnx.checker.check_model(str(path), full_check=True)
    assert onnx_graph.check(path) == (onnx_graph.SMALL_OUTSIDE,)
    assert not onnx_graph.locations_of(onnx_graph.read_model(path))
