"""The contract suites pass what is right, dlconv's own converters and runtimes first, and find what is not."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dlconv.asked.bars import Bars
from dlconv.candidate import RUNTIMES
from dlconv.convert.edges import GRAPH
from dlconv.model import Signature, TensorSpec
from dlconv.testing import check_converter, check_runtime, check_validator, evidence_of
from dlconv.validators.verdict import Check, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dlconv.validators.evidence import Evidence

SIGNATURE = Signature(
    (TensorSpec("image", "float32", ("batch", 1, 8, 8)),), (TensorSpec("probabilities", "float32", ("batch", 10)),)
)


@pytest.fixture(scope="module")
def samples(digits: Path) -> list[dict[str, Any]]:
    with np.load(digits / "samples.npz") as held:
        return [{"image": image[None]} for image in held["image"][:3]]


def edge(name: str) -> Any:
    return next(each for each in GRAPH.edges if each.name == name)


@pytest.mark.onnx
@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("onnx_to_onnx[onnxsim]", "onnx"),
        ("onnx_to_onnxruntime[all]", "onnxruntime"),
        pytest.param("onnx_to_openvino", "openvino", marks=pytest.mark.openvino),
    ],
)
def test_dlconvs_own_converters_and_runtimes_hold_it(
    digits: Path, samples: list[dict[str, Any]], name: str, target: str
) -> None:
    made = check_converter(edge(name), digits / "digits.onnx", SIGNATURE, samples, RUNTIMES[target])
    assert [spec.source_name for spec in made.signature.outputs] == ["probabilities"]


RUNTIME = """
from dlconv.runtimes import onnxruntime as real


def probe():
    return {PROBED}


class Session:
    def __init__(self, inner):
        self.inner, self.calls, self.first = inner, 0, None

    def run(self, inputs):
        self.calls += 1
        outputs = {ANSWER}
        return outputs

    def placement(self):
        return {PLACED}


def open(path, signature, settings):
    return Session(real.open(path, signature, settings))
"""
RIGHT = {
    "PROBED": '{"version": "1", "devices": ["CPU"]}',
    "ANSWER": "self.inner.run(inputs)",
    "PLACED": "self.inner.placement()",
}
FAULTS = {
    "no device is told": ("PROBED", '{"version": "1", "devices": []}', "version and devices"),
    "it remembers": ("ANSWER", "{k: v + self.calls for k, v in self.inner.run(inputs).items()}", "answered otherwise"),
    "one answer for all": ("ANSWER", "self.first = self.first or self.inner.run(inputs)", "the same answer"),
    "another name": ("ANSWER", "{'y': v for v in self.inner.run(inputs).values()}", "the outputs are"),
    "another dtype": ("ANSWER", "{k: v.astype('float64') for k, v in self.inner.run(inputs).items()}", "is float64"),
    "another shape": ("ANSWER", "{k: v[0] for k, v in self.inner.run(inputs).items()}", "has the shape"),
    "any name will do": (
        "ANSWER",
        "self.inner.run({'image': next(iter(inputs.values()))} if inputs else inputs)",
        "another name was answered",
    ),
    "any rank will do": (
        "ANSWER",
        "self.inner.run({k: v.reshape(-1, 1, 8, 8) for k, v in inputs.items()})",
        "another rank was answered",
    ),
    "no placement": ("PLACED", '{"device": "CPU"}', "tells no precision"),
}


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """Makes a module that workers of this interpreter can import; its name."""
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{':'.join(path for path in sys.path if path)}")

    def make(name: str, text: str) -> str:
        (tmp_path / f"{name}.py").write_text(text)
        return name

    return make


def runtime_text(**further: str) -> str:
    text = RUNTIME
    for key, value in (RIGHT | further).items():
        text = text.replace("{" + key + "}", value)
    return text


@pytest.mark.onnx
def test_a_right_runtime_passes(digits: Path, samples: list[dict[str, Any]], module: Callable[[str, str], str]) -> None:
    runtime = replace(RUNTIMES["onnx"], adapter=module("right_runtime", runtime_text()))
    check_runtime(runtime, digits / "digits.onnx", SIGNATURE, samples)


@pytest.mark.onnx
@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_runtime_is_found(
    digits: Path, samples: list[dict[str, Any]], module: Callable[[str, str], str], fault: str
) -> None:
    key, value, told = FAULTS[fault]
    runtime = replace(RUNTIMES["onnx"], adapter=module("wrong_runtime", runtime_text(**{key: value})))
    with pytest.raises(AssertionError, match=told):
        check_runtime(runtime, digits / "digits.onnx", SIGNATURE, samples)


CONVERTER = """
import shutil
from dataclasses import replace
from dlconv.convert.edge import Made


def convert(step):
    {CHECK}
    shutil.copy(step.source, step.out_dir / "model.onnx")
    {BESIDES}
    return Made({ENTRY}, {SIGNATURE})
"""
_CHECK = "__import__('onnx').checker.check_model(str(step.source))"
CONVERTER_FAULTS = {
    "beside the source": ({"BESIDES": "step.source.with_name('x').write_text('x')"}, "written beside it"),
    "the source is changed": ({"BESIDES": "step.source.open('ab').write(b'x')"}, "the source was changed"),
    "no file": ({"ENTRY": "'other.onnx'"}, "is not in out_dir"),
    "a file elsewhere": ({"ENTRY": "str(step.source)"}, "is not in out_dir"),
    "an output lost": ({"SIGNATURE": "replace(step.signature, outputs=())"}, "has no outputs"),
    "damage is passed on": ({"CHECK": "pass"}, "half of the source"),
}


@pytest.mark.onnx
@pytest.mark.parametrize("fault", [None, *CONVERTER_FAULTS])
def test_a_wrong_converter_is_found(
    digits: Path, samples: list[dict[str, Any]], module: Callable[[str, str], str], fault: str | None
) -> None:
    changes, told = ({}, "") if fault is None else CONVERTER_FAULTS[fault]
    text = CONVERTER
    right = {"CHECK": _CHECK, "BESIDES": "pass", "ENTRY": "'model.onnx'", "SIGNATURE": "step.signature"}
    for key, value in (right | changes).items():
        text = text.replace("{" + key + "}", value)
    converter = replace(edge("onnx_to_openvino"), module=module("some_converter", text), toolchain="onnx")
    if fault is None:
        check_converter(converter, digits / "digits.onnx", SIGNATURE, samples)
        return
    with pytest.raises(AssertionError, match=told):
        check_converter(converter, digits / "digits.onnx", SIGNATURE, samples)


def small(evidence: Evidence, bars: Bars) -> Iterator[Check]:
    for output in evidence.outputs:
        is_small = output.error <= 1e-6
        yield Check("small", Verdict("PASS") if is_small else Verdict("FAIL", ("large",)), output.name)


def blind(evidence: Evidence, bars: Bars) -> Iterator[Check]:
    yield Check("blind", Verdict("PASS"))


def nan_blind(evidence: Evidence, bars: Bars) -> Iterator[Check]:
    for output in evidence.outputs:
        yield Check("x", Verdict("FAIL", ("large",)) if output.error > 1e-6 else Verdict("PASS"), output.name)


def dumb(evidence: Evidence, bars: Bars) -> Iterator[Check]:
    yield Check("x", Verdict("PASS") if evidence.outputs[0].error <= 1e-6 else Verdict("FAIL"))


def test_validators_are_held_to_their_contract() -> None:
    passing, failing = evidence_of(1e-7), evidence_of(1e-2)
    check_validator(small, passing, failing, Bars())
    faults = ((blind, "has to find passes"), (nan_blind, "NaN pass"), (dumb, "has reasons"))
    for validator, told in faults:
        with pytest.raises(AssertionError, match=told):
            check_validator(validator, passing, failing, Bars())
