"""TFLite to OpenVINO IR by OpenVINO's own TFLite frontend: names are the user's, axes as they are."""

from __future__ import annotations

from typing import Any

from dlconv.convert import openvino_attention
from dlconv.convert.edge import Made, Step, inherited
from dlconv.convert.tflite_readable import fused_of, readable, refuse_fused, whole_signature
from dlconv.errors import StepError
from dlconv.model import Signature, TensorSpec
from dlconv.runtimes.openvino_ports import import_openvino, spec_of

ENTRY = "model.xml"


def convert(step: Step) -> Made:
    """The IR of a TFLite file, "model.xml" and "model.bin"; its signature is read back from what was saved.

    Raises Unsupported for operators of TensorFlow's own and custom ones.
    """
    openvino = import_openvino()
    path, flat, names = readable(step)
    signature = whole_signature(step, flat)
    try:
        model = openvino.convert_model(str(path))
    except Exception as error:  # its own, of many kinds: what is told of them is the message
        if fused := fused_of(flat):
            raise refuse_fused(fused, "OpenVINO") from error
        raise
    if path != step.source:
        path.unlink()
    _name(model.inputs, signature.inputs, names)
    _name(model.outputs, signature.outputs, names)
    wanted = {spec.name for spec in signature.outputs}
    for result in model.get_results():
        if not wanted & set(result.output(0).get_names()):
            model.remove_result(result)
    notes = openvino_attention.guard(model)
    openvino.save_model(model, str(step.out_dir / ENTRY), compress_to_fp16=False)
    del model
    saved = openvino.Core().read_model(str(step.out_dir / ENTRY))
    inputs = _read_back(saved.inputs, signature.inputs)
    return Made(ENTRY, Signature(inputs, _read_back(saved.outputs, signature.outputs)), notes)


def _name(ports: Any, specs: tuple[TensorSpec, ...], names: dict[str, str]) -> None:
    """Call each port as the signature does; found by the tensor's own name in the file."""
    found: dict[str, Any] = {name: port for port in ports for name in port.get_names()}
    missing = [spec.name for spec in specs if names[spec.name] not in found]
    if missing:
        raise StepError(
            f"OpenVINO's model has no tensor {', '.join(missing)}",
            wanted=", ".join(found) or "tensors by name",
            mend="another route is tried",
        )
    for spec in specs:
        port = found[names[spec.name]]
        # One tensor may be two outputs: it keeps the names of both.
        kept = {other.name for other in specs if names[other.name] == names[spec.name]}
        port.get_tensor().set_names(kept)


def _read_back(ports: Any, specs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    found: list[TensorSpec] = []
    for want in specs:
        port = next((port for port in ports if want.name in port.get_names()), None)
        if port is None:
            raise StepError(f"OpenVINO left no tensor {want.name!r}", mend="another route is tried")
        spec = spec_of(port, want.name, want.shape)
        if spec.dtype != want.dtype:
            raise StepError(f"OpenVINO made {want.name!r} {spec.dtype}", wanted=want.dtype, mend="another route")
        found.append(spec)
    return inherited(tuple(found), specs)
