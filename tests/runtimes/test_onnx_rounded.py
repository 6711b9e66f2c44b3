"""The emulation of a precision: every float tensor is rounded wherever it is, and nothing else is."""

from __future__ import annotations

import json
import runpy
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlconv.convert.onnx_signature import read
from dlconv.errors import RequestError, SamplesError, Unsupported
from dlconv.model import Signature
from dlconv.runtimes import onnx_rounded
from dlconv.runtimes.onnx_rounded import RoundedSession

pytestmark = pytest.mark.onnx

_HOSTILE = runpy.run_path(str(Path(__file__).parents[1] / "hostile" / "onnx_files.py"))
_value, _node, _stored, _save = (_HOSTILE[name] for name in ("_value", "_node", "_stored", "_save"))
_FLOAT, _INT64, _BOOL, _DOUBLE, _HALF = 1, 7, 9, 11, 10
_PRECISIONS = pytest.mark.parametrize("precision", ["bfloat16", "float16"])


def opened(path: Path, precision: str = "float16") -> RoundedSession:
    return onnx_rounded.open(path, Signature.from_dict(read(str(path))["signature"]), {"precision": precision})


def rounded(array: Any, precision: str) -> Any:
    import ml_dtypes

    narrow: Any = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}[precision]
    return np.asarray(array, np.float32).astype(narrow).astype(np.float32)


def digits_like(folder: Path) -> Path:
    """A small network of many kinds of operators, flat, each of which rounds otherwise than the next."""
    rng = np.random.default_rng(0)
    weights = [
        _stored("k", rng.standard_normal((4, 1, 3, 3)).astype(np.float32)),
        _stored("w", rng.standard_normal((64, 10)).astype(np.float32) / 8),
        _stored("b", rng.standard_normal(10).astype(np.float32)),
        _stored("shape", np.array([-1, 64])),
    ]
    nodes = [
        _node("Conv", ["x", "k"], ["c"], pads=[1, 1, 1, 1]),
        _node("Sigmoid", ["c"], ["s"]),
        _node("Mul", ["c", "s"], ["m"]),
        _node("AveragePool", ["m"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        _node("Reshape", ["p", "shape"], ["r"]),
        _node("Gemm", ["r", "w", "b"], ["g"]),
        _node("Softmax", ["g"], ["y"]),
    ]
    return _save(folder, nodes, [_value("x", ["N", 1, 8, 8])], [_value("y", ["N", 10])], weights)


@pytest.mark.parametrize("skipped", ["Conv", "Sigmoid", "Mul", "AveragePool", "Gemm", "Softmax", "weight", "input"])
def test_each_tensor_that_is_not_rounded_would_show(
    skipped: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = digits_like(tmp_path)
    x = np.random.default_rng(1).standard_normal((3, 1, 8, 8)).astype(np.float32)
    right = opened(path, "bfloat16").run({"x": x})["y"]
    arithmetic: Any = onnx_rounded.Rounded
    inner = arithmetic._rounded

    def lazy(self: Any, value: Any, made: Any, **words: Any) -> Any:
        return value if made[2] == skipped else inner(self, value, made, **words)

    monkeypatch.setattr(arithmetic, "_rounded", lazy)
    if skipped == "weight":
        monkeypatch.setattr(arithmetic, "entering", lambda self, node, place, value: value)
    wrong = opened(path, "bfloat16").run({"x": x})["y"]
    assert not np.array_equal(right, wrong)


def test_a_product_beyond_float16_is_infinite_where_onnxruntime_hides_it(tmp_path: Path) -> None:
    import onnxruntime as ort

    def model(kind: int, dtype: Any, folder: Path) -> Path:
        folder.mkdir()
        weights = [_stored("w", np.full((300, 4), 300, dtype)), _stored("back", np.array(2.0**-10, dtype))]
        nodes = [_node("MatMul", ["x", "w"], ["h"]), _node("Mul", ["h", "back"], ["y"])]
        return _save(folder, nodes, [_value("x", [1, 300], kind)], [_value("y", [1, 4], kind)], weights)

    half = model(_HALF, np.float16, tmp_path / "half")
    hidden = ort.InferenceSession(str(half)).run(None, {"x": np.ones((1, 300), np.float16)})[0]
    assert np.isfinite(hidden).all(), "ONNX Runtime tells of overflows now: say so in the papers"
    for path, dtype in ((model(_FLOAT, np.float32, tmp_path / "single"), np.float32), (half, np.float16)):
        session = opened(path)
        assert np.isinf(session.run({"x": np.ones((1, 300), dtype)})["y"]).all()
        losses = session.placement()["losses"]
        assert losses["overflows"] == 4 and losses["largest"] == 90000.0
        assert losses["worst"][0]["tensor"] == "h" and losses["worst"][0]["operator"] == "MatMul"


def test_losses_name_the_tensor_the_node_and_the_operator(tmp_path: Path) -> None:
    w = np.array([1e-9, 1e-6, 1e6, 1], np.float32)
    nodes = [_node("Mul", ["x", "w"], ["h"], name="scaling"), _node("Abs", ["h"], ["y"])]
    path = _save(tmp_path, nodes, [_value("x")], [_value("y")], [_stored("w", w)])
    session = opened(path)
    for _ in range(2):
        answer = session.run({"x": np.array([[1, 1e-3, 2, 1]], np.float32)})["y"]
    np.testing.assert_array_equal(answer, [[0, 0, np.inf, 1]])
    losses = session.placement()["losses"]
    assert losses["weights"] == {
        "tensors": 1, "elements": 4, "overflows": 1, "underflows": 1, "subnormals": 1, "largest": 1e6,
    }  # fmt: skip
    assert losses["tensors"] == 4 and losses["overflows"] == 3
    worst = {each["tensor"]: each for each in losses["worst"]}
    assert worst["w"] == {
        "tensor": "w", "node": "", "operator": "weight",
        "elements": 4, "overflows": 1, "underflows": 1, "subnormals": 1, "largest": 1e6,
    }  # fmt: skip
    # 65504 * 2 overflows, 1e-6 * 1e-3 underflows, in each of two runs; a weight is counted once.
    assert worst["h"] | {"largest": 0} == {
        "tensor": "h", "node": "scaling", "operator": "Mul",
        "elements": 8, "overflows": 2, "underflows": 2, "subnormals": 0, "largest": 0,
    }  # fmt: skip


def test_what_is_told_is_bounded_and_json(tmp_path: Path) -> None:
    names = ["x", *(f"t{place}" for place in range(60))]
    nodes = [_node("Mul", [a, "w"], [b]) for a, b in pairwise(names)]
    path = _save(tmp_path, nodes, [_value("x")], [_value("t59")], [_stored("w", np.full(4, 1.1, np.float32))])
    session = opened(path)
    session.run({"x": np.array([[1e-6, 1e-6, 1e-6, 60000]], np.float32)})
    told = session.placement()
    assert told["losses"]["worst"][0]["tensor"] == "t0" and told["losses"]["overflows"] == 1
    assert len(told["losses"]["worst"]) == 20 and told["losses"]["tensors"] == 62
    assert len(json.dumps(told, allow_nan=False)) < 8000


@_PRECISIONS
def test_conditions_loops_scans_and_functions_are_rounded_within(precision: str, tmp_path: Path) -> None:
    import onnx
    from onnx import helper

    third, x = np.float32(1 / 3), np.array([1.0, -2.7], np.float32)
    loop = helper.make_graph(
        [_node("Mul", ["acc", "third"], ["next"]), _node("Identity", ["go"], ["on"])],
        "loop",
        [_value("i", [], _INT64), _value("go", [], _BOOL), _value("acc", [2])],
        [_value("on", [], _BOOL), _value("next", [2])],
    )
    scan = helper.make_graph(
        [_node("Add", ["sum", "part"], ["total"]), _node("Mul", ["total", "third"], ["row"])],
        "scan",
        [_value("sum", []), _value("part", [])],
        [_value("total", []), _value("row", [])],
    )
    then = helper.make_graph([_node("Exp", ["rows"], ["e"])], "then", [], [_value("e", [2])])
    other = helper.make_graph([], "other", [], [_value("pair", [2])], [_stored("pair", np.array([third, 2], "f4"))])
    nodes = [
        helper.make_node("Scaled", ["x"], ["s"], domain="own"),
        _node("Loop", ["two", "", "s"], ["l"], body=loop),
        _node("Scan", ["zero", "l"], ["sum_out", "rows"], body=scan, num_scan_inputs=1),
        _node("If", ["up"], ["y"], then_branch=then, else_branch=other),
    ]
    weights = [_stored("two", np.int64(2)), _stored("third", third), _stored("zero", np.float32(0))]
    graph = helper.make_graph(nodes, "g", [_value("x", [2]), _value("up", [], _BOOL)], [_value("y", [2])], weights)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    scaled = helper.make_function(
        "own", "Scaled", ["a"], ["b"],
        [_node("Constant", [], ["f"], value=_stored("", np.float32(0.7))), _node("Mul", ["a", "f"], ["b"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=opsets, functions=[scaled], ir_version=8), tmp_path / "m.onnx")

    def r(array: Any) -> Any:
        return rounded(array, precision)

    value = r(r(x) * r(np.float32(0.7)))
    for _ in range(2):
        value = r(value * r(third))
    first = value[0]
    rows = r(np.array([r(first) * r(third), r(first + value[1]) * r(third)], np.float32))
    session = opened(tmp_path / "m.onnx", precision)
    np.testing.assert_array_equal(session.run({"x": x, "up": np.array(True)})["y"], r(np.exp(rows)))
    np.testing.assert_array_equal(session.run({"x": x, "up": np.array(False)})["y"], r([third, 2]))


def test_a_constant_that_data_only_choose_from_is_rounded_too(tmp_path: Path) -> None:
    third = np.full(4, 1 / 3, np.float32)
    nodes = [
        _node("Gather", ["w", "i"], ["chosen"]),
        _node("Concat", ["x", "w"], ["joined"], axis=0),
        _node("Tile", ["w", "n"], ["tiled"]),
        _node("Where", ["up", "w", "x"], ["either"]),
    ]
    inputs = [_value("x", [4]), _value("i", [2], _INT64), _value("n", [1], _INT64), _value("up", [], _BOOL)]
    outputs = [_value("chosen", [2]), _value("joined", [8]), _value("tiled", ["M"]), _value("either", [4])]
    path = _save(tmp_path, nodes, inputs, outputs, [_stored("w", third)])
    session = opened(path)
    got = session.run({"x": third, "i": np.array([0, 3]), "n": np.array([2]), "up": np.array(True)})
    for name, answer in got.items():
        assert (answer == rounded(third[:1], "float16")).all(), name
    told = session.placement()["losses"]
    assert told["elements"] == 4 + 4 + 4, "w, x and what Where made: moved numbers are counted where they were made"


def test_shapes_and_where_to_sample_stay_exact(tmp_path: Path) -> None:
    # 2049 is no float16; nor is a third, the scale of a Resize from 9 to 3.
    weights = [_stored("one", np.array([1])), _stored("scales", np.array([1, 1, 1 / 3], np.float32)),
               _stored("half", np.array([1.0], np.float32))]  # fmt: skip
    nodes = [
        _node("Shape", ["x"], ["shape"]),
        _node("Gather", ["shape", "one"], ["n"]),
        _node("Cast", ["n"], ["nf"], to=_FLOAT),
        _node("Mul", ["nf", "half"], ["nh"]),
        _node("Cast", ["nh"], ["again"], to=_INT64),
        _node("ConstantOfShape", ["again"], ["zeros"]),
        _node("Resize", ["z", "", "scales"], ["small"], mode="nearest"),
        _node("Add", ["x", "nf"], ["moved"]),
    ]
    outputs = [_value("zeros", ["M"]), _value("small", [1, 1, 3]), _value("moved", [1, "N"])]
    path = _save(tmp_path, nodes, [_value("x", [1, "N"]), _value("z", [1, 1, 9])], outputs, weights)
    x = np.zeros((1, 2049), np.float32)
    got = opened(path).run({"x": x, "z": np.arange(9, dtype=np.float32).reshape(1, 1, 9)})
    assert got["zeros"].shape == (2049,) and got["small"].shape == (1, 1, 3)
    assert (got["moved"] == 2048).all(), "where a size meets data, it is a number like all others"


def test_what_constants_make_is_rounded_once(tmp_path: Path) -> None:
    # 1000.3 + -1000.1: in float16 each is off by up to 0.25; a converter folds it to 0.2 before it rounds.
    weights = [_stored("a", np.array([1000.3], np.float32)), _stored("b", np.array([-1000.1], np.float32))]
    nodes = [_node("Add", ["a", "b"], ["c"]), _node("Mul", ["x", "c"], ["y"])]
    path = _save(tmp_path, nodes, [_value("x", [1])], [_value("y", [1]), _value("c", [1])], weights)
    got = opened(path).run({"x": np.ones(1, np.float32)})
    wanted = rounded(np.float32(1000.3) + np.float32(-1000.1), "float16")
    assert got["y"] == wanted and got["c"] == wanted


def test_integers_and_booleans_are_untouched(tmp_path: Path) -> None:
    nodes = [_node("Add", ["i", "i"], ["j"]), _node("Not", ["b"], ["c"]), _node("Cast", ["i"], ["f"], to=_DOUBLE)]
    inputs = [_value("i", [2], _INT64), _value("b", [2], _BOOL)]
    path = _save(
        tmp_path, nodes, inputs, [_value("j", [2], _INT64), _value("c", [2], _BOOL), _value("f", [2], _DOUBLE)]
    )
    got = opened(path).run({"i": np.array([2**40 + 1, 2049]), "b": np.array([True, False])})
    np.testing.assert_array_equal(got["j"], [2**41 + 2, 4098])
    np.testing.assert_array_equal(got["c"], [False, True])
    assert got["f"].dtype == np.float64 and got["f"].tolist() == [np.inf, 2048]


def test_masks_beyond_the_range_become_its_largest(tmp_path: Path) -> None:
    nodes = [_node("Mul", ["mask", "low"], ["m"]), _node("Add", ["x", "m"], ["z"]), _node("Softmax", ["z"], ["y"])]
    weights = [_stored("low", np.float32(np.finfo(np.float32).min))]
    path = _save(tmp_path, nodes, [_value("x"), _value("mask")], [_value("y")], weights)
    x, mask = np.zeros((1, 4), np.float32), np.array([[0, 0, 1, 1]], np.float32)
    np.testing.assert_array_equal(opened(path).run({"x": x, "mask": mask})["y"], [[0.5, 0.5, 0, 0]])


def test_weights_outside_of_the_file_are_read_from_there(tmp_path: Path) -> None:
    import onnx

    path = digits_like(tmp_path)
    x = np.random.default_rng(1).standard_normal((3, 1, 8, 8)).astype(np.float32)
    inside = opened(path).run({"x": x})["y"]
    model = onnx.load(path)
    onnx.save(model, tmp_path / "apart.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    np.testing.assert_array_equal(opened(tmp_path / "apart.onnx").run({"x": x})["y"], inside)
    bytes_ = bytearray((tmp_path / "w.bin").read_bytes())
    bytes_[200:2000] = bytes(1800)
    (tmp_path / "w.bin").write_bytes(bytes_)
    assert not np.array_equal(opened(tmp_path / "apart.onnx").run({"x": x})["y"], inside)


def test_runs_do_not_depend_on_those_before(tmp_path: Path) -> None:
    path = digits_like(tmp_path)
    x = np.random.default_rng(1).standard_normal((1, 1, 8, 8)).astype(np.float32)
    session = opened(path)
    first = session.run({"x": x})["y"]
    session.run({"x": x + 1})
    np.testing.assert_array_equal(session.run({"x": x})["y"], first)
    again = opened(path).run({"x": rounded(x, "float16")})["y"]
    np.testing.assert_array_equal(again, first)


def test_random_models_are_refused(tmp_path: Path) -> None:
    nodes = [_node("RandomNormalLike", ["x"], ["r"]), _node("Add", ["x", "r"], ["y"])]
    path = _save(tmp_path, nodes, [_value("x")], [_value("y")])
    with pytest.raises(Unsupported, match="random numbers"):
        opened(path)
    weights = [_stored("ratio", np.float32(0.5)), _stored("training", np.array(True))]
    path = _save(tmp_path, [_node("Dropout", ["x", "ratio", "training"], ["y"])], [_value("x")], [_value("y")], weights)
    with pytest.raises(Unsupported, match="training mode"):
        opened(path).run({"x": np.ones((1, 4), np.float32)})


def test_other_inputs_and_precisions_are_refused(tmp_path: Path) -> None:
    path = _save(tmp_path, [_node("Exp", ["x"], ["y"])], [_value("x")], [_value("y")])
    with pytest.raises(SamplesError, match="'z'"):
        opened(path).run({"z": np.zeros((1, 4), np.float32)})
    with pytest.raises(RequestError, match="int8"):
        opened(path, "int8")
