"""Options of runtimes: what is found, what is refused, and that each runtime takes what it is told."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from dlconv.asked.runtime_options import OPTIONS, find, known, refusal
from dlconv.errors import RequestError
from dlconv.model import Signature, TensorSpec


def test_what_a_runtime_does_not_have_is_refused_with_what_it_has() -> None:
    assert find("tflite", "xnnpack=off").settings == {"xnnpack": False}
    with pytest.raises(RequestError, match="tflite has no option 'pinning=off'") as told:
        find("tflite", "pinning=off")
    assert "xnnpack=off" in str(told.value.wanted)
    with pytest.raises(RequestError, match="tensorrt has no option") as told:
        find("tensorrt", "xnnpack=off")
    assert "openvino" in str(told.value.wanted)
    assert len(set(known())) == len(known()) == sum(map(len, OPTIONS.values()))


def test_an_option_that_was_not_taken_is_told() -> None:
    assert refusal("tflite", "xnnpack=off", {"delegate": "none"}) == ""
    assert "delegate is 'XNNPACK'" in refusal("tflite", "xnnpack=off", {"delegate": "XNNPACK"})
    assert "pinning is None" in refusal("openvino", "pinning=off", {})


def test_how_a_program_says_it_names_the_threads() -> None:
    told = {text: option.how.format(threads=3) for each in OPTIONS.values() for text, option in each.items()}
    assert told["execution=parallel"].endswith("inter_op_num_threads = 3")
    assert told["pinning=off"] == 'compile_model(..., {"ENABLE_CPU_PINNING": False})'
    assert told["optimisation=none"].endswith("ORT_DISABLE_ALL") and told["optimisation=basic"].endswith("ENABLE_BASIC")


@pytest.mark.onnx
@pytest.mark.openvino
@pytest.mark.parametrize(
    ("runtime", "text"), [(name, text) for name in ("onnxruntime", "openvino") for text in OPTIONS[name]]
)
def test_a_runtime_says_that_it_took_an_option(runtime: str, text: str, digits: Path) -> None:
    """And that it has another value without: else the option would be its default, or be told whatever ran."""
    adapter = import_module(f"dlconv.runtimes.{runtime}")
    spec = TensorSpec("image", "float32", ("batch", 1, 8, 8))
    signature = Signature((spec,), (TensorSpec("probabilities", "float32", None),))
    option = find(runtime, text)
    taken, plain = (
        adapter.open(digits / "digits.onnx", signature, {"threads": 2, "trace": False, **settings}).placement()
        for settings in (option.settings, {})
    )
    assert refusal(runtime, text, taken) == ""
    assert text == "optimisation=all" or refusal(runtime, text, plain)
