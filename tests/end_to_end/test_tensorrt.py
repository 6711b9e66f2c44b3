"""The command with TensorRT: on a machine without a GPU as it is, and on one that has a planted driver and a fake of
TensorRT, which show that the line holds from export to verify, and nothing of what TensorRT computes."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

import dlconv as package
from dlconv.runtimes.tensorrt_plan import FACTS, PLAN, PlanFacts

if TYPE_CHECKING:
    from collections.abc import Callable

FAKES = Path(__file__).parents[1] / "fakes"
pytestmark = [pytest.mark.onnx, pytest.mark.skipif(sys.platform != "linux", reason="the driver is planted as an .so")]


@pytest.fixture
def bare() -> None:
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("this machine has an NVIDIA driver")


@pytest.fixture
def with_gpu(dlconv: Any, plant: Callable[..., Path], tmp_path: Path) -> Callable[..., Any]:
    """The command on a machine with a driver, a GPU and a TensorRT of the version that is named."""

    def ran(version: str, *words: object) -> Any:
        site = tmp_path / f"site-{version}"
        info = site / f"tensorrt-{version}.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: tensorrt\nVersion: {version}\n")
        known = {"LD_LIBRARY_PATH": str(library.parent), "FAKE_TENSORRT": ".".join(version.split(".")[:2])}
        paths = [str(FAKES), str(site), *filter(None, [dlconv.environment.get("PYTHONPATH")])]
        return replace(dlconv, environment={**dlconv.environment, **known, "PYTHONPATH": ":".join(paths)})(*words)

    library = plant("libcuda.c", "libcuda.so.1", WAY=0)
    return ran


def test_without_a_gpu_all_that_is_missing_is_told_and_nothing_is_done(
    bare: None, dlconv: Callable[..., Any], digits: Path, tmp_path: Path
) -> None:
    ran = dlconv("export", digits / "digits.pt", "--to", "tensorrt", "-o", tmp_path / "out")
    assert ran.code == 3
    for word in ("NVIDIA driver", "libcuda.so.1", "NVIDIA GPU", "tensorrt<12,>=8.5", "pip install 'tensorrt>=8.5,<12'"):
        assert word in ran.err
    assert not (tmp_path / "out").exists() and "--install" not in ran.err


def test_without_a_gpu_the_others_are_made(
    bare: None, dlconv: Callable[..., Any], digits: Path, tmp_path: Path
) -> None:
    ran = dlconv("export", digits / "digits.onnx", "--to", "tensorrt,onnx", "-o", tmp_path / "out", "--json", "-")
    assert ran.code == 0, ran.err
    assert [(each["target"], each["word"]) for each in ran.data["outcomes"]] == [
        ("tensorrt", "SKIPPED"),
        ("onnx", "PASS"),
    ]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["digits-onnx-fp32"]
    assert "pip install 'tensorrt" in " ".join(ran.data["outcomes"][0]["verdict"]["reasons"])


def test_without_a_gpu_operators_that_it_lacks_are_told(bare: None, dlconv: Callable[..., Any], tmp_path: Path) -> None:
    import onnx
    from onnx import helper

    info = helper.make_tensor_value_info
    nodes = [helper.make_node("Det", ["x"], ["y"], name="the_det")]
    graph = helper.make_graph(nodes, "planted", [info("x", 1, [3, 3])], [info("y", 1, [])])
    model = tmp_path / "det.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), model)
    assert "  TensorRT 10.15 has no Det: the_det" in dlconv("plan", model, "--to", "tensorrt").out.splitlines()
    alone = dlconv("export", model, "--to", "tensorrt", "-o", tmp_path / "out")
    assert alone.code == 3 and "besides, for tensorrt: TensorRT 10.15 has no Det: the_det" in alone.err


def test_a_plan_is_exported_verified_and_refused_elsewhere(
    with_gpu: Callable[..., Any], dlconv: Callable[..., Any], digits: Path, tmp_path: Path
) -> None:
    made = with_gpu("11.4.0.106", "export", digits / "digits.onnx", "--to", "tensorrt", "-o", tmp_path, "--draws", "3")
    assert made.code == 0, made.out + made.err
    bundle = tmp_path / "digits-tensorrt-fp32"
    receipt = json.loads((bundle / "dlconv.json").read_text())
    jsonschema.validate(receipt, json.loads((Path(package.__file__).parent / "receipt.schema.json").read_text()))
    assert receipt["artifact"]["entry"] == PLAN and receipt["evidence"]["runtime"] == "tensorrt"
    placed = receipt["evidence"]["placement"]
    assert (placed["device"], placed["compute_capability"], placed["cuda"]) == ("Planted A", "9.0", "12.4")
    assert receipt["environment"]["packages"]["tensorrt"] == placed["version"] == "11.4.0.106"
    assert "Planted A" in receipt["routes"][0]["steps"][-1]["settings"]["gpu"]

    assert with_gpu("11.4.0.106", "verify", bundle).code == 0
    other = with_gpu("10.16.1.11", "verify", bundle)
    assert other.code == 3 and "SKIPPED" in other.out
    assert "built by TensorRT 11.4.0.106, and this is TensorRT 10.16.1.11" in other.out
    none = dlconv("verify", bundle)
    assert none.code == 3 and "NVIDIA" in none.out

    facts = PlanFacts.of(bundle / PLAN)
    assert facts is not None
    replace(facts, is_version_compatible=True).write(bundle)
    tampered = with_gpu("11.4.0.106", "verify", bundle, "--trust")
    assert tampered.code == 1 and FACTS in tampered.out


@pytest.mark.parametrize(
    ("version", "precision"),
    [("8.6.1", "fp16"), ("11.4.0.106", "fp16"), ("11.0.0.114", "bf16"), ("10.16.1.11", "int8")],
)
def test_a_precision_goes_through_the_graph_and_is_attested(
    version: str, precision: str, with_gpu: Callable[..., Any], digits: Path, tmp_path: Path
) -> None:
    words = ("--to", "tensorrt", "--precision", precision, "--samples", digits / "samples.npz", "-o", tmp_path)
    made = with_gpu(version, "export", digits / "digits.onnx", *words)
    assert made.code == 0, made.out + made.err
    receipt = json.loads((tmp_path / f"digits-tensorrt-{precision}" / "dlconv.json").read_text())
    kind = {"fp16": "float16", "bf16": "bfloat16", "int8": "int8"}[precision]
    assert receipt["evidence"]["placement"]["precision"] == kind
    assert receipt["evidence"]["account"]["ran"][kind] > 0
    assert PlanFacts.of(tmp_path / f"digits-tensorrt-{precision}" / PLAN).precision == precision  # type: ignore[union-attr]


def test_ranges_optima_and_options_reach_the_builder(
    with_gpu: Callable[..., Any], digits: Path, tmp_path: Path
) -> None:
    words = ("--input", "image:1..4x1x8x8", "--opt", "image:3x1x8x8", "--opt", "image:4x1x8x8", "--trt", "level=2")
    made = with_gpu("11.0.0.114", "export", digits / "digits.onnx", "--to", "tensorrt", *words, "-o", tmp_path)
    assert made.code == 0, made.out + made.err
    told = json.loads((tmp_path / "digits-tensorrt-fp32" / "dlconv.json").read_text())["routes"][0]["steps"][-1]
    ends = [[1, 1, 8, 8], [4, 1, 8, 8]]
    assert [each["image"][::2] for each in told["settings"]["profiles"]] == [ends, ends]
    assert [each["image"][1][0] for each in told["settings"]["profiles"]] == [3, 4]
    assert told["settings"]["trt"] == {"level": 2}


def test_a_plan_is_judged_by_any_model(with_gpu: Callable[..., Any], digits: Path, tmp_path: Path) -> None:
    words = ("--to", "tensorrt", "--input", "image:1..4x1x8x8", "--draws", "3", "-o", tmp_path)
    made = with_gpu("11.4.0.106", "export", digits / "digits.onnx", *words)
    assert made.code == 0, made.out + made.err
    plan = tmp_path / "mine.plan"
    plan.write_bytes((tmp_path / "digits-tensorrt-fp32" / PLAN).read_bytes())
    (tmp_path / FACTS).write_bytes((tmp_path / "digits-tensorrt-fp32" / FACTS).read_bytes())
    samples = ("--samples", digits / "samples.npz", "--max-error", "1e-4")
    same = with_gpu("11.4.0.106", "verify", plan, "--against", digits / "digits.pt", *samples)
    assert same.code == 0, same.out + same.err
    other = with_gpu("11.4.0.106", "verify", plan, "--against", _moved(digits / "digits.onnx", tmp_path), *samples)
    assert other.code == 1, other.out + other.err
    turned = with_gpu("11.4.0.106", "verify", digits / "digits.onnx", "--against", plan, "--max-error", "1e-4")
    assert turned.code == 0, turned.out + turned.err
    elsewhere = with_gpu("10.16.1.11", "verify", plan, "--against", digits / "digits.onnx", *samples)
    assert elsewhere.code == 3
    assert "built by TensorRT 11.4.0.106, and this is TensorRT 10.16.1.11" in elsewhere.out + elsewhere.err


def _moved(model: Path, folder: Path) -> Path:
    """Another model of the same signature: its last weights are a little larger."""
    import onnx
    from onnx import numpy_helper

    loaded = onnx.load(model)
    last = [tensor for tensor in loaded.graph.initializer if tensor.data_type == 1][-1]
    last.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(last) * 1.1, last.name))
    onnx.save(loaded, folder / "moved.onnx")
    return folder / "moved.onnx"
