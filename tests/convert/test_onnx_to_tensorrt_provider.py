"""ONNX Runtime's TensorRT provider as a route to the target tensorrt: a provider in its place that runs on the CPU
shows the line; nothing of TensorRT is shown."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dlconv.asked import providers
from dlconv.convert import onnx_to_tensorrt_provider
from dlconv.convert.edge import Step
from dlconv.convert.edges import GRAPH
from dlconv.convert.graph import MAX_ATTEMPTS
from dlconv.errors import StepError, Unsupported
from dlconv.formats import Format
from dlconv.model import Signature, TensorSpec
from dlconv.runtimes import tensorrt

if TYPE_CHECKING:
    from pathlib import Path

    from dlconv.convert.edge import Made

pytestmark = pytest.mark.onnx
SIGNATURE = Signature((TensorSpec("x", "float32", ("N", 3), "image"),), (TensorSpec("y", "float32", ("N", 3)),))


@pytest.fixture
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider is one that this ONNX Runtime has."""
    found = replace(providers.find("tensorrt"), execution=providers.CPU, before_cpu=(), gate="")
    others = tuple(each for each in providers.PROVIDERS if each.name != "tensorrt")
    monkeypatch.setattr(providers, "PROVIDERS", (found, *others))


def convert(folder: Path, **settings: Any) -> Made:
    import onnx
    from onnx import helper

    values = [helper.make_tensor_value_info(name, 1, ["N", 3]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "test", values[:1], values[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "m.onnx")
    (folder / "out").mkdir()
    return onnx_to_tensorrt_provider.convert(Step(folder / "m.onnx", folder / "out", SIGNATURE, {}, settings))


@pytest.mark.usefixtures("on_the_cpu")
def test_the_model_is_given_to_the_provider_and_told_as_no_plan(tmp_path: Path) -> None:
    made = convert(tmp_path)
    assert made.entry == "model.onnx" and made.signature == SIGNATURE
    assert "no plan" in made.notes[0] and "when it is loaded" in made.notes[1]
    session = tensorrt.open(tmp_path / "out" / made.entry, made.signature, {"trust": True})
    x = np.float32([[1, -2, 3]])
    np.testing.assert_array_equal(session.run({"x": x})["y"], np.maximum(x, 0))
    assert session.placement()["runtime"] == "onnxruntime"


def test_a_provider_that_is_not_here_ends_the_route_and_no_more(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"TensorrtExecutionProvider does not serve: ONNX Runtime .* was built without"):
        convert(tmp_path)


@pytest.mark.usefixtures("on_the_cpu")
@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"trt": {"level": 2, "timing_cache": False}}, "is not told --trt level, --trt timing-cache"),
        ({"trt": {"plugins": ["own.so"]}, "plugin_paths": ["own.so"]}, "is not told --trt plugin$"),
        ({"optima": 1}, "is not told --opt"),
    ],
)
def test_what_the_provider_cannot_be_told_is_refused(settings: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=says):
        convert(tmp_path, **settings)


@pytest.mark.parametrize("kind", [Format.ONNX, Format.TORCHSCRIPT, Format.TORCH_EXPORT])
def test_it_is_among_the_routes_that_are_tried_and_behind_the_usual_one(kind: Format) -> None:
    last = [route.edges[-1].name for route in GRAPH.routes(kind, "tensorrt")]
    assert last[:2] == ["onnx_to_tensorrt"] * 2
    assert "onnx_to_tensorrt_provider" in last[:MAX_ATTEMPTS], last
    assert ("torch_export_to_tensorrt" in last[:MAX_ATTEMPTS]) == (kind is Format.TORCH_EXPORT), last
    below = {route.edges[-1].name for route in GRAPH.routes(kind, "tensorrt", precision="fp16")}
    assert below == {"onnx_to_tensorrt"}
