"""The reference of an ONNX source: float64 is float64, agrees with the operators' definitions, or is refused."""

from __future__ import annotations

import runpy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlconv.errors import SamplesError, Unsupported
from dlconv.model import Signature
from dlconv.runtimes import onnx_reference
from dlconv.runtimes.onnx_double import DoubleModel
from dlconv.runtimes.onnx_double_ops import OPERATORS

pytestmark = pytest.mark.onnx

_HOSTILE = runpy.run_path(str(Path(__file__).parents[1] / "hostile" / "onnx_files.py"))
_value, _node, _stored, _save = (_HOSTILE[name] for name in ("_value", "_node", "_stored", "_save"))
_DOUBLE, _INT64, _BOOL = 11, 7, 9

# What ONNX's own cases state otherwise than the runtimes do, or state too roughly for our bar.
_EXCUSED = {
    "test_averagepool_2d_ceil_last_window_starts_on_pad": "its answers are written with four digits",
    "test_resize_downsample_scales_linear_align_corners": "it stretches by sizes that are no integers",
    "test_resize_downsample_scales_cubic_align_corners": "it stretches by sizes that are no integers",
}


def _cases() -> dict[str, list[Any]]:
    from onnx.backend.test.case.node import collect_testcases

    found: dict[str, list[Any]] = {name: [] for name in OPERATORS}
    for case in collect_testcases(None):
        kinds = {node.op_type for node in case.model.graph.node} if case.model is not None else set()
        if len(kinds) == 1 and (kind := kinds.pop()) in found and case.name not in _EXCUSED:
            found[kind].append(case)
    return found


@pytest.fixture(scope="module")
def cases() -> dict[str, list[Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the cases are about overflow, too
        return _cases()


def _is_exotic(case: Any) -> bool:
    known = {1, 2, 3, 6, 7, 9, 11}
    values = (*case.model.graph.input, *case.model.graph.output)
    attributes = {item.name for node in case.model.graph.node for item in node.attribute}
    modes = {item.s for node in case.model.graph.node for item in node.attribute}
    trained = "training" in case.name
    refused = bool(attributes & {"clip", "activation_alpha"}) or b"tf_crop_and_resize" in modes
    return refused or trained or any(value.type.tensor_type.elem_type not in known for value in values)


@pytest.mark.parametrize("operator", sorted(set(OPERATORS) - {"ConstantOfShape", "Upsample"}))
def test_an_operator_agrees_with_its_definitions_own_cases(
    operator: str, cases: dict[str, list[Any]], tmp_path: Path
) -> None:
    import onnx

    judged = [case for case in cases[operator] if not _is_exotic(case)]
    assert judged, "nothing was judged"
    for case in judged:
        onnx.save(case.model, tmp_path / "case.onnx")
        inputs, outputs = case.data_sets[0]
        names = [value.name for value in case.model.graph.input]
        wanted = dict(zip((value.name for value in case.model.graph.output), outputs, strict=True))
        given = {name: np.asarray(value) for name, value in zip(names, inputs, strict=True)}
        got = DoubleModel(tmp_path / "case.onnx").run(given, list(wanted))
        for name, value in wanted.items():
            assert got[name].shape == np.shape(value), case.name
            scale = float(np.abs(np.asarray(value, np.float64)).max())
            np.testing.assert_allclose(got[name], value, rtol=0, atol=1e-5 * scale, err_msg=case.name)


def _study(path: Path) -> Signature:
    from dlconv.convert.onnx_signature import read

    return Signature.from_dict(read(str(path))["signature"])


def test_the_distance_to_float32_is_float32s_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    w = rng.standard_normal((64, 64)).astype(np.float32)
    nodes = [_node("MatMul", ["x", "w"], ["h"]), _node("Erf", ["h"], ["e"]), _node("MatMul", ["e", "w"], ["y"])]
    path = _save(tmp_path, nodes, [_value("x", ["N", 64])], [_value("y", ["N", 64])], [_stored("w", w)])
    x = rng.standard_normal((8, 64)).astype(np.float32)
    signature = _study(path)
    y32 = onnx_reference.open(path, signature, {"double": False}).run({"x": x})["y"]
    session = onnx_reference.open(path, signature, {"double": True})
    y64 = session.run({"x": x})["y"]
    assert y64.dtype == np.float64
    error = float(np.abs(y32 - y64).max() / np.abs(y64).max())
    assert 1e-9 < error < 2e-6, "the same numbers twice, or another model"
    assert session.placement()["precision"] == "float64"


def test_a_cast_to_float32_within_the_model_does_not_round(tmp_path: Path) -> None:
    nodes = [_node("Cast", ["x"], ["c"], to=1), _node("Sub", ["x2", "c"], ["y"])]
    path = _save(tmp_path, [_node("Cast", ["x"], ["x2"], to=11), nodes[0], _node("Cast", ["c"], ["c2"], to=11),
                            _node("Sub", ["x2", "c2"], ["y"])],
                 [_value("x", [1], _DOUBLE)], [_value("y", [1], _DOUBLE)])  # fmt: skip
    third = np.array([1 / 3])
    assert onnx_reference.open(path, _study(path), {"double": False}).run({"x": third})["y"][0] != 0
    assert onnx_reference.open(path, _study(path), {"double": True}).run({"x": third})["y"][0] == 0


def test_conditions_and_loops_run_in_float64(tmp_path: Path) -> None:
    from onnx import helper

    body = helper.make_graph(
        [
            _node("Mul", ["acc", "third"], ["next"]),
            _node("Identity", ["go"], ["on"]),
            _node("Identity", ["next"], ["row"]),
        ],
        "body",
        [_value("i", [], _INT64), _value("go", [], _BOOL), _value("acc", [2])],
        [_value("on", [], _BOOL), _value("next", [2]), _value("row", [2])],
    )

    def branch(kind: str) -> Any:
        return helper.make_graph([_node(kind, ["last"], [f"{kind}_out"])], kind, [], [_value(f"{kind}_out", [2])])

    nodes = [
        _node("Loop", ["three", "", "x"], ["last", "rows"], body=body),
        _node("If", ["up"], ["y"], then_branch=branch("Neg"), else_branch=branch("Abs")),
    ]
    weights = [_stored("three", np.int64(3)), _stored("third", np.float32(1 / 3))]
    inputs, outputs = [_value("x", [2]), _value("up", [], _BOOL)], [_value("y", [2]), _value("rows", [3, 2])]
    path = _save(tmp_path, nodes, inputs, outputs, weights)
    session = onnx_reference.open(path, _study(path), {"double": True})
    x = np.array([1.0, -2.0], np.float32)
    wide = x.astype(np.float64)
    for up, sign in ((True, -wide), (False, np.abs(wide))):
        got = session.run({"x": x, "up": np.array(up)})
        third = float(np.float32(1 / 3))
        np.testing.assert_allclose(got["y"], sign * third**3, rtol=1e-15)
        np.testing.assert_allclose(got["rows"], [wide * third, wide * third**2, wide * third**3], rtol=1e-15)


def test_each_run_starts_afresh(tmp_path: Path) -> None:
    path = _save(tmp_path, [_node("Exp", ["x"], ["y"])], [_value("x", [3])], [_value("y", [3])])
    session = onnx_reference.open(path, _study(path), {"double": True})
    first = session.run({"x": np.zeros(3, np.float32)})["y"]
    session.run({"x": np.ones(3, np.float32)})
    np.testing.assert_array_equal(first, np.ones(3))
    np.testing.assert_array_equal(session.run({"x": np.zeros(3, np.float32)})["y"], first)


@pytest.mark.parametrize("double", [False, True])
def test_random_answers_are_refused(double: bool, tmp_path: Path) -> None:
    nodes = [_node("RandomNormalLike", ["x"], ["r"]), _node("Add", ["x", "r"], ["y"])]
    path = _save(tmp_path, nodes, [_value("x")], [_value("y")])
    with pytest.raises(Unsupported, match="random numbers"):
        onnx_reference.open(path, Signature(()), {"double": double})


def test_dropout_in_training_mode_is_refused(tmp_path: Path) -> None:
    weights = [_stored("ratio", np.float32(0.5)), _stored("training", np.array(True))]
    nodes = [_node("Dropout", ["x", "ratio", "training"], ["y"])]
    path = _save(tmp_path, nodes, [_value("x")], [_value("y")], weights)
    with pytest.raises(Unsupported, match="training mode"):
        onnx_reference.open(path, _study(path), {"double": True}).run({"x": np.ones((1, 4), np.float32)})


def test_strings_and_sequences_have_no_float64(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="no strings and no sequences"):
        onnx_reference.open(_HOSTILE["strings"](tmp_path), Signature(()), {"double": True})


def test_an_operator_that_stays_in_float32_is_refused(tmp_path: Path) -> None:
    import onnx
    from onnx import helper

    nodes = [helper.make_node("BiasGelu", ["x", "b"], ["y"], domain="com.microsoft")]
    path = _save(tmp_path, [_node("Add", ["x", "b"], ["y"])], [_value("x"), _value("b", [4])], [_value("y")])
    model = onnx.load(path)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, path)
    session = onnx_reference.open(path, _study(path), {"double": True})
    with pytest.raises(Unsupported, match=r"com\.microsoft\.BiasGelu"):
        session.run({"x": np.ones((1, 4), np.float32), "b": np.ones(4, np.float32)})


def test_other_inputs_than_the_models_are_refused(tmp_path: Path) -> None:
    path = _save(tmp_path, [_node("Exp", ["x"], ["y"])], [_value("x", [3])], [_value("y", [3])])
    with pytest.raises(SamplesError, match="'z'"):
        onnx_reference.open(path, _study(path), {"double": True}).run({"z": np.zeros(3)})


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "bar"),
    [
        ("onnx/light_squeezenet.onnx", 1e-6),
        ("magika/standard_v3_3.onnx", 1e-6),
        ("silero-vad/silero_vad.onnx", 2e-6),
        ("silero-vad/silero_vad_16k_op15.onnx", 2e-6),
        ("Ultra-Light-Fast-Generic-Face-Detector-1MB/version-RFB-320.onnx", 5e-6),
        ("basic-pitch/nmp.onnx", 2e-4),  # a logarithm of a spectrum: ill-conditioned at random samples
    ],
)
def test_real_models_agree_with_their_own_float32(name: str, bar: float, shared_models: Path) -> None:
    from dlconv.convert.onnx_signature import read

    path = shared_models / name
    found = read(str(path))
    signature = Signature.from_dict(found["signature"])
    rng = np.random.default_rng(3)
    sample: dict[str, Any] = {}
    for spec in signature.inputs:
        sizes = {"dim_1": 576, "sequence": 576}
        shape = [sizes.get(size, 1) if isinstance(size, str) else size for size in spec.shape or ()]
        low, high = found["bounds"].get(spec.name, [16000, 16000])
        is_float = spec.dtype == "float32"
        values = rng.standard_normal(shape) if is_float else rng.integers(low, high + 1, shape)
        sample[spec.name] = np.asarray(values, spec.dtype)
    y32 = onnx_reference.open(path, signature, {"double": False}).run(sample)
    y64 = onnx_reference.open(path, signature, {"double": True}).run(sample)
    for output, value in y64.items():
        assert value.dtype == np.float64
        assert float(np.abs(y32[output] - value).max()) <= bar * float(np.abs(value).max()), output
