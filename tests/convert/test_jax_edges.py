"""Both edges from an exported JAX program, and its adapter: names, order, dtypes, free sizes and JAX's own answers."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dlconv.convert.edge import Made, Step
from dlconv.errors import DlconvError, FormatError, SignatureError, Unsupported
from dlconv.model import Signature
from dlconv.workers import toolchains
from dlconv.workers.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlconv.runtimes.base import Tensors

pytestmark = [pytest.mark.jax, pytest.mark.onnx]

SIGNATURES = {
    "mlp": "x:bx8:float32 -> output:bx4:float32",
    "mlp_fixed": "x:3x8:float32 -> output:3x4:float32",
    "cnn": "image:bx12x12x1:float32 -> features:bx3x3x16:float32 logits:bx10:float32",
    "depthwise": "image:2x6x9x9:float32 -> output:2x5:float32",
    "transformer": "tokens:2x12:int32 -> output:2x12x16:float32",
    "transformer_free": "tokens:bx12:int32 -> output:bx12x16:float32",
    "lstm": "series:2x7x4:float32 -> class:2x3:float32 states:2x7x8:float32",
    "lstm_free": "series:bx7x4:float32 -> class:bx3:float32 states:bx7x8:float32",
    "chosen": "x:4x6:float32 -> best:4:int32 order:4x6:float32 places:4x3:int32 sum:4x6:float32 values:4x3:float32",
    "branches": "x:2x5:float32 -> " + " ".join(f"output_{place}:2x5:float32" for place in range(4)),
    "params": "params.b.c:3:float32 params.w:4x3:float32 x:bx4:float32 unused:2:float32 "
    "-> output_0:bx3:float32 output_1:bx4:float32",
    "from_four": "x:bx3:float32 -> output:3:float32",
    "noise": "seed:scalar:uint32 x:4:float32 -> output:4:float32",
}
FIXED = {("from_four", "onnx")}
"""Where a free size does not stay free, which a note tells."""
NO_EDGE = {("noise", "onnx"): "jax2onnx writes BitCast"}
REFUSED: dict[str, tuple[type[DlconvError], str, str]] = {
    "complex.jax": (Unsupported, "output is complex64", "x.real"),
    "dependent.jax": (SignatureError, "axis 0 of y is 2*b", "with numbers in place of names"),
    "key.jax": (Unsupported, "key of random numbers", "dropout off"),
    "pair.jax": (Unsupported, "tests.Pair", "export a function"),
    "tpu.jax": (Unsupported, "for tpu alone", "platforms"),
    "bare.mlirbc": (FormatError, "cannot be read as an exported JAX program", "export it again"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    located = toolchains.locate(toolchains.get("jax"))
    assert isinstance(located, toolchains.Located)
    made = tmp_path_factory.mktemp("jax")
    script = Path(__file__).with_name("jax_models.py")
    done = subprocess.run([located.interpreter, script, made], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    located = toolchains.locate(toolchains.get("jax"))
    assert isinstance(located, toolchains.Located)
    log = tmp_path_factory.mktemp("logs") / "jax.log"
    with Worker(located.interpreter, "jax", log, timeout_s=200) as made:
        yield made


class Bench:
    """The programs, studied and answered by JAX; each once."""

    def __init__(self, folder: Path, worker: Worker) -> None:
        self.folder = folder
        self.worker = worker
        self.studied = cache(self._studied)

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.jax"

    def _studied(self, name: str) -> Signature:
        found = self.worker.call("dlconv.convert.jax_signature:read", what="reading", path=str(self.path(name)))
        return Signature.from_dict(found["signature"])

    def sample(self, name: str, free: int, seed: int = 1) -> Tensors:
        rng = np.random.default_rng(seed)
        made: Tensors = {}
        for spec in self.studied(name).inputs:
            shape = [free if isinstance(size, str) else size for size in spec.shape or ()]
            drawn = rng.integers(0, 9, shape) if "int" in spec.dtype else rng.standard_normal(shape)
            made[spec.name] = np.asarray(drawn, dtype=spec.dtype)
        return made

    def answers(self, runtime: str, path: Path, signature: Signature, samples: list[Tensors], **settings: Any) -> Any:
        got = self.worker.call(
            "dlconv.workers.tasks:answer",
            what="answering",
            runtime=f"dlconv.runtimes.{runtime}",
            path=str(path),
            signature=signature.to_dict(),
            settings=settings,
            samples=samples,
        )
        assert not any(got["errors"]), got["errors"]
        return got["outputs"]

    def converted(self, name: str, end: str, out_dir: Path) -> Made:
        step = Step(self.path(name), out_dir, self.studied(name), self.sample(name, 5))
        done = self.worker.call(
            "dlconv.workers.tasks:run_edge", what=end, module=f"dlconv.convert.jax_to_{end}", step=step.to_dict()
        )
        return Made.from_dict(done["made"])


@pytest.fixture(scope="module")
def bench(folder: Path, worker: Worker) -> Bench:
    return Bench(folder, worker)


def told(signature: Signature) -> str:
    return " -> ".join(" ".join(map(_spec, side)) for side in (signature.inputs, signature.outputs))


def _spec(spec: Any) -> str:
    return f"{spec.name}:{'x'.join(map(str, spec.shape)) or 'scalar'}:{spec.dtype}"


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_program_is_studied(bench: Bench, name: str) -> None:
    assert told(bench.studied(name)) == SIGNATURES[name]


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_a_source_is_refused_with_the_way_out(bench: Bench, name: str) -> None:
    kind, met, mend = REFUSED[name]
    with pytest.raises(kind) as refused:
        bench.worker.call("dlconv.convert.jax_signature:read", what="reading", path=str(bench.folder / name))
    assert met in refused.value.met
    assert mend in refused.value.mend


@pytest.mark.parametrize("name", [name for name in SIGNATURES if name != "noise"])
def test_float64_lies_within_float32s_rounding(bench: Bench, name: str) -> None:
    samples = [bench.sample(name, size) for size in (5, 7)]
    single = bench.answers("jax", bench.path(name), bench.studied(name), samples)
    double = bench.answers("jax", bench.path(name), bench.studied(name), samples, double=True)
    floors = []
    for one, other in zip(single, double, strict=True):
        assert list(one) == list(other) == [spec.name for spec in bench.studied(name).outputs]
        for output, array in one.items():
            if array.dtype.kind != "f":
                assert np.array_equal(array, other[output])
                continue
            assert (array.dtype, other[output].dtype) == (np.float32, np.float64)
            floors.append(np.abs(array - other[output]).max() / np.abs(other[output]).max())
    # Float64 that is float32 again would lie at nothing.
    assert 0 < max(floors) < 1e-5


@pytest.mark.parametrize("end", ["onnx", "saved_model"])
@pytest.mark.parametrize("name", SIGNATURES)
def test_what_an_edge_makes_is_the_program(bench: Bench, tmp_path: Path, name: str, end: str) -> None:
    if (name, end) in NO_EDGE:
        with pytest.raises(Unsupported, match=NO_EDGE[name, end]):
            bench.converted(name, end, tmp_path)
        return
    source = bench.studied(name)
    made = bench.converted(name, end, tmp_path)
    is_fixed = (name, end) in FIXED
    assert is_fixed == any("cannot stay free" in note for note in made.notes), made.notes
    for before, after in ((source.inputs, made.signature.inputs), (source.outputs, made.signature.outputs)):
        assert [spec.source_name for spec in after] == [spec.name for spec in before]
        assert [spec.dtype for spec in after] == [spec.dtype for spec in before]
        assert is_fixed or [spec.shape for spec in after] == [spec.shape for spec in before]
    samples = [bench.sample(name, size, seed) for seed, size in enumerate((5,) if is_fixed else (5, 7, 4))]
    wanted = bench.answers("jax", bench.path(name), source, samples)
    given = [{spec.name: sample[spec.source_name] for spec in made.signature.inputs} for sample in samples]
    path = tmp_path / made.entry
    got = _onnx(path, given) if end == "onnx" else bench.answers("tensorflow", path, made.signature, given)
    names = {spec.name: spec.source_name for spec in made.signature.outputs}
    for right, found in zip(wanted, got, strict=True):
        assert [names[output] for output in found] == list(right)
        for output, array in found.items():
            reference = right[names[output]]
            assert (array.dtype, array.shape) == (reference.dtype, reference.shape)
            np.testing.assert_allclose(array, reference, rtol=2e-5, atol=2e-6)


def _onnx(path: Path, samples: list[Tensors]) -> list[Tensors]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return [dict(zip(names, session.run(names, sample), strict=True)) for sample in samples]


def test_a_truncated_file_is_told(bench: Bench, tmp_path: Path) -> None:
    whole = bench.path("mlp").read_bytes()
    path = tmp_path / "half.jax"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError, match="cannot be read as an exported JAX program"):
        bench.worker.call("dlconv.convert.jax_signature:read", what="reading", path=str(path))


def test_bfloat16_is_told(bench: Bench) -> None:
    assert told(bench.studied("half")) == "x:4x4:bfloat16 -> output:4x4:bfloat16"
