"""The line of export: fallbacks, what is shared by targets, and whose error is whose."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dlconv import pipeline, planning
from dlconv.asked.options import ExportOptions
from dlconv.convert.edges import GRAPH
from dlconv.convert.graph import ConversionGraph, Converter
from dlconv.errors import SourceError
from dlconv.records.outcome import Report

if TYPE_CHECKING:
    from collections.abc import Callable

    from dlconv.workers.crew import Crew

pytestmark = [pytest.mark.onnx]

EDGES = """
from dlconv.convert import onnx_to_onnx


def convert(step):
    import onnx
    import onnx.numpy_helper

    made = onnx_to_onnx.convert(step)
    fault = step.settings["fault"]
    if fault == "raises":
        raise ValueError("planted: this edge always fails")
    if fault == "crashes":
        import os
        os.abort()
    path = step.out_dir / made.entry
    model = onnx.load(str(path))
    weight = next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 4)
    array = onnx.numpy_helper.to_array(weight).copy()
    array[0] *= 1.01
    weight.CopyFrom(onnx.numpy_helper.from_array(array, weight.name))
    onnx.save(model, str(path))
    return made
"""


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put edges with a fault before the right ones; only they are there if `alone`."""
    (tmp_path / "planted_edges.py").write_text(EDGES)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def put(*faults: str, alone: bool = False) -> None:
        planted = tuple(
            Converter("onnx-as-given", "onnx", "planted_edges", "onnx", 0, "planted", (("fault", fault),), fault)
            for fault in faults
        )
        rest = tuple(edge for edge in GRAPH.edges if not (alone and edge.target == "onnx"))
        graph = ConversionGraph((*planted, *rest))
        monkeypatch.setattr(planning, "whole_graph", lambda: graph)

    return put


def export(digits: Path, out: Path, *targets: str) -> Report:
    return pipeline.export(digits / "digits.onnx", ExportOptions(targets, out))


@pytest.mark.parametrize(
    ("fault", "told"), [("spoils", "bar"), ("raises", "planted: this edge always fails"), ("crashes", "SIGABRT")]
)
def test_the_next_route_is_taken_and_the_receipt_tells_of_both(
    digits: Path, tmp_path: Path, plant: Callable[..., None], fault: str, told: str
) -> None:
    plant(fault)
    (bundle,) = export(digits, tmp_path / "out", "onnx").outcomes
    assert bundle.verdict is not None
    assert bundle.body is not None
    assert bundle.verdict.word == "PASS"
    outcomes = {route["edges"][0]: route for route in bundle.body["routes"]}
    assert outcomes[f"planted_edges[{fault}]"]["outcome"] == "failed"
    assert told in outcomes[f"planted_edges[{fault}]"]["reason"]
    assert outcomes["onnx_to_onnx[onnxsim]"]["outcome"] == "taken"


def test_where_every_result_is_wrong_the_verdict_is_fail(
    digits: Path, tmp_path: Path, plant: Callable[..., None]
) -> None:
    plant("spoils", alone=True)
    (bundle,) = export(digits, tmp_path / "out", "onnx").outcomes
    assert bundle.verdict is not None
    assert bundle.verdict.word == "FAIL"
    assert "would have been needed" in bundle.verdict.reasons[0]


def test_the_step_that_brought_the_error_is_named(digits: Path, tmp_path: Path, plant: Callable[..., None]) -> None:
    plant("spoils", alone=True)
    (outcome,) = export(digits, tmp_path / "out", "onnxruntime").outcomes
    assert outcome.word == "FAIL"
    (taken,) = (route for route in outcome.body["routes"] if route["outcome"] == "taken")
    first, last = taken["blame"]
    assert first["edge"] == "planted_edges[spoils]"
    assert first["share"] > 0.99
    assert last["share"] < 0.01
    assert "of the error came with planted_edges[spoils]" in outcome.notes[-1]


def test_targets_that_share_a_failing_step_each_tell_it(
    digits: Path, tmp_path: Path, plant: Callable[..., None]
) -> None:
    plant("raises", alone=True)
    bundles = export(digits, tmp_path / "out", "onnx", "onnxruntime").outcomes
    for bundle in bundles:
        assert bundle.error is not None
        assert bundle.error.exit_code == 4
        assert "planted: this edge always fails" in bundle.error.met
    assert list((tmp_path / "out").iterdir()) == []


def test_where_nothing_can_be_made_nobody_waits_for_the_answers(
    digits: Path, tmp_path: Path, plant: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(_source: Any, _options: Any, crew: Crew, *_: Any, **__: Any) -> None:
        with crew.lease("onnx") as worker:
            worker.call("timeit:timeit", stmt="time.sleep(300)", setup="import time", number=1)

    monkeypatch.setattr(pipeline.answering, "answer", slow)
    plant("raises", alone=True)
    start = time.monotonic()
    report = export(digits, tmp_path / "out", "onnx")
    assert [outcome.verdict for outcome in report.outcomes] == [None]
    assert time.monotonic() - start < 150


def test_a_source_that_does_not_run_is_told_as_such(tmp_path: Path) -> None:
    import onnx
    from onnx import helper

    table = onnx.numpy_helper.from_array(np.eye(4, dtype=np.float32), "table")
    ids, rows = helper.make_tensor_value_info("ids", 7, [2]), helper.make_tensor_value_info("rows", 1, [2, 4])
    graph = helper.make_graph([helper.make_node("Gather", ["table", "ids"], ["rows"])], "g", [ids], [rows], [table])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "m.onnx"))
    np.savez(tmp_path / "s.npz", ids=np.array([[1, 100]]))
    options = ExportOptions(("onnx",), tmp_path / "out", samples=tmp_path / "s.npz")
    (bundle,) = pipeline.export(tmp_path / "m.onnx", options).outcomes
    assert isinstance(bundle.error, SourceError)
    assert "100" in bundle.error.met


@pytest.mark.tensorflow
def test_a_source_that_draws_random_numbers_is_told_as_such(tensorflow_models: Path, tmp_path: Path) -> None:
    report = pipeline.export(tensorflow_models / "noisy", ExportOptions(("onnx",), tmp_path))
    (outcome,) = report.outcomes
    assert isinstance(outcome.error, SourceError), outcome
    assert "draws random numbers: y differs by" in outcome.error.met
    assert "dropout" in outcome.error.mend
    assert list(tmp_path.iterdir()) == []
