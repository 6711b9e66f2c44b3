"""The edges that leave PyTorch, each run for real and compared with the float64 source."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dlconv.convert import (
    torch_export_to_onnx,
    torch_export_to_openvino,
    torchscript_to_onnx,
    torchscript_to_openvino,
    torchscript_to_torch_export,
)
from dlconv.convert.edge import Step
from dlconv.convert.torchscript_signature import infer
from dlconv.errors import Unsupported
from dlconv.model import Signature, StateSpec
from dlconv.runtimes.state import read_initial
from dlconv.runtimes.torch import open as open_torch

if TYPE_CHECKING:
    from pathlib import Path

    from dlconv.convert.edge import Made

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")
nn = torch.nn
onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")


class Tagger(nn.Module):
    """Integers and a mask in, a dict out, arithmetic on sizes; an LSTM within, or attention.

    torch.export takes an LSTM apart step by step, so that its length cannot stay free there.
    """

    def __init__(self, recurrent: bool = True) -> None:
        super().__init__()
        self.embed = nn.Embedding(19, 8)
        self.cells = nn.LSTM(8, 4, batch_first=True, bidirectional=True) if recurrent else None
        self.head = nn.Linear(8, 3)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
        y = self.embed(ids)
        y = self.cells(y)[0] if self.cells is not None else (y @ y.transpose(1, 2)).softmax(-1) @ y
        y = y.reshape(ids.shape[0], ids.shape[1], 8) * mask[:, :, None].to(y.dtype)
        return {"tags": self.head(y), "pooled": y.mean(1)}


class Image(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = self.norm(self.conv(x)).relu()
        return y, y.mean((2, 3))


class Branching(nn.Module):
    """Control flow in the script, a scalar argument, and a weight that one branch alone uses."""

    def __init__(self) -> None:
        super().__init__()
        self.slow, self.fast = nn.Linear(6, 2), nn.Linear(6, 2)

    def forward(self, x: torch.Tensor, sr: int = 16000) -> torch.Tensor:
        if sr == 16000:
            return self.slow(x) if x.dim() == 2 else self.slow(x[None])
        return self.fast(x)


class Stateful(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("hidden", torch.full((1, 4), 0.25))
        self.cell = nn.GRUCell(5, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.cell(x, self.hidden)
        self.hidden.copy_(h)
        return h


def script(module: Any, folder: Path, *example: Any) -> Path:
    path = folder / "source.pt"
    torch.manual_seed(1)
    made = torch.jit.trace(module.eval(), example, strict=False) if example else torch.jit.script(module.eval())
    made.save(str(path))
    return path


def drawn(signature: Signature, found: dict[str, Any], which: int = 0, seed: int = 3) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    arrays = {}
    for spec in signature.inputs:
        shape = [found["sizes"][size][which] if isinstance(size, str) else size for size in spec.shape or ()]
        if spec.dtype.startswith("int"):
            low, high = found["bounds"][spec.name]
            arrays[spec.name] = random.integers(low, high + 1, shape).astype(spec.dtype)
        else:
            arrays[spec.name] = random.standard_normal(shape).astype(spec.dtype)
    return arrays


def step(
    path: Path, folder: Path, inputs: list[dict[str, Any]] | None = None, **settings: Any
) -> tuple[Step, dict[str, Any]]:
    found = infer(str(path), inputs)
    signature = Signature.from_dict(found["signature"])
    out = folder / "out"
    out.mkdir(exist_ok=True)
    return Step(path, out, signature, drawn(signature, found), settings), found


def answers_of_onnx(made: Made, folder: Path, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(str(folder / made.entry), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(
        zip(names, session.run(names, {i.name: arrays[i.source_name] for i in made.signature.inputs}), strict=True)
    )


def answers_of_openvino(made: Made, folder: Path, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    openvino = pytest.importorskip("openvino")
    model = openvino.Core().compile_model(folder / made.entry, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = model({i.name: arrays[i.source_name] for i in made.signature.inputs})
    return {spec.name: found[model.output(spec.name)] for spec in made.signature.outputs}


def assert_same(
    candidate: dict[str, np.ndarray], source: Path, signature: Signature, arrays: dict[str, np.ndarray]
) -> None:
    reference = open_torch(source, signature, {"double": True}).run(arrays)
    assert list(candidate) == list(reference)
    for name, wanted in reference.items():
        assert candidate[name].shape == wanted.shape, name
        np.testing.assert_allclose(candidate[name], wanted, rtol=0, atol=3e-6 * np.abs(wanted).max(), err_msg=name)


TOKENS = [
    {"name": "ids", "dtype": "int64", "shape": ["batch", "time"]},
    {"name": "mask", "dtype": "int64", "shape": ["batch", "time"]},
]


@pytest.mark.parametrize("ways", [["recorded"], ["plain"], ["exported"]], ids=lambda ways: ways[0])
def test_image_to_onnx_in_every_way(tmp_path: Path, ways: list[str]) -> None:
    path = script(Image(), tmp_path)
    told, found = step(path, tmp_path, ways=ways)
    made = torchscript_to_onnx.convert(told)
    assert [str(spec) for spec in made.signature.outputs] == ["output_0:1x4x224x224:float32", "output_1:1x4:float32"]
    arrays = drawn(told.signature, found, seed=5)
    assert_same(answers_of_onnx(made, told.out_dir, arrays), path, told.signature, arrays)


@pytest.mark.parametrize("ways", [["plain"], ["exported"]], ids=lambda ways: ways[0])
def test_free_sizes_stay_free(tmp_path: Path, ways: list[str]) -> None:
    ids = torch.ones(2, 5, dtype=torch.int64)
    path = script(Tagger(recurrent=ways == ["plain"]), tmp_path, ids, ids)
    told, found = step(path, tmp_path, TOKENS, ways=ways)
    made = torchscript_to_onnx.convert(told)
    assert [str(spec) for spec in made.signature.inputs] == ["ids:batchxtime:int64", "mask:batchxtime:int64"]
    for which in (0, 1):
        arrays = drawn(told.signature, found, which, seed=5)
        assert_same(answers_of_onnx(made, told.out_dir, arrays), path, told.signature, arrays)


def test_a_fused_encoder_keeps_its_free_sizes(tmp_path: Path) -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    path = tmp_path / "source.pt"
    with torch.no_grad():
        traced = torch.jit.trace(nn.TransformerEncoder(layer, 1).eval(), torch.randn(2, 5, 8), check_trace=False)
    traced.save(str(path))
    told, found = step(path, tmp_path, [{"name": "src", "dtype": "float32", "shape": ["batch", "time", 8]}])
    made = torchscript_to_onnx.convert(told)
    for which in (0, 1):
        arrays = drawn(told.signature, found, which, seed=5)
        assert_same(answers_of_onnx(made, told.out_dir, arrays), path, told.signature, arrays)


def test_branches_and_a_default_argument(tmp_path: Path) -> None:
    path = script(Branching(), tmp_path)
    told, found = step(path, tmp_path)
    made = torchscript_to_onnx.convert(told)
    arrays = drawn(told.signature, found, seed=5)
    assert_same(answers_of_onnx(made, told.out_dir, arrays), path, told.signature, arrays)


def test_state_starts_as_the_file_has_it(tmp_path: Path) -> None:
    path = script(Stateful(), tmp_path)
    told, found = step(path, tmp_path)
    assert found["stateful"] and found["sequence"]
    made = torchscript_to_onnx.convert(told)
    assert made.signature.state == (StateSpec("hidden_in", "hidden_out", "hidden"),)
    assert any("hidden: hidden_in and hidden_out" in note for note in made.notes)
    arrays = drawn(told.signature, found, seed=5)
    first = answers_of_onnx(made, told.out_dir, {**arrays, **read_initial(told.out_dir, made.signature)})
    left = first.pop("hidden_out")
    assert_same(first, path, told.signature, arrays)
    np.testing.assert_array_equal(left, first["output"])


def test_state_with_free_sizes_is_refused(tmp_path: Path) -> None:
    class Fading(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("gain", torch.ones(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.gain.mul_(0.5)
            return x * self.gain

    told, _ = step(script(Fading(), tmp_path), tmp_path, [{"name": "x", "dtype": "float32", "shape": ["batch", 4]}])
    with pytest.raises(Unsupported, match="keeps state"):
        torchscript_to_onnx.convert(told)


@pytest.mark.parametrize("way", ["exported", "traced"])
def test_by_way_of_torch_export(tmp_path: Path, way: str) -> None:
    ids = torch.ones(2, 5, dtype=torch.int64)
    path = script(Tagger(recurrent=False), tmp_path, ids, ids)
    told, found = step(path, tmp_path, TOKENS)
    exported = torchscript_to_torch_export.convert(told)
    assert exported.entry == "model.pt2" and [spec.name for spec in exported.signature.outputs] == ["tags", "pooled"]
    onward = Step(told.out_dir / exported.entry, tmp_path, exported.signature, told.sample, {"way": way})
    made = torch_export_to_onnx.convert(onward)
    assert any(spec.is_dynamic for spec in made.signature.inputs) == (way == "exported")
    for which in (0, 1) if way == "exported" else (0,):
        arrays = drawn(told.signature, found, which, seed=5) if way == "exported" else told.sample
        assert_same(answers_of_onnx(made, tmp_path, arrays), path, told.signature, arrays)
    again = open_torch(onward.source, exported.signature, {"double": True}).run(arrays)
    assert again["tags"].dtype == np.float64


@pytest.mark.openvino
@pytest.mark.parametrize("through", ["script", "export"])
def test_to_openvino_without_onnx(tmp_path: Path, through: str) -> None:
    path = script(Image(), tmp_path)
    told, found = step(path, tmp_path)
    if through == "export":
        exported = torchscript_to_torch_export.convert(told)
        onward = Step(told.out_dir / exported.entry, tmp_path, exported.signature, told.sample)
        made, folder = torch_export_to_openvino.convert(onward), tmp_path
    else:
        made, folder = torchscript_to_openvino.convert(told), told.out_dir
    arrays = drawn(told.signature, found, seed=5)
    assert_same(answers_of_openvino(made, folder, arrays), path, told.signature, arrays)


class Written(nn.Module):
    """Writes into a part of a tensor, pools unevenly, cuts windows: what exporters lose or lack."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.adaptive_avg_pool2d(x.view(1, 2, 7, 7), 3)
        z = y.flatten(1).unfold(1, 4, 2) * 2.0
        z[..., :2] += z[..., 2:]
        return z


def test_what_exporters_lose_or_lack(tmp_path: Path) -> None:
    path = script(Written(), tmp_path, torch.randn(1, 98))
    told, found = step(path, tmp_path, [{"name": "x", "dtype": "float32", "shape": [1, 98]}])
    made = torchscript_to_onnx.convert(told)
    arrays = drawn(told.signature, found, seed=5)
    assert_same(answers_of_onnx(made, told.out_dir, arrays), path, told.signature, arrays)


def test_weights_in_several_files_become_one(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from dlconv.convert.onnx_written import finish

    values = {name: np.random.default_rng(i).standard_normal((8, 8)).astype(np.float32) for i, name in enumerate("ab")}
    nodes = [onnx.helper.make_node("Add", ["x", "a"], ["s"]), onnx.helper.make_node("Add", ["s", "b"], ["y"])]
    ports = [onnx.helper.make_tensor_value_info(name, 1, [8, 8]) for name in ("x", "y")]
    weights = [onnx.numpy_helper.from_array(value, name) for name, value in values.items()]
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", ports[:1], ports[1:], weights))
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, all_tensors_to_one_file=False, size_threshold=0)
    spec = {"dtype": "float32", "shape": [8, 8]}
    finish(path, Signature.from_dict({"inputs": [{"name": "x", **spec}], "outputs": [{"name": "y", **spec}]}))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    read = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    assert all((read[name] == value).all() for name, value in values.items())


def in_a_process_of_its_own(code: str, folder: Path) -> str:
    """What it prints: operators and classes that it registers are unknown here."""
    (folder / "make.py").write_text(code)  # a script's class is compiled from its file
    words = [sys.executable, "make.py"]
    return subprocess.run(words, cwd=folder, check=True, timeout=300, stdout=subprocess.PIPE, text=True).stdout


DEFORMED = """
from pathlib import Path

import torch

from dlconv.convert.torch_exporting import write_onnx
from dlconv.errors import Unsupported
from dlconv.model import Signature, TensorSpec

numbers = "stride_h stride_w pad_h pad_w dilation_h dilation_w groups offset_groups".split()
schema = ", ".join(f"Tensor {name}" for name in "input weight offset mask bias".split())
schema += "".join(f", SymInt {name}" for name in numbers) + ", bool use_mask"
Path("torchvision.py").touch()  # the exporter looks for the package
library = torch.library.Library("torchvision", "DEF")
library.define(f"deform_conv2d({schema}) -> Tensor")
library.impl("deform_conv2d", lambda x, *_: x.new_empty(1, 3, 5, 5), "CPU")
library.impl("deform_conv2d", lambda x, *_: x.new_empty(1, 3, 5, 5), "Meta")

class Model(torch.nn.Module):
    def forward(self, x, weight, offset):
        others = (x.new_ones(1, 9, 5, 5), x.new_ones(3), *[1 for _ in numbers], True)
        return torch.ops.torchvision.deform_conv2d(x, weight, offset, *others)

shapes = {"x": (1, 2, 5, 5), "weight": (3, 2, 3, 3), "offset": (1, 18, 5, 5)}
program = torch.export.export(Model(), tuple(torch.ones(shape) for shape in shapes.values()))
specs = tuple(TensorSpec(name, "float32", shape) for name, shape in shapes.items())
signature = Signature(specs, (TensorSpec("y", "float32", (1, 3, 5, 5)),))
write_onnx(program, signature, Path("model.onnx"), None)
try:
    write_onnx(program, signature, Path("other.onnx"), 18)
except Unsupported as error:
    print(error.met, "|", error.wanted)
"""


def test_an_operator_that_came_later_raises_the_opset(tmp_path: Path) -> None:
    told = in_a_process_of_its_own(DEFORMED, tmp_path)
    assert told.splitlines()[-1] == "opset 18 has no DeformConv | opset 19 or newer"
    model = onnx.load(tmp_path / "model.onnx")
    assert model.opset_import[0].version == 19
    onnx.checker.check_model(model, full_check=True)


SCRIPT_CLASS = """
import torch

@torch.jit.script
class Scale:
    def __init__(self, by: float):
        self.by = by

    def of(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.by

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 2)
        self.scale = Scale(3.0)

    def forward(self, x):
        return self.scale.of(self.linear(x))

class Keeping(Model):
    def forward(self, x):
        self.scale = Scale(3.0)
        return self.scale.of(self.linear(x))

for name in ("Model", "Keeping"):
    torch.manual_seed(0)
    torch.jit.script(globals()[name]()).save(f"{name}.pt")
"""


@pytest.mark.parametrize("name", ["Model", "Keeping"])
def test_objects_of_the_scripts_own_classes_are_no_hindrance(tmp_path: Path, name: str) -> None:
    in_a_process_of_its_own(SCRIPT_CLASS, tmp_path)
    asked, _ = step(tmp_path / f"{name}.pt", tmp_path, ways=["recorded"])
    made = torchscript_to_onnx.convert(asked)
    answer = torch.jit.load(str(asked.source))(torch.from_numpy(asked.sample["x"]))
    (got,) = answers_of_onnx(made, asked.out_dir, asked.sample).values()
    np.testing.assert_allclose(got, answer.detach().numpy(), rtol=1e-5)
