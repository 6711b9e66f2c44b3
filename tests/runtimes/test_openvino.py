"""OpenVINO's adapter: outputs by name, float32 as asked, and the compiled model's own account of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlconv.errors import FormatError, HardwareMissing, SamplesError, Unsupported
from dlconv.model import Signature, TensorSpec
from dlconv.runtimes import openvino, openvino_describe

pytestmark = pytest.mark.openvino


def _saved(folder: Path) -> tuple[Path, Signature]:
    """y = x @ w, more = y > 0, total = sum(y): saved as IR with a free batch."""
    import openvino as ov
    from openvino import opset13 as ops

    w = ops.constant(np.linspace(-1, 1, 64 * 64, dtype=np.float32).reshape(64, 64))
    x = ops.parameter([-1, 64], np.float32, name="x")
    y = ops.matmul(x, w, False, False)
    more = ops.greater(y, ops.constant(np.float32(0)))
    total = ops.reduce_sum(y, ops.constant(np.array([0, 1])), False)
    x.output(0).set_names({"x"})
    for node, name in ((y, "y"), (more, "more"), (total, "total")):
        node.output(0).set_names({name})
    ov.save_model(ov.Model([y, more, total], [x], "m"), folder / "model.xml", compress_to_fp16=False)
    outputs = (
        TensorSpec("total", "float32", ()),
        TensorSpec("y", "float32", ("N", 64)),
        TensorSpec("more", "bool", ("N", 64)),
    )
    return folder / "model.xml", Signature((TensorSpec("x", "float32", ("N", 64)),), outputs)


def test_the_probe_runs_a_model() -> None:
    found = openvino.probe()
    assert found["version"]
    assert "CPU" in found["devices"]


def test_outputs_come_by_name_with_their_dtypes_at_every_size(tmp_path: Path) -> None:
    path, signature = _saved(tmp_path)
    session = openvino.open(path, signature, {})
    w = np.linspace(-1, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    kept: dict[int, Any] = {}
    for batch in (3, 1, 7):
        x = np.random.default_rng(batch).standard_normal((batch, 64)).astype(np.float32)
        got = kept[batch] = session.run({"x": x})
        assert list(got) == ["total", "y", "more"]
        np.testing.assert_allclose(got["y"], x @ w, atol=1e-4)
        assert got["more"].dtype == np.bool_
        np.testing.assert_array_equal(got["more"], got["y"] > 0)
        assert got["total"].shape == ()
    assert kept[3]["y"].shape == (3, 64), "an answer is not overwritten by the next run"


def test_placement_is_the_compiled_models_own_account(tmp_path: Path) -> None:
    path, signature = _saved(tmp_path)
    placement = openvino.open(path, signature, {"threads": 1}).placement()
    assert placement["device"] == "CPU"
    assert placement["precision"] == "float32"
    assert placement["precision_setting"] == "f32"
    assert placement["precisions"]["f32"] > 0
    assert placement["threads"] == 1


def test_other_inputs_and_unknown_outputs_are_refused(tmp_path: Path) -> None:
    path, signature = _saved(tmp_path)
    with pytest.raises(SamplesError, match="'z'"):
        openvino.open(path, signature, {}).run({"z": np.ones((1, 64), np.float32)})
    strange = Signature(signature.inputs, (TensorSpec("nothing", "float32", None),))
    with pytest.raises(Unsupported, match="'nothing'"):
        openvino.open(path, strange, {})


def test_nothing_is_reported_over_the_network() -> None:
    code = (
        "import sys; from dlconv.runtimes.openvino_ports import import_openvino; ov = import_openvino();"
        "import openvino.tools.ovc.convert_impl as c; sys.exit('stub' not in c.tm.__name__)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_ir_is_described(tmp_path: Path) -> None:
    path, _ = _saved(tmp_path)
    for where in (path, tmp_path):
        found = openvino_describe.describe(str(where))
        assert found["operators"] == {"Greater": 1, "MatMul": 1, "ReduceSum": 1}
        assert found["opset"] == {"opset1": 3}
        assert found["parameters"]["by_dtype"]["float32"] == 64 * 64 + 1
        assert {spec["name"]: spec["dtype"] for spec in found["outputs"]} == {
            "y": "float32", "more": "bool", "total": "float32",
        }  # fmt: skip
        assert found["inputs"][0]["shape"] == ["x_0", 64]


def test_a_damaged_ir_is_one_clear_error(tmp_path: Path) -> None:
    path, _ = _saved(tmp_path)
    path.write_text("<net>", encoding="utf-8")
    with pytest.raises(FormatError, match=r"cannot read model\.xml"):
        openvino_describe.describe(str(path))


def test_a_device_is_proved_or_told_as_not_here() -> None:
    seen = {name.partition(".")[0] for name in openvino.probe()["devices"]}
    assert openvino.probe_device("CPU")["devices"][0]
    for device in {"GPU", "NPU"} - seen:
        with pytest.raises(HardwareMissing, match=f"sees no {device}") as met:
            openvino.probe_device(device)
        assert "Intel's" in met.value.mend
