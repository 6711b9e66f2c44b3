"""The table of what TensorRT takes, and what is told by it where no TensorRT is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dlconv import planning
from dlconv.asked.options import ExportOptions
from dlconv.convert import tensorrt_operators
from dlconv.errors import ToolchainMissing
from dlconv.files import protobuf
from dlconv.formats import Format
from dlconv.workers import gates

pytestmark = pytest.mark.onnx


def saved(path: Path, nodes: list[Any], opset: int = 17, functions: tuple[Any, ...] = ()) -> Path:
    import onnx
    from onnx import helper

    info = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "planted", [info("x", 1, [2, 2])], [info("y", 1, None)])
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("mine", 1)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=8).SerializeToString()
    )
    assert onnx.load(path).graph.node
    return path


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """Det within a condition, LayerNormalization by name, a function of the file's own, and one of another domain."""
    from onnx import helper

    info = helper.make_tensor_value_info
    branch = helper.make_graph([helper.make_node("Det", ["x"], ["d"])], "then", [], [info("d", 1, None)])
    own = helper.make_function(
        "mine", "Own", ["a"], ["b"], [helper.make_node("Unique", ["a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    return saved(
        tmp_path / "m.onnx",
        [
            helper.make_node("Det", ["x"], ["e"], name="first"),
            helper.make_node("If", ["c"], ["f"], then_branch=branch, else_branch=branch),
            helper.make_node("LayerNormalization", ["x", "x"], ["g"], name="norm"),
            helper.make_node("Own", ["x"], ["h"], domain="mine"),
            helper.make_node("NotThere", ["x"], ["y"]),
            helper.make_node("NotThere", ["x"], ["z"], domain="elsewhere"),
        ],
        functions=(own,),
    )


def test_the_table_is_whole() -> None:
    old, new = tensorrt_operators.releases()
    assert (old.version, old.opset, new.version, new.opset) == ("8.5", 17, "10.15", 24)
    for release in (old, new):
        assert len(release.has) > 130 and len(release.lacks) > 35
        assert not release.has & release.lacks and release.without_bf16 <= release.has
    assert old.has <= new.has and {"LayerNormalization", "NonZero"} <= old.lacks & new.has


@pytest.mark.parametrize(
    ("version", "taken"),
    [("", "10.15"), ("8.5.3.1", "8.5"), ("8.6.1", "8.5"), ("10.9", "8.5"), ("10.15.1", "10.15"), ("11.4", "10.15"),
     ("8.4", "8.5")],
)  # fmt: skip
def test_the_newest_release_that_is_not_newer_is_taken(version: str, taken: str) -> None:
    assert tensorrt_operators.release_for(version).version == taken


def test_the_graph_is_read_as_onnx_itself_reads_it(strange: Path) -> None:
    import onnx

    from dlconv.graphs import onnx_graph

    found = protobuf.onnx_graph(strange)
    model = onnx.load(strange)
    known = [*onnx_graph.nodes_of(model.graph), *(node for each in model.functions for node in each.node)]
    assert [(node.operator, node.domain, node.name) for node in found.nodes] == [
        (node.op_type, node.domain, node.name or node.output[0]) for node in known
    ]
    assert found.opset == 17 and found.functions == {"Own"}


def test_every_operator_is_told_with_its_nodes(strange: Path) -> None:
    *told, last = tensorrt_operators.troubles(strange, "8.6.1")
    assert told == [
        "TensorRT 8.5 has no Det: first, d, d",
        "TensorRT 8.5 has no Unique: b",
        "nothing is known of NotThere in TensorRT 8.5: y",
    ]
    assert "by the table of TensorRT 8.5" in last and "the last word" in last


def test_what_onnx_defines_by_others_is_no_trouble() -> None:
    from onnx import defs

    for name in tensorrt_operators.defined_by_others():
        schemas = [schema for schema in defs.get_all_schemas_with_history() if schema.name == name]
        assert any(each.has_function or each.has_context_dependent_function for each in schemas), name


def test_a_newer_opset_is_told_and_a_model_without_trouble_is_not(tmp_path: Path) -> None:
    from onnx import helper

    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    assert tensorrt_operators.troubles(saved(tmp_path / "m.onnx", nodes), "8.5.3") == ()
    told = tensorrt_operators.troubles(saved(tmp_path / "n.onnx", nodes, 18), "8.5.3")
    assert told[0] == "the model is of opset 18, and TensorRT 8.5 takes up to 17"


def test_a_plan_and_an_export_without_a_gpu_tell_of_them(
    strange: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gap = gates.Gap("NVIDIA GPU", "none is on the PCI bus", "plug one in")
    monkeypatch.setattr(gates, "GATES", {**gates.GATES, "nvidia": lambda: (gap,)})
    made = planning.make(Format.ONNX, ExportOptions(("tensorrt",), tmp_path), strange)
    assert "TensorRT 10.15 has no Det: first, d, d" in made.targets[0].notes
    assert json.loads(json.dumps(made.to_dict()))["targets"][0]["notes"] == list(made.targets[0].notes)
    with pytest.raises(ToolchainMissing) as refused:
        made.split()
    assert "besides, for tensorrt: TensorRT 10.15 has no Det: first, d, d" in refused.value.problems
    assert planning.make(Format.ONNX, ExportOptions(("onnx",), tmp_path), strange).targets[0].notes == ()


def test_of_another_source_the_onnx_that_was_made_tells(strange: Path, digits: Path, tmp_path: Path) -> None:
    from dlconv import pipeline
    from dlconv.opening import open_artifact
    from dlconv.records.outcome import Outcome

    bundle = tmp_path / "bundle"
    bundle.mkdir()
    strange.rename(bundle / "model.onnx")
    error, options = ToolchainMissing("no GPU"), ExportOptions(("onnx", "tensorrt"), tmp_path)
    made = [Outcome("m-onnx-fp32", "m.pt", "onnx", "fp32", path=bundle)]
    source = open_artifact(digits / "digits.pt")
    assert "TensorRT 10.15 has no Unique: b" in pipeline._without(source, "tensorrt", error, options, made).notes
    assert pipeline._without(source, "tensorrt", error, options, []).notes == ()
    assert pipeline._without(source, "openvino", error, options, made).notes == ()
