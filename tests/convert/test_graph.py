"""Routes are pure, in a total order, and simple paths."""

from __future__ import annotations

import importlib
import itertools

import pytest

from dlconv.asked.options import TARGETS
from dlconv.convert.edges import GRAPH
from dlconv.convert.graph import MAX_ATTEMPTS, SOURCES
from dlconv.errors import RequestError
from dlconv.formats import Format
from dlconv.workers import toolchains

PAIRS = [(source, target) for source, target in itertools.product(SOURCES, TARGETS) if SOURCES[source] != target]


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_every_pair_has_a_route_and_its_ends_meet(source: Format, target: str) -> None:
    routes = GRAPH.routes(source, target)
    assert routes
    for route in routes:
        stages = [SOURCES[source], *(edge.target for edge in route.edges)]
        assert [edge.source for edge in route.edges] == stages[:-1]
        assert stages[-1] == target
        assert len(set(stages)) == len(stages)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_the_order_is_by_cost_and_total(source: Format, target: str) -> None:
    routes = GRAPH.routes(source, target)
    assert [route.cost for route in routes] == sorted(route.cost for route in routes)
    assert len({str(route) for route in routes}) == len(routes)
    assert routes == type(GRAPH)(tuple(reversed(GRAPH.edges))).routes(source, target)


def test_the_usual_way_is_through_onnx() -> None:
    first = GRAPH.routes(Format.TORCHSCRIPT, "openvino")[0]
    assert [edge.target for edge in first.edges] == ["onnx-as-given", "onnx", "openvino"]


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        ("onnx", ["onnx_to_int8", *(f"onnx_to_int8[{way}]" for way in ("unsigned", "entropy", "mse", "percentile"))]),
        ("onnxruntime", ["onnx_to_int8", *(f"onnx_to_int8[{way}]" for way in ("unsigned", "entropy", "mse",
                                                                              "percentile"))]),
        ("openvino", ["onnx_to_int8", *(f"onnx_to_int8[{way}]" for way in ("unsigned", "entropy", "mse", "percentile")),
                      "openvino_to_int8", "openvino_to_int8[halved]"]),
        ("tflite", ["tflite_to_reduced[int8]", "tflite_to_reduced[int8-islands]",
                    "tflite_to_reduced[int8-average]"]),
    ],
)  # fmt: skip
def test_every_way_to_int8_is_among_those_that_are_tried(target: str, wanted: list[str]) -> None:
    routes = GRAPH.routes(Format.ONNX, target, precision="int8")
    tried = [route for route in routes if not any(edge.for_halves for edge in route.edges)][:MAX_ATTEMPTS]
    assert list(dict.fromkeys(edge.name for route in tried for edge in route.edges if edge.puts)) == wanted


def test_names_are_unique_and_modules_and_toolchains_exist() -> None:
    names = [edge.name for edge in GRAPH.edges]
    assert len(set(names)) == len(names)
    for edge in GRAPH.edges:
        assert callable(importlib.import_module(edge.module).convert)
        assert toolchains.get(edge.toolchain)
        assert edge.why


def test_an_unknown_target_and_a_format_that_is_no_source_are_refused() -> None:
    with pytest.raises(RequestError, match="no target 'coreml'"):
        GRAPH.routes(Format.ONNX, "coreml")
    with pytest.raises(RequestError, match="torch-state-dict is not a source"):
        GRAPH.routes(Format.TORCH_STATE_DICT, "onnx")
