from __future__ import annotations

import json
import sys
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from dlconv.asked.bars import Bars, LatencyBars, OutputBars
from dlconv.asked.options import TARGETS
from dlconv.asked.tensorrt_options import TensorRTOptions
from dlconv.errors import RequestError
from dlconv.project import file as project
from dlconv.project.keys import KEYS, line_of, merged

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SCHEMA = json.loads(resources.files("dlconv").joinpath("project.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

MINIMAL = '[models.digits]\npath = "digits.pt"\ntargets = ["onnx"]\n'
FULL = """\
[defaults]
targets = ["onnx", "openvino", "tflite"]
precisions = ["fp32"]
output = "out"
draws = 4
seed = 3
allow_skip = ["tflite"]
bars.factor = 50
bars.outputs."*".min_cosine = 0.999

[models.digits]
path = "nets/digits.pt"
samples = "samples.npz"
labels = "/data/labels.npz"
inputs = ["image:Nx1x8x8:float32", "sr=16000"]
opset = 17
signature = "score"
outputs = ["logits"]
trust = true
via = "onnx"
keep_layout = "nhwc"
require = ["onnx"]

[models.digits.bars.outputs.probabilities]
max_error = 1e-5
[models.digits.bars.latency]
max_ratio = 1.1
[models.digits.target_bars.tflite]
factor = 90.5

[models."b.v2"]
path = "b.onnx"
targets = ["onnxruntime"]
"""


def read(text: str, folder: Path, name: str = "dlconv.toml") -> project.Project:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return project.read(path)


def problems(text: str, folder: Path, name: str = "dlconv.toml") -> tuple[str, ...]:
    with pytest.raises(RequestError) as caught:
        read(text, folder, name)
    return caught.value.problems


def test_the_least_that_a_file_says(tmp_path: Path) -> None:
    found = read(MINIMAL, tmp_path)
    assert (found.root, found.file) == (tmp_path, tmp_path / "dlconv.toml")
    (model,) = found.models
    assert (model.name, model.path, model.targets) == ("digits", tmp_path / "digits.pt", ("onnx",))
    assert (model.precisions, model.draws, model.seed, model.opset) == (("fp32",), 8, 0, None)
    assert (model.samples, model.labels, model.bars, model.target_bars) == (None, None, Bars(), {})
    assert model.bundle("onnx") == tmp_path / "dlconv-out" / "digits-onnx-fp32"


def test_all_that_a_file_says(tmp_path: Path) -> None:
    digits, other = read(FULL, tmp_path).models
    assert digits.path == tmp_path / "nets" / "digits.pt"
    assert (digits.samples, digits.labels) == (tmp_path / "samples.npz", Path("/data/labels.npz"))
    assert [str(spec) for spec in digits.inputs] == ["image:Nx1x8x8:float32"]
    assert digits.constants == (("sr", 16000),)
    assert (digits.draws, digits.seed, digits.opset, digits.output) == (4, 3, 17, tmp_path / "out")
    assert (digits.allow_skip, digits.require) == (frozenset({"tflite"}), frozenset({"onnx"}))
    outputs = {"*": OutputBars(min_cosine=0.999), "probabilities": OutputBars(max_error=1e-5)}
    assert digits.bars_of("onnx") == Bars(50, outputs, LatencyBars(max_ratio=1.1))
    assert digits.bars_of("tflite") == Bars(90.5, outputs, LatencyBars(max_ratio=1.1))
    assert (other.name, other.targets, other.draws) == ("b.v2", ("onnxruntime",), 4)
    assert other.bars == Bars(50, {"*": OutputBars(min_cosine=0.999)})


def test_targets_with_the_same_bars_are_exported_together(tmp_path: Path) -> None:
    digits, other = read(FULL, tmp_path).models
    first, second = digits.options()
    assert (first.targets, second.targets) == (("onnx", "openvino"), ("tflite",))
    assert (first.bars, second.bars) == (digits.bars, digits.bars_of("tflite"))
    assert (first.name, first.output_dir, first.samples) == ("digits", digits.output, digits.samples)
    assert (first.inputs, first.constants, first.opset) == (digits.inputs, digits.constants, 17)
    assert [options.targets for options in digits.options(("tflite",))] == [("tflite",)]
    assert [options.name for options in other.options()] == ["b.v2"]


def test_words_of_a_target_go_with_it_alone(tmp_path: Path) -> None:
    (tmp_path / "own.so").touch()
    text = """
    [models.digits]
    path = "digits.pt"
    targets = ["onnx", "onnxruntime", "tensorrt"]
    provider = "openvino"
    trt = ["level=3", "workspace=1GiB", "plugin=own.so"]
    opt = ["image:8x1x8x8"]
    target_bars.tensorrt.factor = 3
    target_bars.onnx.factor = 4
    """
    (model,) = read(text, tmp_path).models
    onnx, runtime, tensorrt = model.options()
    asked = TensorRTOptions(workspace_bytes=1 << 30, level=3, plugins=(tmp_path / "own.so",))
    assert (onnx.provider, runtime.provider, tensorrt.provider) == ("", "openvino", "")
    assert (onnx.tensorrt, runtime.tensorrt, tensorrt.tensorrt) == (TensorRTOptions(), TensorRTOptions(), asked)
    assert [(spec.name, spec.shape) for spec in tensorrt.optima] == [("image", (8, 1, 8, 8))] and onnx.optima == ()
    assert [model.bundle(target).name for target in ("onnx", "onnxruntime")] == [
        "digits-onnx-fp32",
        "digits-onnxruntime-openvino-fp32",
    ]


def test_the_same_in_pyproject(tmp_path: Path) -> None:
    text = FULL.replace("[defaults", "[tool.dlconv.defaults").replace("[models", "[tool.dlconv.models")
    in_pyproject = read('[project]\nname = "x"\n' + text, tmp_path, "pyproject.toml")
    assert in_pyproject.models == read(FULL, tmp_path).models
    told = problems('[tool.dlconv.models.a]\npath = "a.pt"\ntarget = ["onnx"]', tmp_path, "pyproject.toml")
    assert told[0].startswith("pyproject.toml:3: [tool.dlconv.models.a] unknown key 'target' (did you mean 'targets'?)")


def test_a_machine_may_lack_what_every_model_allows_and_none_requires(tmp_path: Path) -> None:
    models = """
    [defaults]
    targets = ["onnx", "openvino", "tflite"]
    [models.a]
    path = "a"
    allow_skip = ["openvino", "tflite"]
    [models.b]
    path = "b"
    allow_skip = ["openvino"]
    require = ["onnx"]
    """
    found = read(models, tmp_path)
    assert found.allowed() == {"openvino"}
    assert found.allowed(["tflite", "onnx", "onnxruntime"]) == {"openvino", "tflite"}


WRONG = {
    "an unknown key": (
        'smaples = "x"',
        ":4: [models.digits] unknown key 'smaples' (did you mean 'samples'?): there are",
    ),
    "a key of another tool": ('model = "x"', ":4: [models.digits] unknown key 'model'"),
    "a hyphen": ("allow-skip = []", "unknown key 'allow-skip' (did you mean 'allow_skip'?)"),
    "an unknown target": ('require = ["onxn"]', "require: unknown targets: 'onxn' (did you mean 'onnx'?)"),
    "a target twice": ('require = ["onnx", "onnx"]', "require: ['onnx', 'onnx'] names one twice"),
    "a target that is not made": ('allow_skip = ["tflite"]', ":4: [models.digits] allow_skip: 'tflite' is not among"),
    "allowed and required": ('allow_skip = ["onnx"]\nrequire = ["onnx"]', "require: onnx is in allow_skip too"),
    "no layout": ('keep_layout = "nchwc"', "keep_layout: 'nchwc' is no layout: there are nchw and nhwc"),
    "no truth": ('trust = "yes"', "trust: 'yes' is neither true nor false"),
    "no text": ("signature = 3", "signature: 3 is no text"),
    "an unknown precision": ('precisions = ["int4"]', "precisions: unknown precisions: 'int4'"),
    "no list": ('require = "onnx"', "require: 'onnx' is no list of targets in quotes"),
    "no path": ("samples = 3", "samples: 3 is no path"),
    "an empty path": ('output = ""', "output: '' is no path"),
    "a wrong input": ('inputs = ["image"]', "inputs: --input 'image' has no shape"),
    "no number": ('draws = "8"', "draws: '8' is no whole number of 1 or more"),
    "a number too small": ("draws = 0", "draws: 0 is no whole number of 1 or more"),
    "a truth for a number": ("seed = true", "seed: True is no whole number of 0 or more"),
    "an old opset": ("opset = 6", "opset: 6 is no whole number of 7 or more"),
    "an unknown bar": ("bars.factr = 3", "[models.digits.bars] unknown key 'factr' (did you mean 'factor'?)"),
    "an unknown bar of an output": (
        "bars.outputs.y.max_eror = 3",
        ":4: [models.digits.bars.outputs.y] unknown key 'max_eror' (did you mean 'max_error'?)",
    ),
    "a bar that is text": ('bars.outputs.y.max_error = "1e-3"', "y.max_error is '1e-3', wanted a number, finite"),
    "a bar that is not finite": ("bars.factor = inf", "factor is inf, wanted a number, finite, not negative"),
    "a negative bar": ("bars.latency.p50_ms = -1", "latency.p50_ms is -1"),
    "bars that are no table": ("bars = 3", "bars: bars is 3, wanted a table"),
    "outputs that are no table": ("bars.outputs = 3", "outputs: outputs is 3, wanted a table for each output"),
    "an output that is no table": ("bars.outputs.y = 3", "y: y is 3, wanted a table"),
    "latency that is no table": ("bars.latency = 3", "latency: latency is 3, wanted a table"),
    "bars of an unknown target": ("target_bars.onxn.factor = 3", "unknown key 'onxn' (did you mean 'onnx'?)"),
    "an unknown provider": ('provider = "cudnn"', "provider: unknown providers: 'cudnn' (did you mean 'cuda'?)"),
    "a provider that is no text": ("provider = 3", "provider: 3 is no list of providers"),
    "a provider of no target": ('provider = "cuda"', "provider: it is of onnxruntime, which is not among the model's"),
    "options that are no list": ('trt = "level=3"', "trt: 'level=3' is no list of options as --trt takes them"),
    "an unknown option of TensorRT": ('trt = ["levle=3"]', "--trt 'levle=3' is no KEY=VALUE that there is (did you"),
    "a wrong option of TensorRT": ('trt = ["level=9"]', "--trt 'level=9': wanted a number from 0 to 5"),
    "options of no target": (
        'trt = ["level=3"]',
        "trt: it is of tensorrt, which is not among the model's targets (onnx)",
    ),
    "a wrong optimum": ('opt = ["x"]', "opt: --input 'x' has no shape"),
    "an optimum that is free": ('opt = ["x:Nx3"]', "opt: --opt 'x:Nx3' is no shape"),
    "bars of a target that is not made": ("target_bars.tflite.factor = 3", "target_bars: 'tflite' is not among"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_what_is_wrong_is_named_with_its_place(fault: str, tmp_path: Path) -> None:
    line, told = WRONG[fault]
    found = problems(MINIMAL + line, tmp_path)
    assert any(told in text for text in found), found
    assert all(text.startswith("dlconv.toml:") for text in found)


WHOLE = {
    "no model": ("", "dlconv.toml: models: there is no model"),
    "no models, but defaults": ("[defaults]\ndraws = 1", "there is no model"),
    "an unknown table": (MINIMAL + "[model.x]", "dlconv.toml:4: unknown key 'model' (did you mean 'models'?)"),
    "a path for all": (MINIMAL + '[defaults]\npath = "x"', "dlconv.toml:5: [defaults] unknown key 'path'"),
    "an unknown key for all": (MINIMAL + "[defaults]\ndrwas = 1", "dlconv.toml:5: [defaults] unknown key 'drwas'"),
    "no path": ('[models.a]\ntargets = ["onnx"]', "dlconv.toml:1: [models.a] 'path' is missing"),
    "no targets": ('[models.a]\npath = "a"', "'targets' is missing"),
    "a model that is no table": ("models.a = 3", "the model 'a' is 3, wanted a table"),
    "models that are no table": ("models = 3", "models is 3, wanted a table"),
    "a name that leads elsewhere": ('[models."../a"]\npath = "a"\ntargets = ["onnx"]', "a plain file name"),
}


@pytest.mark.parametrize("fault", WHOLE)
def test_what_is_wrong_with_the_whole(fault: str, tmp_path: Path) -> None:
    text, told = WHOLE[fault]
    found = problems(text, tmp_path)
    assert any(told in line for line in found), found


def test_all_is_told_at_once(tmp_path: Path) -> None:
    names = ("an unknown key", "a number too small", "an old opset", "an unknown bar", "bars of an unknown target")
    wrong = "\n".join(WRONG[name][0] for name in names)
    found = problems(f"{MINIMAL}{wrong}\nbars.factor = 'x'\n[models.b]\npath = 1\n", tmp_path)
    assert len(found) == 8, found  # five, a bar, the wrong path, and the missing targets


@pytest.mark.parametrize(
    ("text", "told"),
    [("a = ", "is not TOML"), ("a = 1\na = 2", "is not TOML")],
)
def test_what_is_no_toml(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=told):
        read(text, tmp_path)


def test_what_is_no_text_or_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "dlconv.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(RequestError, match="cannot be read"):
        project.read(tmp_path / "dlconv.toml")
    with pytest.raises(RequestError, match="there is no project file"):
        project.read(tmp_path / "other.toml")
    (tmp_path / "pyproject.toml").write_text("[tool.other]")
    with pytest.raises(RequestError, match=r"has no table \[tool.dlconv\]"):
        project.read(tmp_path / "pyproject.toml")


def test_the_nearest_file_is_found(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("[tool.dlconv.models.x]")
    (tmp_path / "a" / "pyproject.toml").write_text("[tool.other]")
    assert project.find(below) == tmp_path / "pyproject.toml"
    (tmp_path / "a" / "dlconv.toml").write_text(MINIMAL)
    assert project.find(below) == project.find(tmp_path / "a") == tmp_path / "a" / "dlconv.toml"
    (tmp_path / "dlconv.toml").write_text(MINIMAL)
    with pytest.raises(RequestError, match="has both"):
        project.find(tmp_path)


def test_no_file_is_found(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"there is no dlconv\.toml") as caught:
        project.find(tmp_path)
    assert "dlconv init" in caught.value.mend


def test_lines_are_found() -> None:
    assert line_of(FULL, ("defaults", "bars", "outputs", "*", "min_cosine")) == 9
    assert line_of(FULL, ("models", "digits", "bars", "latency", "max_ratio")) == 27
    assert line_of(FULL, ("models", "b.v2")) == 31
    assert line_of("x = { y = { z = 1 } }\n", ("x", "y", "z")) == 1
    assert line_of(FULL, ("nothing",)) is None


def test_tables_are_joined_and_all_else_is_replaced() -> None:
    assert merged({"a": {"x": 1, "y": [1]}, "b": 1}, {"a": {"y": [2]}, "b": {"z": 1}}) == {
        "a": {"x": 1, "y": [2]},
        "b": {"z": 1},
    }


def test_the_schema_knows_the_same_keys() -> None:
    VALIDATOR.check_schema(SCHEMA)
    known = SCHEMA["$defs"]
    assert set(known["settings"]["properties"]) | {"path"} == set(KEYS)
    assert known["target"]["enum"] == list(TARGETS)
    bars = known["bars"]["properties"]
    assert set(bars) == {spec.name for spec in fields(Bars)}
    assert set(bars["outputs"]["additionalProperties"]["properties"]) == {spec.name for spec in fields(OutputBars)}
    assert set(bars["latency"]["properties"]) == {spec.name for spec in fields(LatencyBars)}


# What a JSON schema cannot say: it does not parse inputs, compare lists, or know of infinity.
BEYOND = {
    *("a wrong input", "a target that is not made", "allowed and required", "bars of a target that is not made"),
    *("a bar that is not finite", "a provider of no target", "an unknown option of TensorRT"),
    *("a wrong option of TensorRT", "options of no target", "an optimum that is free"),
}


@pytest.mark.parametrize("fault", [*WRONG, *WHOLE])
def test_the_schema_refuses_the_same(fault: str) -> None:
    text = MINIMAL + WRONG[fault][0] if fault in WRONG else WHOLE[fault][0]
    data: dict[str, Any] = tomllib.loads(text)
    assert bool(list(VALIDATOR.iter_errors(data))) == (fault not in BEYOND)


@pytest.mark.parametrize("text", [MINIMAL, FULL], ids=["minimal", "full"])
def test_the_schema_accepts_the_same(text: str) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(tomllib.loads(text))] == []
