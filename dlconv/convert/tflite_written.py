"""A SavedModel to TFLite by TensorFlow's own converter: freest sizes first, each proved by running the file."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from dlconv.convert.edge import Made
from dlconv.convert.tflite_attempts import answered_elsewhere, as_answered, first_that_holds, proved, unaccelerated
from dlconv.errors import Unsupported
from dlconv.model import Signature
from dlconv.runtimes import tflite
from dlconv.runtimes.tensorflow_import import tensorflow

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dlconv.convert.tflite_attempts import Shapes
    from dlconv.runtimes.base import Tensors
    from dlconv.runtimes.tensorflow_program import Program

ENTRY = "model.tflite"
_LACKS = re.compile(r"(?:TF Select ops|Custom ops|Flex ops): ([\w, .]+)")
_ILLEGAL = re.compile(r"'tf\.(\w+)' (?:op is neither a custom op nor a flex op|that was explicitly marked illegal)")


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
    return first_that_holds(
        signature, sample, lambda kept, shapes: _attempted(saved, signature, sample, shapes, kept, out_dir)
    )


def _attempted(
    saved: Saved, signature: Signature, sample: Tensors, shapes: Shapes, kept: set[str], out_dir: Path
) -> Made:
    proofs = [(sample, saved.program.call(sample))]
    if kept:
        proofs.append(answered_elsewhere(saved.program, sample, shapes))
    path = out_dir / ENTRY
    is_own = all(spec.shape == shapes[spec.name] for spec in signature.inputs)
    apart = out_dir / "sized"
    try:
        folder = saved.folder if is_own else (saved.sized or _calling(saved, signature))(shapes, apart)
        path.write_bytes(_converted(folder, saved.key))
    finally:
        shutil.rmtree(apart, ignore_errors=True)
    session = tflite.TfliteSession(path, threads=1)
    answers = [proved(session, fed, wanted) for fed, wanted in proofs]
    told = unaccelerated(session)
    inputs = tuple(
        replace(spec, dtype=np.dtype(session.inputs[spec.name]["dtype"]).name, shape=shapes[spec.name])
        for spec in signature.inputs
        if spec.name in session.inputs
    )
    dropped = [spec.name for spec in signature.inputs if spec.name not in session.inputs]
    told += tuple(f"the input {name} has no effect on any output, and the converter left it out" for name in dropped)
    outputs = tuple(as_answered(spec, [answer[spec.name] for answer in answers]) for spec in signature.outputs)
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
