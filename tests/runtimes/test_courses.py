"""Courses: the tensors of a model shown stop by stop are those of a whole run, and no more are held than needed."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlconv.errors import RequestError, Unsupported
from dlconv.runtimes import onnx_courses, onnx_outputs
from dlconv.runtimes.onnx_windows import OnnxWindows

pytestmark = pytest.mark.onnx

_HOSTILE = runpy.run_path(str(Path(__file__).parents[1] / "hostile" / "onnx_files.py"))
_value, _node, _stored, _save = (_HOSTILE[name] for name in ("_value", "_node", "_stored", "_save"))
encoder = runpy.run_path(str(Path(__file__).parents[1] / "diffing" / "diff_models.py"))["encoder"]
X = np.random.default_rng(0).standard_normal((1, 4)).astype(np.float32)


def whole(path: Path, names: list[str], inputs: dict[str, Any]) -> list[Any]:
    """The tensors in one run of the model with all of them as outputs."""
    import onnx
    import onnxruntime

    model = onnx.load(path)
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(names, inputs))


def shown(course: Any, samples: list[dict[str, Any]], stops: list[list[str]]) -> list[dict[str, Any]]:
    """Of each sample all tensors that the stops show."""
    course.begin(samples, stops)
    found: list[dict[str, Any]] = [{} for _ in samples]
    for stop in stops:
        for all_of_it, part in zip(found, course.next(), strict=True):
            assert list(part) == stop
            all_of_it |= part
    return found


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("arithmetic", ["onnxruntime", "float64"])
def test_stops_show_what_a_whole_run_has(arithmetic: str, size: int, tmp_path: Path) -> None:
    path = encoder(tmp_path, 7).path
    told = onnx_outputs.outline(str(path))
    names = [name for each in told["operators"] for name in each["outputs"]]
    stops = [names[at : at + size] for at in range(0, len(names), size)]
    width = _width(path)
    samples = [{"x": np.random.default_rng(n).standard_normal((4, width)).astype(np.float32)} for n in range(2)]
    course = onnx_courses.open(str(path), arithmetic)
    for sample, found in zip(samples, shown(course, samples, stops), strict=True):
        for name, right in zip(names, whole(path, names, sample), strict=True):
            if arithmetic == "onnxruntime":
                assert np.array_equal(found[name], right)
            else:
                assert found[name].dtype == np.float64 and np.allclose(found[name], right, atol=1e-4)
    assert course.held() <= size + 4


def _width(path: Path) -> int:
    import onnx

    return int(onnx.load(path).graph.input[0].type.tensor_type.shape.dim[1].dim_value)


def branching(folder: Path) -> Path:
    """A condition whose branches read a tensor from outside and a weight."""
    from onnx import helper

    then = helper.make_graph([_node("Mul", ["a", "w"], ["t"])], "then", [], [_value("t")])
    other = helper.make_graph([_node("Neg", ["a"], ["e"])], "else", [], [_value("e")])
    nodes = [
        _node("Relu", ["x"], ["a"]),
        _node("ReduceSum", ["x"], ["s"], keepdims=0),
        _node("Greater", ["s", "zero"], ["c"]),
        helper.make_node("If", ["c"], ["y"], "if", then_branch=then, else_branch=other),
        _node("Add", ["y", "a"], ["z"]),
    ]
    weights = [_stored("w", np.full((1, 4), 3, np.float32)), _stored("zero", np.float32(0))]
    return Path(_save(folder, nodes, [_value("x")], [_value("z")], weights))


@pytest.mark.parametrize("size", [1, 2, 5])
def test_what_a_branch_reads_from_outside_is_kept_for_it(size: int, tmp_path: Path) -> None:
    path = branching(tmp_path)
    names = ["a", "s", "c", "y", "z"]
    stops = [names[at : at + size] for at in range(0, 5, size)]
    samples = [{"x": np.abs(X)}, {"x": -np.abs(X)}]  # one a branch
    for sample, found in zip(samples, shown(OnnxWindows(path), samples, stops), strict=True):
        for name, right in zip(names, whole(path, names, sample), strict=True):
            assert np.array_equal(found[name], right)
    told = onnx_outputs.outline(str(path))
    assert told["operators"][3]["inputs"] == ["c", "a"] and told["precision"] == "float32"


def test_what_no_stop_asks_for_is_not_run(tmp_path: Path) -> None:
    nodes = [_node("Relu", ["x"], ["a"]), _node("Reshape", ["a", "bad"], ["b"]), _node("Neg", ["a"], ["y"])]
    path = _save(tmp_path, nodes, [_value("x")], [_value("y"), _value("b", [7])], [_stored("bad", np.array([7]))])
    (found,) = shown(OnnxWindows(path), [{"x": X}], [["a"], ["y"]])
    assert np.array_equal(found["y"], -np.maximum(X, 0))


def test_an_emulated_course_is_rounded_and_a_random_model_is_refused(tmp_path: Path) -> None:
    path = _save(
        tmp_path, [_node("Mul", ["x", "w"], ["a"]), _node("Neg", ["a"], ["y"])], [_value("x")], [_value("y")],
        [_stored("w", np.full((1, 4), 1 + 2.0**-12, np.float32))],
    )  # fmt: skip
    (found,) = shown(onnx_courses.open(str(path), "float16"), [{"x": X}], [["a"], ["y"]])
    assert np.array_equal(found["a"], X.astype(np.float16).astype(np.float32))
    random = _save(tmp_path, [_node("RandomNormalLike", ["x"], ["y"])], [_value("x")], [_value("y")])
    with pytest.raises(Unsupported, match="random"):
        onnx_courses.open(str(random), "onnxruntime")


def test_a_part_has_just_the_weights_it_uses_and_says_what_it_lacks(tmp_path: Path) -> None:
    import onnx

    path = encoder(tmp_path, 1).path
    width = _width(path)
    taken = onnx_outputs.cut(
        str(path), str(tmp_path / "part.onnx"), {"n0": ["float32", 4, width]}, {"a0.0": ["float32", 4, 2 * width]}
    )
    part = onnx.load(tmp_path / "part.onnx")
    onnx.checker.check_model(part, full_check=True)
    assert taken == ["n0"] and [node.op_type for node in part.graph.node] == ["MatMul", "Add"]
    assert {tensor.name for tensor in part.graph.initializer} == {"w0.0", "b0.0"}
    with pytest.raises(RequestError, match="needs x"):
        onnx_outputs.cut(str(path), str(tmp_path / "none.onnx"), {}, {"a0.0": ["float32", 4, 2 * width]})


def test_weights_in_another_file_are_brought_into_a_part(tmp_path: Path) -> None:
    import onnx

    path = encoder(tmp_path, 2).path
    model = onnx.load(path)
    (tmp_path / "large").mkdir()
    large = tmp_path / "large" / "model.onnx"
    onnx.save_model(model, str(large), save_as_external_data=True, location="w.bin", size_threshold=0)
    names = [name for node in model.graph.node for name in node.output]
    sample = {"x": np.ones((4, _width(path)), np.float32)}
    stops = [names[:4], names[4:]]
    (one,), (other,) = shown(OnnxWindows(large), [sample], stops), shown(OnnxWindows(path), [sample], stops)
    assert all(np.array_equal(one[name], other[name]) for name in names)
