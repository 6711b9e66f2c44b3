from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlconv.asked.inputs import DTYPES, parse_input, parse_inputs
from dlconv.asked.options import TARGETS, ExportOptions, parse_targets
from dlconv.convert.edges import GRAPH
from dlconv.errors import RequestError
from dlconv.model import TensorSpec


@pytest.mark.parametrize(
    ("text", "name", "shape", "dtype"),
    [
        ("x:1x3x224x224", "x", (1, 3, 224, 224), ""),
        ("x:Nx3x224x224", "x", ("N", 3, 224, 224), ""),
        ("ids:1xS:int64", "ids", (1, "S"), "int64"),
        ("x:1,max_px,3:float32", "x", (1, "max_px", 3), "float32"),
        ("x:7", "x", (7,), ""),
        ("x:1x3:", "x", (1, 3), ""),
        ("x:1x3:FLOAT32", "x", (1, 3), "float32"),
        ("sr::int64", "sr", (), "int64"),
        ("sr:scalar:int64", "sr", (), "int64"),
        ("sr:scalar", "sr", (), ""),
        ("serving_default_input_2:0:1x43844x1", "serving_default_input_2:0", (1, 43844, 1), ""),
        ("serving_default_input_2:0:1x43844x1:float32", "serving_default_input_2:0", (1, 43844, 1), "float32"),
        ("x:0x3", "x", (0, 3), ""),
    ],
)
def test_an_input_is_read_from_the_right(text: str, name: str, shape: tuple[int | str, ...], dtype: str) -> None:
    assert parse_input(text) == TensorSpec(name, dtype, shape)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("sr=16000", 16000),
        ("f=0.5", 0.5),
        ("f=1e-3", 0.001),
        ("flag=true", True),
        ("m=none", None),
        ("m=", ""),
        ("m=mean", "mean"),
        ("m=a:1x2", "a:1x2"),
    ],
)
def test_an_argument_that_is_no_tensor(text: str, value: object) -> None:
    name, found = parse_input(text)  # type: ignore[misc]
    assert (name, found, type(found)) == (text.partition("=")[0], value, type(value))


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ("x", "has no shape"),
        ("x:float32", "has no shape"),
        (":1x3", "has no name"),
        ("::int64", "has no name"),
        ("", "has no shape"),
        ("x:1x-1", "'-1', which is no size"),
        ("x:1x?", "no size and no name"),
        ("x:1.5x3", "no size and no name"),
        ("x:1xmax", "an empty size.*join them by commas"),
        ("x:1x3:flot32", "unknown dtype 'flot32'"),
        ("x:1x3:int", "unknown dtype 'int'"),
        ("x:1x3:half", "unknown dtype 'half'"),
        ("x:5:flot32", "unknown dtype 'flot32'"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_grammar(text: str, trouble: str) -> None:
    with pytest.raises(RequestError, match=trouble) as refused:
        parse_input(text)
    assert "NAME:SHAPE[:DTYPE]" in refused.value.wanted
    assert "--input" in refused.value.mend


@given(
    name=st.from_regex(r"[a-z_][a-z0-9_]{0,8}(:[0-9])?", fullmatch=True),
    shape=st.lists(
        st.one_of(st.integers(0, 4096), st.from_regex(r"[A-WYZ][a-w_]{0,5}", fullmatch=True)), min_size=2
    ).map(tuple),
    dtype=st.sampled_from(DTYPES),
)
def test_a_specification_is_read_as_it_is_written(name: str, shape: tuple[int | str, ...], dtype: str) -> None:
    spec = TensorSpec(name, dtype, shape)
    if all(str(size) not in ("None", "True", "False") for size in shape):
        assert parse_input(str(spec)) == spec


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_input(text)
    except RequestError as error:
        assert repr(text) in error.met


def test_all_inputs_together() -> None:
    tensors, constants = parse_inputs(("x:1x3", "sr=16000", "y:2:int64"))
    assert [spec.name for spec in tensors] == ["x", "y"]
    assert constants == (("sr", 16000),)


def test_targets_are_those_of_the_graph() -> None:
    assert set(TARGETS) <= {edge.target for edge in GRAPH.edges}


def test_targets_are_read_once_each() -> None:
    assert parse_targets("tflite, onnx,tflite") == ("tflite", "onnx")


@pytest.mark.parametrize("text", ["", ",", "onnx,tensorrt9"])
def test_unknown_targets_are_refused(text: str) -> None:
    with pytest.raises(RequestError) as refused:
        parse_targets(text)
    assert "openvino" in refused.value.wanted


def test_options_name_all_their_problems_at_once() -> None:
    spec = TensorSpec("x", "float32", (1,))
    with pytest.raises(RequestError) as refused:
        ExportOptions(
            ("onnx", "marble"),
            Path(),
            inputs=(spec, spec),
            draws=0,
            seed=-1,
            jobs=0,
            opset=3,
            timeout_s=float("nan"),
            memory_limit_bytes=0,
            name="../x",
        )
    told = "\n".join(refused.value.problems)
    for word in ("marble", "'x' is given 2 times", "draws", "seed", "jobs", "opset", "timeout_s", "memory", "name is"):
        assert word in told


def test_no_target_is_no_request() -> None:
    with pytest.raises(RequestError, match="options"):
        ExportOptions((), Path())


def test_another_calibration_of_the_same_name_is_another_request(tmp_path: Path) -> None:
    path = tmp_path / "calibration.npz"
    asked = ExportOptions(("onnx",), Path(), precision="int8", calibration=str(path))
    digests = set()
    for value in (0.0, 1.0, 1.0):
        np.savez(path, x=np.full(4, value))
        digests.add(asked.request_digest())
    assert len(digests) == 2
