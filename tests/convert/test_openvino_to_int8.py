"""NNCF's int8 of OpenVINO's IR: right, kept where it is told to, refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dlconv.convert import onnx_to_openvino, openvino_to_int8
from dlconv.convert.edge import Made, Step
from dlconv.errors import Unsupported
from dlconv.graphs.onnx_graph import read_model, signature_of
from dlconv.runtimes import openvino
from dlconv.samples import save_npz, to_arrays

if TYPE_CHECKING:
    from dlconv.model import Signature

pytestmark = [pytest.mark.onnx, pytest.mark.openvino, pytest.mark.nncf]


@pytest.fixture
def images(digits: Path) -> Any:
    return np.load(digits / "samples.npz")["image"][:, np.newaxis]


def made(source: Path, folder: Path, samples: list[dict[str, Any]], **settings: Any) -> tuple[Path, Signature, Made]:
    """The IR in float32 and in int8, in `folder`."""
    for name in ("float32", "int8"):
        (folder / name).mkdir(parents=True)
    signature = signature_of(read_model(source))
    whole = onnx_to_openvino.convert(Step(source, folder / "float32", signature, samples[0]))
    save_npz(folder / "calibration.npz", to_arrays(samples))
    step = Step(folder / "float32" / whole.entry, folder / "int8", whole.signature, samples[0], settings,
                calibration=folder / "calibration.npz")  # fmt: skip
    return folder / "int8" / "model.xml", whole.signature, openvino_to_int8.convert(step)


def answers(path: Path, signature: Signature, given: Any) -> Any:
    return openvino.open(path, signature, {}).run({"image": given})["probabilities"]


@pytest.mark.parametrize("halved", [False, True])
def test_answers_and_account(digits: Path, tmp_path: Path, images: Any, halved: bool) -> None:
    samples = [{"image": image} for image in images[:32]]
    path, signature, done = made(digits / "digits.onnx", tmp_path, samples, halved=halved)
    assert "32 samples" in done.notes[0] and done.signature == signature
    batch = images[32:, 0]
    whole = answers(tmp_path / "float32" / "model.xml", signature, batch)
    small = answers(path, signature, batch)
    assert (whole.argmax(1) == small.argmax(1)).all() and 0 < np.abs(whole - small).max() < 0.1
    account = openvino.open(path, signature, {"account": True}).placement()["account"]
    assert set(account["operators"]) == {"int8"}
    assert account["weights"]["int8"] > 20000
    largest = max(int(np.abs(stored).max()) for stored in int8_constants(path))
    assert largest <= 64 if halved else largest > 100


def int8_constants(path: Path) -> list[Any]:
    import openvino as ov

    return [
        node.data.astype(np.int16)
        for node in ov.Core().read_model(str(path)).get_ordered_ops()
        if node.get_type_name() == "Constant" and node.output(0).get_element_type().get_type_name() == "i8"
    ]


def test_what_is_kept_stays_in_float32(digits: Path, tmp_path: Path, images: Any) -> None:
    samples = [{"image": image} for image in images[:8]]
    nodes = [node.name for node in read_model(digits / "digits.onnx").graph.node if node.op_type == "Conv"]
    assert nodes
    path, signature, _ = made(digits / "digits.onnx", tmp_path / "kept", samples, keep=nodes)
    account = openvino.open(path, signature, {"account": True}).placement()["account"]
    assert account["operators"] == {"float32": len(nodes), "int8": 2}
    with pytest.raises(Unsupported, match="no such node"):
        made(digits / "digits.onnx", tmp_path / "unknown", samples, keep=["no such node"])


def test_nothing_to_quantise(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    value = [onnx.helper.make_tensor_value_info(name, 1, [4]) for name in ("image", "y")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Exp", ["image"], ["y"])], "g", value[:1], value[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    onnx.save(model, str(tmp_path / "model.onnx"))
    with pytest.raises(Unsupported, match="nothing that is computed in int8"):
        made(tmp_path / "model.onnx", tmp_path / "out", [{"image": np.ones(4, np.float32)}])
