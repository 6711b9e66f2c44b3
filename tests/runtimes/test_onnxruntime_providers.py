"""ONNX Runtime's providers: one that was asked for and is not used is an error, in each way that ONNX Runtime would
take the CPU instead. The OpenVINO provider runs for real, on the CPU; nodes are counted where they were placed."""

from __future__ import annotations

import runpy
import subprocess
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dlconv.errors import DlconvError, MachineError, PackagesMissing, RequestError, Unsupported
from dlconv.model import Signature
from dlconv.runtimes import onnxruntime
from dlconv.workers import toolchains
from dlconv.workers.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
OPENVINO, CPU = "OpenVINOExecutionProvider", "CPUExecutionProvider"
NOTHING = Signature((), ())

_HOSTILE = runpy.run_path(str(ROOT / "tests" / "hostile" / "onnx_files.py"))
_value, _node, _save = (_HOSTILE[name] for name in ("_value", "_node", "_save"))


def interpreter() -> Path:
    located = toolchains.locate(toolchains.get("onnxruntime-openvino"))
    assert isinstance(located, toolchains.Located)
    return located.interpreter


@pytest.fixture(scope="module")
def worker(private_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    log = tmp_path_factory.mktemp("logs") / "providers.log"
    with Worker(interpreter(), "onnxruntime-openvino", log, timeout_s=120) as made:
        yield made


def chain(folder: Path, *operators: str) -> Path:
    """A model of the operators, one after the other, from x to y: float32 [2, 3, 3], and [2] after a Det."""
    names = ["x", *(f"t{place}" for place in range(1, len(operators))), "y"]
    nodes = [_node(kind, [names[at]], [names[at + 1]]) for at, kind in enumerate(operators)]
    path: Path = _save(folder, nodes, [_value("x", [2, 3, 3])], [_value("y", [2] if "Det" in operators else [2, 3, 3])])
    return path


def answered(worker: Worker, path: Path, **settings: Any) -> dict[str, Any]:
    samples = [{"x": np.arange(18, dtype=np.float32).reshape(2, 3, 3) % 5}]
    told: dict[str, Any] = worker.call(
        "dlconv.workers.tasks:answer",
        runtime="dlconv.runtimes.onnxruntime",
        path=str(path),
        signature=NOTHING.to_dict(),
        settings=settings,
        samples=samples,
    )
    return told


@pytest.mark.onnxruntime_openvino
def test_the_provider_is_proved_by_a_model_that_it_runs(worker: Worker) -> None:
    found = worker.call("dlconv.runtimes.onnxruntime:probe", provider="openvino")
    assert found["devices"] == [f"CPU by {OPENVINO}"]


@pytest.mark.onnxruntime_openvino
@pytest.mark.onnx
def test_every_node_is_told_with_the_provider_that_it_was_given_to(worker: Worker, tmp_path: Path) -> None:
    told = answered(worker, chain(tmp_path, "Relu", "Exp", "Neg"), provider="openvino")
    placement = told["placement"]
    assert placement["nodes"] == {OPENVINO: 3} and placement["shares"] == {OPENVINO: 1.0}
    assert (placement["provider"], placement["limits"]) == ("openvino", [])
    assert placement["providers"] == {OPENVINO: 1}  # what it compiled is one operator to the trace
    expected = -np.exp(np.maximum(np.arange(18).reshape(2, 3, 3) % 5, 0))
    np.testing.assert_allclose(told["outputs"][0]["y"], expected, rtol=1e-5)


@pytest.mark.onnxruntime_openvino
@pytest.mark.onnx
def test_nodes_that_it_leaves_are_told(worker: Worker, tmp_path: Path) -> None:
    placement = answered(worker, chain(tmp_path, "Relu", "Det", "Neg"), provider="openvino")["placement"]
    assert placement["nodes"] == {OPENVINO: 1, CPU: 2}
    assert placement["shares"] == {OPENVINO: 0.3333, CPU: 0.6667}
    assert placement["limits"] == [
        f"{OPENVINO} leaves nodes of the model to others: 2 of 3 on {CPU}, 1 of 3 on {OPENVINO}"
    ]


@pytest.mark.onnxruntime_openvino
@pytest.mark.onnx
def test_a_provider_that_takes_no_node_fails(worker: Worker, tmp_path: Path) -> None:
    path = chain(tmp_path, "Det")
    with pytest.raises(Unsupported, match="takes none of the model's nodes: 1 of 1 on CPUExecutionProvider"):
        answered(worker, path, provider="openvino")
    assert answered(worker, path)["placement"]["nodes"] == {CPU: 1}  # the CPU was not to blame


@pytest.mark.onnxruntime_openvino
@pytest.mark.onnx
def test_a_provider_that_does_not_start_fails(tmp_path: Path) -> None:
    """Its GPU is asked for where there is none: ONNX Runtime logs that, and would answer by the CPU."""
    code = f"""
import sys
sys.path.append({str(ROOT)!r})
from dataclasses import replace
from dlconv.asked import providers
from dlconv.errors import MachineError
from dlconv.runtimes.onnxruntime import session_options, start
asked = replace(providers.find("openvino"), options={{"device_type": "NPU"}})
try:
    print(start({str(chain(tmp_path, "Relu"))!r}, session_options("all", 1), asked).get_providers())
except MachineError as error:
    print(type(error).__name__, error.met)
"""
    done = subprocess.run([interpreter(), "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith(f"MachineError {OPENVINO} does not start"), done.stdout + done.stderr


@pytest.mark.onnxruntime_openvino
def test_a_provider_that_raises_when_it_starts_is_the_machines_lack() -> None:
    """As ONNX Runtime's TensorRT provider does where TensorRT's libraries are not here: exit code 3, not 4."""
    code = f"""
import sys
sys.path.append({str(ROOT)!r})
from dataclasses import replace
from dlconv.asked import providers
from dlconv.errors import MachineError
from dlconv.runtimes.onnxruntime import probe
asked = replace(providers.find("openvino"), options={{"nonsense": "1"}})
providers.find = lambda name: asked
try:
    print(probe("openvino"))
except MachineError as error:
    print(type(error).__name__, error.exit_code, error.met)
"""
    done = subprocess.run([interpreter(), "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith(f"MachineError 3 {OPENVINO} does not start"), done.stdout + done.stderr
    assert "would run on" not in done.stdout  # it raised


@pytest.mark.onnx
@pytest.mark.parametrize("name", ["cuda", "tensorrt", "rocm", "migraphx", "directml", "qnn", "xnnpack"])
def test_a_provider_that_is_not_in_the_package_fails(name: str, tmp_path: Path) -> None:
    import onnxruntime as ort

    if onnxruntime.providers.find(name).execution in ort.get_available_providers():
        pytest.skip(f"this ONNX Runtime has {name}")
    with pytest.raises(PackagesMissing, match="was built without") as met:
        onnxruntime.open(chain(tmp_path, "Relu"), NOTHING, {"provider": name})
    assert met.value.mend
    with pytest.raises(PackagesMissing):
        onnxruntime.probe(name)


@pytest.mark.onnx
def test_an_unknown_provider_is_a_wrong_request(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no provider 'gpu'"):
        onnxruntime.open(chain(tmp_path, "Relu"), NOTHING, {"provider": "gpu"})


@pytest.mark.onnx
def test_where_the_nodes_places_are_not_recorded_the_trace_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime before 1.24 does not record them."""
    monkeypatch.setattr(onnxruntime, "_assigned", lambda session: Counter())
    session = onnxruntime.open(chain(tmp_path, "Relu", "Det"), NOTHING, {"optimisation": "none"})
    assert session.placement()["nodes"] == {}
    session.run({"x": np.ones((2, 3, 3), np.float32)})
    assert session.placement()["nodes"] == {CPU: 2}
    monkeypatch.setattr(session, "_provider", onnxruntime.providers.find("openvino"))
    with pytest.raises(DlconvError, match="takes none"):
        session._check_used()


@pytest.mark.onnxruntime_openvino
def test_a_probe_that_the_provider_leaves_to_the_cpu_fails(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "_assigned", lambda session: Counter({CPU: 1}))
    monkeypatch.setattr(onnxruntime, "start", lambda model, options, provider: _Answering())
    with pytest.raises(MachineError, match="leaves a model of one Relu to others"):
        onnxruntime.probe("openvino")


class _Answering:
    """A session that answers rightly, by whatever."""

    def run(self, names: None, inputs: dict[str, Any]) -> list[Any]:
        return [np.maximum(inputs["x"], 0)]
