from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import dlconv
from dlconv.errors import FormatError, ToolchainMissing
from dlconv.formats import Format
from dlconv.inspection import inspect
from dlconv.reports.inspection import lines, shares
from dlconv.runtimes.onnx_time import own_times
from dlconv.runtimes.onnx_work import guessed
from dlconv.runtimes.tensorrt_plan import PlanFacts
from dlconv.runtimes.tflite_flatbuffer import FlatGraph, FlatOperator, FlatTensor
from dlconv.runtimes.tflite_work import work_of
from dlconv.runtimes.work import BALANCE, Work, estimated
from dlconv.workers import tiny_models


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny ONNX model, by a path relative to the current directory."""
    monkeypatch.chdir(tmp_path)
    tiny_models.write_onnx("tiny.onnx")
    return Path("tiny.onnx")


@pytest.mark.onnx
def test_an_onnx_is_read_in_a_worker(tiny: Path) -> None:
    found = inspect(tiny)
    assert found.trouble is None
    assert found.format is Format.ONNX
    assert found.operators == {"MatMul": 1, "Relu": 1}
    assert found.parameters is not None
    assert (found.parameters["count"], found.parameters["size_bytes"]) == (12, 48)
    assert found.signature is not None
    assert [str(spec) for spec in (*found.signature.inputs, *found.signature.outputs)] == [
        "x:1x4:float32",
        "y:1x3:float32",
    ]
    assert json.loads(json.dumps(found.to_dict()))["opset"]
    assert found.digest.startswith("sha256:")
    assert found.size_bytes == tiny.stat().st_size


@pytest.mark.onnx
def test_the_lines_tell_all_of_it(tiny: Path) -> None:
    told = "\n".join(lines(inspect(tiny)))
    for words in ("tiny.onnx: an ONNX model", "x  float32 [1, 4]", "y  float32 [1, 3]", "MatMul", "12 in 48 B"):
        assert words in told


@pytest.mark.onnx
def test_what_the_framework_refuses_is_told_with_what_is_known(tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    # A wire format without fault, and a graph without an output.
    path.write_bytes(bytes([8, 8, 7 << 3 | 2, 2, 1 << 3 | 2, 0, 8 << 3 | 2, 2, 16, 17]))
    found = inspect(path)
    assert found.format is Format.ONNX
    assert found.trouble is not None and found.trouble.exit_code == 2
    assert "format      onnx" in "\n".join(lines(found))


@pytest.mark.torch
@pytest.mark.parametrize("write", [tiny_models.write_torchscript, tiny_models.write_torch_export])
def test_what_torch_wrote_is_read(tmp_path: Path, write: object) -> None:
    path = tmp_path / "tiny"
    write(str(path))  # type: ignore[operator]
    found = inspect(path)
    assert found.trouble is None
    assert found.parameters is not None and found.parameters["count"] == 12
    assert "x" in found.further["schema"]
    if found.format is Format.TORCH_EXPORT:  # TorchScript holds no shapes
        assert found.signature is not None and [str(spec) for spec in found.signature.inputs] == ["x:1x4:float32"]


@pytest.mark.torch
def test_weights_that_freezing_made_constants_are_counted(tmp_path: Path) -> None:
    import torch

    tiny_models.write_torchscript(str(tmp_path / "m.pt"))
    module: Any = torch.jit.load(str(tmp_path / "m.pt"))
    torch.jit.freeze(module.eval()).save(str(tmp_path / "frozen.pt"))
    found = inspect(tmp_path / "frozen.pt")
    assert found.parameters is not None and found.parameters["count"] == 12


def test_weights_are_no_trouble_and_get_advice(tmp_path: Path) -> None:
    path = tmp_path / "w.bin"
    path.write_bytes(b"\x10" + bytes(7) + b'{"w": {}}       ' + bytes(8))
    found = inspect(path)
    assert (found.format, found.trouble, found.operators) == (Format.SAFETENSORS, None, None)
    assert "torch.jit" in found.advice


def test_without_the_toolchain_the_format_is_told_and_what_to_install(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dlconv.workers import toolchains

    def nowhere(toolchain: toolchains.Toolchain) -> toolchains.Missing:
        return toolchains.Missing(toolchain.name, ("onnx is wanted here",), toolchains.mend_of(toolchain))

    monkeypatch.setattr(toolchains, "locate", nowhere)
    found = inspect(tiny)
    assert found.format is Format.ONNX
    assert isinstance(found.trouble, ToolchainMissing)
    assert found.trouble.mend.startswith("dlconv toolchain install onnx")


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises(FormatError, match="empty"):
        dlconv.inspect(tmp_path / "x")


def test_a_plan_is_told_by_what_lies_beside_it(tmp_path: Path) -> None:
    plan = tmp_path / "model.plan"
    plan.write_bytes(b"ftrt" + bytes(64))
    assert inspect(plan).notes == ()
    PlanFacts("11.4.0", "Planted A", "9.0", "550.54", "12.4", "fp16", "Linux").write(tmp_path)
    found = inspect(plan)
    assert found.format is Format.TENSORRT and found.further["plan"]["gpu"] == "Planted A"
    told = "fp16, built by TensorRT 11.4.0 on Linux for Planted A, compute capability 9.0"
    assert any(told in line for line in lines(found))
    (tmp_path / "plan.json").write_text("[]")
    with pytest.raises(FormatError, match="does not tell of the plan"):
        inspect(plan)


def heavy(folder: Path) -> Path:
    """A product of two large matrices, and little else."""
    import onnx
    from onnx import helper

    info = helper.make_tensor_value_info
    nodes = [
        helper.make_node("MatMul", ["x", "x"], ["m"], name="product"),
        helper.make_node("ReduceMean", ["m"], ["r"], name="mean", axes=[1]),
        helper.make_node("Sigmoid", ["r"], ["y"], name="gate"),
    ]
    graph = helper.make_graph(nodes, "heavy", [info("x", 1, ["N", 1024, 1024])], [info("y", 1, ["N", 1, 1024])])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "heavy.onnx"
    )
    return folder / "heavy.onnx"


@pytest.mark.onnx
def test_the_operator_that_takes_the_time_is_told(tmp_path: Path) -> None:
    found = inspect(heavy(tmp_path), timed=True)
    assert found.time is not None and found.time["sizes"] == {"N": 1} and found.time["runs"] >= 10
    assert found.time["nodes"][0][:2] == ["MatMul", "product"]
    told = shares(found.time)
    assert told[0].operator == "MatMul" and told[0].share > 0.5 and sum(one.share for one in told) == pytest.approx(1)
    assert "free sizes (N) at 1" in "\n".join(lines(found))
    assert json.loads(json.dumps(found.to_dict()))["time"]["nodes"]
    assert inspect(tmp_path / "heavy.onnx").time is None


@pytest.mark.onnx
@pytest.mark.openvino
def test_openvino_tells_it_too(tmp_path: Path) -> None:
    import openvino

    openvino.save_model(openvino.convert_model(str(heavy(tmp_path))), tmp_path / "heavy.xml", compress_to_fp16=False)
    told = shares(inspect(tmp_path / "heavy.xml", timed=True).time or {})
    assert told[0].operator == "MatMul" and told[0].share > 0.5


@pytest.mark.torch
def test_why_the_time_is_not_known_is_told(digits: Path) -> None:
    found = inspect(digits / "digits.pt", timed=True)
    assert found.time is not None and "export it to onnx or openvino" in found.time["reason"]
    assert "not measured" in "\n".join(lines(found))


@pytest.mark.onnx
def test_what_does_not_run_is_estimated_and_says_so(tmp_path: Path) -> None:
    path = heavy(tmp_path)
    import onnx

    model = onnx.load(str(path))
    foreign = onnx.helper.make_node("Nobody", [model.graph.output[0].name], ["beyond"], domain="nobody")
    model.graph.node.append(foreign)
    model.graph.output[0].name = "beyond"
    model.opset_import.append(onnx.helper.make_opsetid("nobody", 1))
    onnx.save(model, str(tmp_path / "foreign.onnx"))
    time = inspect(tmp_path / "foreign.onnx", timed=True).time or {}
    assert "nodes" not in time and time["reason"] and time["estimate"][0][:2] == ["MatMul", "product"]
    assert all(one.run_ms is None for one in shares(time))
    assert sum(one.share for one in shares(time)) == pytest.approx(1)
    told = "\n".join(lines(inspect(tmp_path / "foreign.onnx", timed=True)))
    assert "not measured" in told and "estimated by" in told and "not timed" in told


@pytest.mark.onnx
def test_the_arithmetic_of_a_matrix_product(tmp_path: Path) -> None:
    tiny_models.write_onnx(str(tmp_path / "tiny.onnx"))  # [1, 4] x [4, 3], then Relu
    matmul, relu = guessed(str(tmp_path / "tiny.onnx"))["nodes"]
    assert matmul[2] / relu[2] == pytest.approx(max(2 * 4 * 3 / BALANCE, 4 * (4 + 12 + 3)) / (4 * (3 + 3)))


def test_the_work_of_a_convolution_of_tflite() -> None:
    def tensor(*shape: int) -> FlatTensor:
        return FlatTensor("t", "int8", shape, (), (), 0, 0, 0, 0, False)

    graph = FlatGraph((tensor(-1, 8, 8, 3), tensor(16, 3, 3, 3), tensor(-1, 6, 6, 16)), (0,), (2,), ())
    work = work_of(FlatOperator("CONV_2D", (0, 1, -1), (2,)), graph)
    assert work.operations == 2 * 27 * 6 * 6 * 16
    assert work.size_bytes == 8 * 8 * 3 + 16 * 27 + 6 * 6 * 16


def test_an_estimate_takes_the_longer_of_arithmetic_and_bytes() -> None:
    found = estimated([Work("a", "x", int(300 * BALANCE), 5), Work("b", "y", 1, 100), Work("c", "z", 0, 0)])
    assert found == [["a", "x", 0.75], ["b", "y", 0.25], ["c", "z", 0.0]]
    assert estimated([Work("c", "z", 0, 0)]) == [["c", "z", 0.0]]


def test_a_node_that_holds_a_graph_counts_without_it() -> None:
    times = ((10, 100), (20, 30), (60, 10), (120, 20))
    assert own_times([{"ts": ts, "dur": dur} for ts, dur in times]) == [60, 30, 10, 20]
