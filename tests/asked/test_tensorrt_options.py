"""`--trt KEY=VALUE` is typed and closed; ranges and optima become the profiles that a plan is built for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlconv.asked.inputs import parse_input, parse_optima, ranges_of
from dlconv.asked.options import ExportOptions
from dlconv.asked.sizes import RangedDim
from dlconv.asked.tensorrt_options import KEYS, TensorRTOptions, parse_options
from dlconv.errors import RequestError, SamplesError
from dlconv.making import tensorrt_asked
from dlconv.model import Signature, TensorSpec
from dlconv.reference.source import _at_other_sizes, _other_sizes, _require_within
from dlconv.samples import SampleSet, sizes_of

SIGNATURE = Signature((TensorSpec("x", "float32", ("N", 3, "W")), TensorSpec("t", "float32", (2,))))
TURNED = Signature((TensorSpec("x", "float32", ("N", "W", 3), permutation=(0, 2, 1)), SIGNATURE.inputs[1]))


def sample(*shape: int) -> dict[str, Any]:
    return {"x": np.zeros(shape, np.float32), "t": np.zeros(2, np.float32)}


def test_every_key_is_read_as_what_it_is(tmp_path: Path) -> None:
    library = tmp_path / "libplugin.so"
    library.touch()
    said = {
        "workspace": "2GiB", "level": "5", "tf32": "on", "timing-cache": "off", "version-compatible": "yes",
        "hardware": "ampere-plus", "refit": "true", "strip": "on", "weight-streaming": "on",
        "external-tactics": "off", "cuda-graph": "on", "dla": "1", "gpu-fallback": "on", "plugin": str(library),
    }  # fmt: skip
    assert said.keys() == KEYS.keys()
    made = parse_options(tuple(f"{key}={value}" for key, value in said.items()))
    assert made == TensorRTOptions(
        2 << 30, 5, True, False, True, "ampere-plus", True, True, True, False, True, 1, True, (library.absolute(),)
    )
    assert made.to_dict()["plugins"] == ["libplugin.so"] and "timing_cache" in made.to_dict()
    assert parse_options(()).to_dict() == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("levl=3", "did you mean level"),
        ("level", "is no KEY=VALUE"),
        ("level=6", "a number from 0 to 5"),
        ("level=-1", "a number from 0 to 5"),
        ("tf32=1", "on or off"),
        ("workspace=much", "a size"),
        ("hardware=all", "ampere-plus or"),
        ("plugin=none.so", "a file that is there"),
        ("gpu-fallback=on", "dla=0 names its core"),
    ],
)
def test_a_word_that_is_not_understood_is_told_with_what_would_be(text: str, says: str) -> None:
    with pytest.raises(RequestError) as refused:
        parse_options((text, "strip=on"))
    assert says in refused.value.problems[0]


def test_what_is_said_twice_and_of_no_target_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="cannot be read") as refused:
        parse_options(("level=1", "level=2", "tf32=maybe"))
    assert len(refused.value.problems) == 2
    for more in ({"tensorrt": TensorRTOptions(level=1)}, {"optima": parse_optima(("x:1x3",))}):
        with pytest.raises(RequestError) as refused:
            ExportOptions(("onnx",), tmp_path, **more)  # type: ignore[arg-type]
        assert "tensorrt is no target" in refused.value.problems[0]
        ExportOptions(("tensorrt",), tmp_path, **more)  # type: ignore[arg-type]


def test_what_is_asked_is_in_the_digest_of_the_request(tmp_path: Path) -> None:
    def digest(range_: str = "x:1..8x3", *trt: str, opt: tuple[str, ...] = ()) -> str:
        spec = parse_input(range_)
        assert isinstance(spec, TensorSpec)
        optima = parse_optima(opt)
        asked = ExportOptions(("tensorrt",), tmp_path, (spec,), tensorrt=parse_options(trt), optima=optima)
        return asked.request_digest()

    all_ = [digest(), digest("x:N=1..8x3"), digest("x:N=1..9x3"), digest("x:1..8x3", "level=2"), digest(opt=("x:2x3",))]
    assert len(set(all_)) == len(all_)


def test_a_range_is_a_free_size_with_ends() -> None:
    spec = parse_input("x:1..32x3xW:float16")
    assert isinstance(spec, TensorSpec) and spec.dtype == "float16"
    assert spec.shape == ("from_1_to_32", 3, "W") and ranges_of((spec,)) == {"from_1_to_32": (1, 32)}
    named = parse_input("ids:1xS=2..512:int64")
    assert isinstance(named, TensorSpec) and named.shape == (1, "S") and ranges_of((named,)) == {"S": (2, 512)}
    assert parse_input(str(named)) == named, "what is printed is read again"
    for text in ("x:8..1x3", "x:0..4x3", "x:1...4", "x:..4"):
        with pytest.raises(RequestError, match="--input"):
            parse_input(text)
    assert RangedDim.of("32") is None and RangedDim.of("N") is None


def test_a_model_is_proved_at_the_ends_of_its_range() -> None:
    chosen = SampleSet((sample(2, 3, 5),), "user")
    others = _other_sizes(sizes_of(SIGNATURE, chosen.samples), {"N": (1, 32)})
    made = (*chosen.samples, *_at_other_sizes(chosen, SIGNATURE, 0, {}, {}, others))
    assert [each["x"].shape for each in made] == [(2, 3, 5), (1, 3, 1), (32, 3, 7)]
    _require_within(SIGNATURE, made, {"N": (1, 32)})
    with pytest.raises(SamplesError) as refused:
        _require_within(SIGNATURE, made, {"N": (1, 31), "W": (1, 5)})
    assert refused.value.problems == (
        "sample 2: axis 0 of x is 32, not from 1 to 31",
        "sample 2: axis 2 of x is 7, not from 1 to 5",
    )


def test_profiles_take_every_sample_and_an_optimum_each() -> None:
    samples = (sample(2, 3, 5), sample(1, 3, 1), sample(32, 3, 7))
    assert tensorrt_asked.profiles(SIGNATURE, samples, ()) == [{"x": [[1, 3, 1], [2, 3, 5], [32, 3, 7]]}]
    optima = parse_optima(("x:8x3x4", "x:32x3x7"))
    assert tensorrt_asked.profiles(TURNED, samples, optima) == [
        {"x": [[1, 1, 3], [8, 4, 3], [32, 7, 3]]},
        {"x": [[1, 1, 3], [32, 7, 3], [32, 7, 3]]},
    ]
    fixed = Signature((TensorSpec("x", "float32", (2, 3, 5)), SIGNATURE.inputs[1]))
    assert tensorrt_asked.profiles(fixed, samples[:1], ()) == []


def test_values_that_may_decide_shapes_have_a_range() -> None:
    inputs = (*SIGNATURE.inputs, TensorSpec("size", "int64", (2,)), TensorSpec("k", "int32", ()))
    given = (([4, 9], 1), ([8, 2], 5))
    samples = tuple({**sample(2, 3, 5), "size": np.array(size), "k": np.array(k, np.int32)} for size, k in given)
    assert tensorrt_asked.values(Signature(inputs), samples) == {"size": [[4, 2], [4, 9], [8, 9]], "k": [[1], [1], [5]]}


@pytest.mark.parametrize(
    ("opt", "says"), [("x:33x3x1", "not from"), ("x:8x3", "not from"), ("t:2", "no input with a free")]
)
def test_an_optimum_out_of_the_range_is_refused(opt: str, says: str) -> None:
    with pytest.raises(RequestError) as refused:
        tensorrt_asked.profiles(SIGNATURE, (sample(2, 3, 5), sample(32, 3, 7)), parse_optima((opt,)))
    assert says in refused.value.problems[0]


@pytest.mark.parametrize("text", ["x:Nx3", "x=3", "x:1x3:int64"])
def test_an_optimum_is_sizes(text: str) -> None:
    with pytest.raises(RequestError, match="--opt"):
        parse_optima((text,))
