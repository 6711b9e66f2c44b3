"""Contract suites: what every runtime, converter and validator holds, those of plugins too. AssertionError says what
does not.

Runtimes and converters are run in a worker of their toolchain, as dlconv runs them. dlconv's own pass the same suites.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.convert.edge import Made, Step
from dlconv.errors import DlconvError
from dlconv.model import digest_of, files_of
from dlconv.validators.evidence import Evidence, OutputEvidence
from dlconv.validators.pairing import to_artifact
from dlconv.validators.verdict import Check
from dlconv.workers import toolchains
from dlconv.workers.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dlconv.asked.bars import Bars
    from dlconv.candidate import TargetRuntime
    from dlconv.convert.graph import Converter
    from dlconv.model import Signature, TensorSpec
    from dlconv.samples import Sample

_RTOL = 1e-5
"""How far two runs of one sample may lie apart."""


def check_runtime(runtime: TargetRuntime, artifact: Path, signature: Signature, samples: Sequence[Sample]) -> None:
    """The contract of `dlconv.runtimes.base`.

    artifact: one that the runtime opens, with its own signature. samples: at least two, under the artifact's names,
    whose answers differ. Raises AssertionError, and ToolchainMissing where its toolchain is not here.
    """
    _true(len(samples) >= 2, "two samples are needed to see that an answer belongs to its sample")
    with _worker(runtime.toolchain) as worker:
        probed = worker.call(f"{runtime.adapter}:probe")
        _true(
            bool(probed.get("version")) and bool(probed.get("devices")), f"probe() told {probed}: version and devices"
        )
        told = _answer(worker, runtime, artifact, signature, samples)
        _true(not any(told["errors"]), f"a sample was not answered: {told['errors']}")
        for outputs, again in zip(told["outputs"], told["again"], strict=True):
            _check_outputs(outputs, signature)
            for name, array in outputs.items():
                _true(_alike(array, again[name]), f"{name}: another run of the same sample answered otherwise")
        first, *others = told["outputs"]
        _true(
            any(not _alike(each[name], first[name]) for each in others for name in each),
            "every sample has the same answer: samples that differ were not told apart, or these cannot be",
        )
        for key in ("device", "precision"):
            _true(isinstance(told["placement"].get(key), str), f"placement() tells no {key}: {told['placement']}")
        json.dumps(told["placement"])
        for name, sample in _wrong(samples[0]).items():
            met = _answer(worker, runtime, artifact, signature, [sample])["errors"]
            _true(all(met), f"{name} was answered: it has to be refused")


def _answer(
    worker: Worker, runtime: TargetRuntime, artifact: Path, signature: Signature, samples: Sequence[Sample]
) -> dict[str, Any]:
    settings = {**runtime.settings, "threads": 1}
    told: dict[str, Any] = worker.call(
        "dlconv.workers.tasks:answer",
        runtime=runtime.adapter,
        path=str(artifact),
        signature=signature.to_dict(),
        settings=settings,
        samples=list(samples),
        twice=True,
    )
    return told


def _check_outputs(outputs: Sample, signature: Signature) -> None:
    wanted = [spec.name for spec in signature.outputs]
    _true(sorted(outputs) == sorted(wanted), f"the outputs are {sorted(outputs)}, the signature's {sorted(wanted)}")
    for spec in signature.outputs:
        array = outputs[spec.name]
        _true(array.dtype.name == spec.dtype, f"{spec.name} is {array.dtype.name}, the signature's {spec.dtype}")
        _true(_fits(array, spec), f"{spec.name} has the shape {list(array.shape)}, the signature's {spec.shape}")


def _fits(array: np.ndarray[Any, Any], spec: TensorSpec) -> bool:
    if spec.shape is None:
        return True
    sizes = zip(spec.shape, array.shape, strict=False)
    return len(spec.shape) == array.ndim and all(dim == size for dim, size in sizes if isinstance(dim, int))


def _alike(one: np.ndarray[Any, Any], two: np.ndarray[Any, Any]) -> bool:
    if one.shape != two.shape or one.dtype != two.dtype:
        return False
    if one.dtype.kind not in "fc":
        return bool(np.array_equal(one, two))
    return bool(np.allclose(one, two, rtol=_RTOL, atol=_RTOL * float(np.abs(one).max(initial=0)), equal_nan=True))


def _wrong(sample: Sample) -> dict[str, Sample]:
    name, array = next(iter(sample.items()))
    return {
        "a sample without an input": {key: value for key, value in sample.items() if key != name},
        "an input of another name": {
            f"{name}-stranger" if key == name else key: value for key, value in sample.items()
        },
        "an input of another rank": {**sample, name: array[None, None]},
    }


def check_converter(
    converter: Converter,
    source: Path,
    signature: Signature,
    samples: Sequence[Sample],
    runtime: TargetRuntime | None = None,
    *,
    trust: bool = False,
) -> Made:
    """The contract of `dlconv.convert.edge`; what it made of the source, told without its files.

    source: a model at the converter's own stage, with its signature. samples: at least two, under the source's names.
    runtime: what runs the result; then that is held to `check_runtime`. trust: the source may run code of its own.
    """
    with _worker(converter.toolchain) as worker, tempfile.TemporaryDirectory() as scratch:
        place, out_dir = Path(scratch, "source"), Path(scratch, "out")
        place.mkdir()
        out_dir.mkdir()
        here = place / source.name
        _ = shutil.copytree(source, here) if source.is_dir() else shutil.copyfile(source, here)
        before = {path: digest_of(path) for path in files_of(place)}
        step = Step(here, out_dir, signature, dict(samples[0]), dict(converter.settings), trust)
        made = Made.from_dict(_run(worker, converter, step)["made"])
        after = {path: digest_of(path) for path in files_of(place)}
        _true(before == after, "the source was changed, or something was written beside it")
        entry = (out_dir / made.entry).resolve()
        _true(entry.exists() and entry.is_relative_to(out_dir.resolve()), f"the entry {made.entry} is not in out_dir")
        _check_made(made, signature)
        if runtime is not None:
            check_runtime(runtime, entry, made.signature, [to_artifact(sample, made.signature) for sample in samples])
        if here.is_file():
            _check_damaged(worker, converter, step)
    return made


def _run(worker: Worker, converter: Converter, step: Step) -> dict[str, Any]:
    told: dict[str, Any] = worker.call(
        "dlconv.workers.tasks:run_edge", what=converter.name, module=converter.module, step=step.to_dict()
    )
    return told


def _check_made(made: Made, signature: Signature) -> None:
    _true(bool(made.signature.outputs), "the made signature has no outputs")
    for kind in ("inputs", "outputs"):
        given: tuple[TensorSpec, ...] = getattr(signature, kind)
        got: tuple[TensorSpec, ...] = getattr(made.signature, kind)
        names = [spec.name for spec in got]
        _true(len(set(names)) == len(names), f"two {kind} have one name: {names}")
        known = {spec.source_name for spec in given}
        strange = [spec.source_name for spec in got if known and spec.source_name not in known]
        _true(not strange, f"{kind} that the source does not have: {', '.join(strange)}")
    lost = {spec.source_name for spec in signature.outputs} - {spec.source_name for spec in made.signature.outputs}
    _true(not lost, f"outputs were lost: {', '.join(sorted(lost))}")


def _check_damaged(worker: Worker, converter: Converter, step: Step) -> None:
    """Half of a file is no model: what is made of it without a word would be judged by its looks."""
    data = step.source.read_bytes()
    step.source.write_bytes(data[: len(data) // 2])
    again = step.out_dir.with_name("again")
    again.mkdir()
    try:
        _run(worker, converter, replace(step, out_dir=again))
    except DlconvError:
        return
    raise AssertionError("half of the source's file was converted: a damaged source has to be refused")


def check_validator(
    validator: Callable[[Evidence, Bars], Iterable[Any]], passing: Evidence, failing: Evidence, bars: Bars
) -> None:
    """The contract of a validator: pure, and never a PASS for what is not a number.

    passing and failing: evidence that it has to let pass, and not (`evidence_of` makes some).
    """
    for evidence in (passing, failing):
        one, two = (tuple(validator(evidence, bars)) for _ in range(2))
        _true(one == two, "the same evidence was answered otherwise the second time")
        _true(all(isinstance(check, Check) for check in one), f"it answers {one}, wanted Checks")
        for check in one:
            json.dumps(check.to_dict())
            told = bool(check.verdict.reasons) == (check.verdict.word != "PASS")
            _true(told, f"{check.title}: a verdict has reasons where it is not PASS, and there alone")
    words = {check.verdict.word for check in validator(passing, bars)}
    _true(words == {"PASS"}, f"what it has to let pass is {', '.join(sorted(words)) or 'not answered'}")
    words = {check.verdict.word for check in validator(failing, bars)}
    _true(bool(words - {"PASS"}), "what it has to find passes")
    numbers = ("error", "rms_error", "sqnr_db", "cosine", "max_ulp", "top1", "top5")
    unknown: dict[str, Any] = dict.fromkeys(numbers, float("nan"))
    nan = replace(passing, outputs=tuple(replace(each, **unknown) for each in passing.outputs))
    words = {check.verdict.word for check in validator(nan, bars)}
    _true(bool(words - {"PASS"}), "errors that are NaN pass")


def evidence_of(error: float, **figures: Any) -> Evidence:
    """Evidence of one float32 output with this error, relative to its scale of 1, and further figures of it."""
    known: dict[str, Any] = {
        "elements": 100,
        "scale": 1.0,
        "floor": 1e-7,
        "rms_error": error / 3,
        "sqnr_db": 120.0,
        "cosine": 1.0,
        "max_ulp": 4.0,
        "top1": 1.0,
        "top5": 1.0,
    }
    output = OutputEvidence("y", "float32", "float", error=error, **(known | figures))
    return Evidence((output,), 8, 40.0, controls={"a NaN in y": True})


@contextmanager
def _worker(toolchain: str) -> Iterator[Worker]:
    where = toolchains.locate(toolchains.get(toolchain))
    if isinstance(where, toolchains.Missing):
        raise where.error()
    with tempfile.TemporaryDirectory() as folder, Worker(where.interpreter, toolchain, Path(folder, "log")) as worker:
        yield worker


def _true(holds: bool, told: str) -> None:
    """An assertion that python -O keeps."""
    if not holds:
        raise AssertionError(told)
