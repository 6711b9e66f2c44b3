"""A TFLite file as it is: opened, allocated and run once, so that it is known to run here, and copied."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from dlconv.convert.edge import Made
from dlconv.convert.tflite_readable import whole_signature
from dlconv.errors import SamplesError, Unsupported
from dlconv.runtimes import tflite, tflite_boundary, tflite_flatbuffer, tflite_mended

if TYPE_CHECKING:
    from dlconv.convert.edge import Step

ENTRY = "model.tflite"


def convert(step: Step) -> Made:
    """The file itself as "model.tflite". Raises Unsupported for operators that no TFLite runtime has."""
    model = tflite_flatbuffer.load(step.source)
    entry = tflite_boundary.entry_of(model, step.signature.entry)
    signature = whole_signature(step, model)
    left_out = sorted(set(entry.outputs) - {spec.name for spec in signature.outputs})
    if left_out:
        raise Unsupported(
            f"the file as it is has the outputs {', '.join(left_out)} besides", mend="leave out --outputs"
        )
    session = tflite.open(step.source, signature, {"threads": 1})
    missing = [spec.name for spec in signature.inputs if spec.name not in step.sample]
    if missing:
        raise SamplesError(f"the step has no sample for {', '.join(missing)}")
    session.run(step.sample)
    content = tflite_mended.mended(step.source, model)
    if content is None:
        shutil.copyfile(step.source, step.out_dir / ENTRY)
    else:
        (step.out_dir / ENTRY).write_bytes(content)
    refused = session.placement().get("delegate_refused", "")
    told = (f"runs without the XNNPACK delegate alone, which refuses the model: {refused}",) if refused else ()
    return Made(ENTRY, signature, (*tflite_mended.note_on(model), *told))
