"""A SavedModel to TFLite by TensorFlow's own converter: freest sizes first, each proved by running the file."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.convert.edge import Made
from dlconv.errors import StepError, Unsupported, cause_of, is_out_of_memory
from dlconv.model import Dim, Signature, TensorSpec
from dlconv.runtimes import tflite
from dlconv.runtimes.tensorflow_import import tensorflow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dlconv.runtimes.base import Tensors
    from dlconv.runtimes.tensorflow_program import Program

ENTRY = "model.tflite"
_GROWTHS = ((1, 1), (2, 0), (1, 8), (3, 0), (4, 0), (1, 2), (8, 0))
"""Other sizes, as times and plus: one more, twice, eight more, ..."""
_LACKS = re.compile(r"(?:TF Select ops|Custom ops|Flex ops): ([\w, .]+)")
_ILLEGAL = re.compile(r"'tf\.(\w+)' (?:op is neither a custom op nor a flex op|that was explicitly marked illegal)")

Shapes = dict[str, tuple[Dim, ...]]


@dataclass(frozen=True)
class Saved:
    """A SavedModel to be converted: its folder, the key of its signature, and the model opened, to be asked.

    sized: saves the same model at these sizes in a folder, of which it gives the place; without, the SavedModel is
    called at these sizes, which those of its functions that were traced before do not learn.
    """

    folder: Path
    key: str
    program: Program
    sized: Callable[[Shapes, Path], Path] | None = None


def convert(saved: Saved, signature: Signature, sample: Tensors, out_dir: Path) -> Made:
    """The TFLite model, "model.tflite", its inputs and outputs by the signature's names.

    Free dimensions stay free where the file answers as the source does at another size; else they are frozen to the
    sample's, the batch the last of them, and a note says so.
    Raises Unsupported for operators that TFLite's own do not cover, each named.
    """
    reasons: list[str] = []
    attempts = list(_attempts(signature, sample))
    for number, (kept, shapes) in enumerate(attempts):
        try:
            made = _attempted(saved, signature, sample, shapes, kept, out_dir)
        except Exception as error:  # whatever the trouble with a free size is, a later attempt has less of it
            if number == len(attempts) - 1 or is_out_of_memory(error):
                raise
            reasons.append(f"{', '.join(sorted(kept))} cannot stay free: {cause_of(str(error) or repr(error))}")
        else:
            return replace(made, notes=(*reasons, *made.notes))
    raise StepError("no attempt was made")


def _attempts(signature: Signature, sample: Tensors) -> Iterator[tuple[set[str], Shapes]]:
    """Freest first: all free dimensions, the inputs' first axes' alone (the batch), none."""
    first = {spec.shape[0] for spec in signature.inputs if spec.shape}
    names = {dim for spec in signature.inputs for dim in spec.shape or () if isinstance(dim, str)}
    choices = [names, names & first, set[str]()]
    for kept in [choice for place, choice in enumerate(choices) if choice not in choices[:place]]:
        yield (
            kept,
            {
                spec.name: tuple(
                    dim if dim in kept else size
                    for dim, size in zip(spec.shape or sample[spec.name].shape, sample[spec.name].shape, strict=True)
                )
                for spec in signature.inputs
            },
        )


def _attempted(
    saved: Saved, signature: Signature, sample: Tensors, shapes: Shapes, kept: set[str], out_dir: Path
) -> Made:
    proofs = [(sample, saved.program.call(sample))]
    if kept:
        proofs.append(_other(saved.program, sample, shapes))
    path = out_dir / ENTRY
    is_own = all(spec.shape == shapes[spec.name] for spec in signature.inputs)
    apart = out_dir / "sized"
    try:
        folder = saved.folder if is_own else (saved.sized or _calling(saved, signature))(shapes, apart)
        path.write_bytes(_converted(folder, saved.key))
    finally:
        shutil.rmtree(apart, ignore_errors=True)
    session = tflite.TfliteSession(path, threads=1)
    answers = [_proved(session, fed, wanted) for fed, wanted in proofs]
    refused = session.placement().get("delegate_refused", "")
    told: tuple[str, ...] = (
        (f"runs without the XNNPACK delegate alone, which refuses the model: {refused}",) if refused else ()
    )
    inputs = tuple(
        replace(spec, dtype=np.dtype(session.inputs[spec.name]["dtype"]).name, shape=shapes[spec.name])
        for spec in signature.inputs
        if spec.name in session.inputs
    )
    dropped = [spec.name for spec in signature.inputs if spec.name not in session.inputs]
    told += tuple(f"the input {name} has no effect on any output, and the converter left it out" for name in dropped)
    outputs = tuple(_as_answered(spec, [answer[spec.name] for answer in answers]) for spec in signature.outputs)
    return Made(ENTRY, Signature(inputs, outputs), told)


def _converted(folder: Path, key: str) -> bytes:
    tf = tensorflow()
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=[key])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    try:
        content: bytes = converter.convert()
    except Exception as error:
        lacking = sorted(
            {name.strip() for found in _LACKS.findall(str(error)) for name in found.split(",")}
            | set(_ILLEGAL.findall(str(error)))
        )
        if not lacking:
            raise
        raise Unsupported(
            f"TFLite's own operators do not cover: {', '.join(lacking)}",
            wanted="a model that runs without TensorFlow's operators (Select TF), which TFLite's runtimes do not have",
            mend="another route may take them (dlconv plan shows all); or give the part of the model without them",
            problems=tuple(lacking),
        ) from error
    return content


def _calling(saved: Saved, signature: Signature) -> Callable[[Shapes, Path], Path]:
    def sized(shapes: Shapes, folder: Path) -> Path:
        tf = tensorflow()
        loaded = tf.saved_model.load(str(saved.folder))
        inner = loaded.signatures[saved.key]
        wanted = {
            spec.name: tf.TensorSpec(
                [size if isinstance(size, int) else None for size in shapes[spec.name]], spec.dtype, name=spec.name
            )
            for spec in signature.inputs
        }
        module = tf.Module()
        module.loaded = loaded
        call = tf.function(lambda **given: inner(**given), autograph=False).get_concrete_function(**wanted)
        tf.saved_model.save(module, str(folder), signatures={saved.key: call})
        return folder

    return sized


def _other(program: Program, sample: Tensors, shapes: Shapes) -> tuple[Tensors, Tensors]:
    """Inputs at another size of the free dimensions, and what the source answers to them.

    The values are the sample's own, shuffled, so that indices stay indices and masks stay masks.
    """
    rng = np.random.default_rng(0)
    for times, plus in _GROWTHS:
        other: Tensors = {}
        for name, dims in shapes.items():
            shape = [
                size * times + plus if isinstance(dim, str) else size
                for dim, size in zip(dims, sample[name].shape, strict=True)
            ]
            other[name] = rng.permutation(np.resize(sample[name], shape).ravel()).reshape(shape)
        try:
            return other, program.call(other)
        except Exception as error:  # TensorFlow's own, of a size that the source does not take
            if is_out_of_memory(error):
                raise
    raise StepError("the source itself takes no other size that was tried")


def _proved(session: tflite.TfliteSession, fed: Tensors, wanted: Tensors) -> Tensors:
    """What the file answers. Raises StepError unless names, shapes and, roughly, values are the source's."""
    got = session.run({name: value for name, value in fed.items() if name in session.inputs})
    sizes = {name: list(value.shape) for name, value in fed.items()}
    for name, reference in wanted.items():
        if name not in got or got[name].shape != reference.shape:
            met = list(got[name].shape) if name in got else "nothing"
            raise StepError(f"for {sizes} the file answers {name} with {met}", wanted=f"{list(reference.shape)}")
        if not _is_near(got[name], reference):
            raise StepError(f"for {sizes} the file answers something else as {name}")
    return got


def _is_near(got: np.ndarray[Any, Any], reference: np.ndarray[Any, Any]) -> bool:
    """Whether it is the same model at all: within a twentieth. How near it is, parity judges."""
    wide = reference.astype(np.float64)
    scale = float(np.max(np.abs(wide), initial=0.0)) or 1.0
    return bool(np.max(np.abs(got.astype(np.float64) - wide), initial=0.0) <= 0.05 * scale)


def _as_answered(spec: TensorSpec, answers: list[np.ndarray[Any, Any]]) -> TensorSpec:
    """The output with the sizes that the file answered; an axis that differs between the answers is free."""
    known = spec.shape or ()
    dims: list[Dim] = []
    for axis, size in enumerate(answers[0].shape):
        told = known[axis] if axis < len(known) else ""
        name = told if isinstance(told, str) and told else f"{spec.name}_{axis}"
        dims.append(size if len({answer.shape[axis] for answer in answers}) == 1 else name)
    return replace(spec, dtype=answers[0].dtype.name, shape=tuple(dims))
