"""Bisection over converted prefixes: a conversion that spoils one operator is found, in some log2 conversions."""

from __future__ import annotations

import math
import runpy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlconv.candidate import RUNTIMES
from dlconv.diffing import parting
from dlconv.diffing.parting import UNITS, Operator, TensorError
from dlconv.diffing.parts import Conversion
from dlconv.diffing.prefixes import Prefixes, bisected
from dlconv.diffing.repro import Shown
from dlconv.diffing.side_by_side import Pair, Run
from dlconv.errors import StepError
from dlconv.events import Silence
from dlconv.making.cache import Cache
from dlconv.making.steps import Product
from dlconv.workers.crew import Crew

_MODELS = runpy.run_path(str(Path(__file__).parent / "diff_models.py"))
encoder = _MODELS["encoder"]


def errors(noise: float) -> dict[str, TensorError]:
    return {"t": TensorError("t", noise, 1.0, 1.0, "float32")}


@pytest.mark.parametrize("wrong", [0, 1, 37, 62, 63])
def test_a_bisection_asks_some_log2_places(wrong: int) -> None:
    asked: list[int] = []

    def probe(place: int) -> dict[str, TensorError]:
        asked.append(place)
        return errors(math.inf if place >= wrong else 0.5)

    found = bisected(range(64), probe, 40.0)
    assert found is not None and (found.right, found.wrong) == (wrong - 1, wrong)
    assert found.tried == len(asked) == len(set(asked)) <= 8


def test_places_that_tell_nothing_leave_the_bracket_wider() -> None:
    def probe(place: int) -> dict[str, TensorError]:
        if 20 <= place < 30:
            raise StepError("no")
        return errors(1000.0 if place >= 25 else 0.5)

    found = bisected(range(64), probe, 40.0)
    assert found is not None and (found.right, found.wrong) == (19, 30)
    assert bisected(range(64), lambda place: errors(0.5), 40.0) is None


@pytest.fixture(scope="module")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    with Crew(tmp_path_factory.mktemp("logs"), slots=2, memory_limit_bytes=None, timeout_s=120) as made:
        yield made


@dataclass(frozen=True)
class Spoiling(Conversion):
    """A converter that spoils the operator that makes a tensor, wherever it is in what is converted."""

    spoilt: str = ""

    def convert(self, part: Path, inputs: Any, outputs: Any) -> Product:
        import onnx
        from onnx import numpy_helper

        product = super().convert(part, inputs, outputs)
        model = onnx.load(product.path)
        weights = [node.input[1] for node in model.graph.node if self.spoilt in node.output]
        for tensor in model.graph.initializer:
            if tensor.name in weights:
                tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.01), tensor.name))
        onnx.save_model(model, str(part.with_name("spoilt.onnx")))
        return Product(part.parent, "spoilt.onnx", product.signature, "")


@pytest.mark.onnx
@pytest.mark.parametrize("seed", range(6))
def test_the_operator_that_a_conversion_spoils_is_found(seed: int, tmp_path: Path, crew: Crew) -> None:
    import onnx

    path = encoder(tmp_path, seed).path
    graph = onnx.load(path).graph
    operators = tuple(
        Operator(
            node.name, node.op_type, tuple(n for n in node.input if n == "x" or n in made(graph)), tuple(node.output)
        )
        for node in graph.node
    )
    spoilt = [each for each in operators if each.kind == "MatMul"][seed]
    cache, told = Cache(tmp_path / "cache"), Silence()
    conversion = Spoiling((), "onnx", RUNTIMES["onnx"], crew, cache, told, spoilt.outputs[0])
    width = graph.input[0].type.tensor_type.shape.dim[1].dim_value
    x = np.random.default_rng(seed).standard_normal((2, 4, width)).astype(np.float32)
    reference = Run(path, ({"x": x[0]}, {"x": x[1]}), "float64")
    unit = UNITS["float32"]
    prefixes = Prefixes(reference, operators, ("y",), conversion, unit, 40.0, 8, told)
    found = prefixes.bisect()
    assert found is not None and operators[found.wrong] == spoilt and found.right < found.wrong
    assert found.tried <= math.log2(len(operators)) + 2
    ranked = parting.ranked(parting.partings(operators, found.errors))
    assert ranked[0].operator == spoilt and len(ranked[0].operators) <= 2
    if seed == 0:  # the part is converted as the whole is, and shows it
        pair = Pair(reference, Run(path, (), ""), {"operators": outline(operators), "outputs": ["y"]}, {}, {})
        about = {"candidate": "spoilt", "reference": "model", "unit": unit, "factor": 40.0}
        repro = Shown(pair, ranked[0], found.errors, about, conversion, crew).write(tmp_path / "part")
        assert repro.shows and repro.operators <= 2 and (tmp_path / "part" / "candidate" / "spoilt.onnx").is_file()


@pytest.mark.onnx
def test_a_conversion_that_spoils_nothing_has_no_bracket(tmp_path: Path, crew: Crew) -> None:
    path = encoder(tmp_path, 1).path
    conversion = Conversion((), "onnx", RUNTIMES["onnx"], crew, Cache(tmp_path / "cache"), Silence())
    import onnx

    graph = onnx.load(path).graph
    operators = tuple(Operator(n.name, n.op_type, tuple(n.input), tuple(n.output)) for n in graph.node)
    width = graph.input[0].type.tensor_type.shape.dim[1].dim_value
    reference = Run(path, ({"x": np.ones((4, width), np.float32)},), "float64")
    assert Prefixes(reference, operators, ("y",), conversion, UNITS["float32"], 40.0, 8, Silence()).bisect() is None


def made(graph: Any) -> set[str]:
    return {name for node in graph.node for name in node.output}


def outline(operators: tuple[Operator, ...]) -> list[dict[str, Any]]:
    return [
        {"name": each.name, "kind": each.kind, "inputs": list(each.inputs), "outputs": list(each.outputs)}
        for each in operators
    ]
