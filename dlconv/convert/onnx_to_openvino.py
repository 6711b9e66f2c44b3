"""ONNX to OpenVINO IR, in the precision that the graph has; names are kept, free dimensions stay free."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlconv.convert import onnx_classic, openvino_attention
from dlconv.convert.edge import Made, Step, inherited
from dlconv.errors import StepError, Unreachable
from dlconv.graphs import onnx_clean, onnx_graph
from dlconv.model import Dim, Signature, TensorSpec
from dlconv.runtimes.openvino_ports import import_openvino, spec_of

if TYPE_CHECKING:
    from dlconv.graphs.onnx_graph import Proto

ENTRY = "model.xml"
_STRING = 8


def convert(step: Step) -> Made:
    """The IR of an ONNX model, "model.xml" and "model.bin"; its signature is read back from what was saved.

    settings: "freeze" gives every free dimension the sample's size; "compress" stores weights in float16.
    Raises Unreachable for strings, which end OpenVINO's process, and for operators of ai.onnx.ml that cannot be written
    in ONNX's own.
    """
    ov = import_openvino()
    model = onnx_graph.read_model(step.source)
    _refuse_deadly(model)
    outputs = [value.name for value in model.graph.output]
    wanted = onnx_graph.signature_of(model)
    spelled = onnx_classic.spell_out(model, "OpenVINO")
    source = onnx_clean.save_cleaned(model, step.source, step.out_dir / "spelled") if spelled else step.source
    del model
    converted = ov.convert_model(str(source))
    _name_ports(converted.outputs, outputs)
    if step.settings.get("freeze", False):
        converted.reshape({spec.name: list(step.sample[spec.name].shape) for spec in wanted.inputs})
    notes = (*spelled, *openvino_attention.guard(converted))
    ov.save_model(converted, str(step.out_dir / ENTRY), compress_to_fp16=step.settings.get("compress", False))
    del converted
    shutil.rmtree(step.out_dir / "spelled", ignore_errors=True)
    return Made(ENTRY, _read_back(step.out_dir / ENTRY, wanted, step.signature), notes)


def _refuse_deadly(model: Proto) -> None:
    strings = [value.name for value in (*model.graph.input, *model.graph.output, *model.graph.value_info)
               if value.type.tensor_type.elem_type == _STRING]  # fmt: skip
    strings += [tensor.name for tensor in onnx_graph.tensors_of(model) if tensor.data_type == _STRING]
    if strings:
        raise Unreachable(
            f"the model has string tensors: {', '.join(sorted(set(strings))[:5])}",
            wanted="numbers and booleans: OpenVINO's CPU plugin has no strings",
            mend="take the text processing out of the model; train a classifier on whole numbers as its classes",
        )


def _name_ports(ports: Any, names: list[str]) -> None:
    """Each output has its name, and no other output has it."""
    if len(ports) != len(names):
        raise StepError(f"OpenVINO made {len(ports)} outputs", wanted=f"{len(names)}: {', '.join(names)}")
    for port, name in zip(ports, names, strict=True):
        if name not in port.get_names():
            port.add_names({name})


def _read_back(path: Path, wanted: Signature, known: Signature) -> Signature:
    ov = import_openvino()
    saved = ov.Core().read_model(str(path))
    free = {spec.name: spec.shape for spec in (*wanted.inputs, *wanted.outputs)}
    free |= {spec.name: spec.shape for spec in (*known.inputs, *known.outputs)}
    return Signature(
        inputs=inherited(_specs_of(saved.inputs, wanted.inputs, free), known.inputs),
        outputs=inherited(_specs_of(saved.outputs, wanted.outputs, free), known.outputs),
    )


def _specs_of(
    ports: Any, wanted: tuple[TensorSpec, ...], free: dict[str, tuple[Dim, ...] | None]
) -> tuple[TensorSpec, ...]:
    found: list[TensorSpec] = []
    for want in wanted:
        port = next((port for port in ports if want.name in port.get_names()), None)
        if port is None:
            raise StepError(f"OpenVINO's model has no tensor {want.name!r}", mend="another route is tried")
        spec = spec_of(port, want.name, free.get(want.name))
        if spec.dtype != want.dtype:
            met = f"OpenVINO made {want.name!r} {spec.dtype}"
            raise StepError(met, wanted=want.dtype, mend="another route is tried")
        found.append(spec)
    return tuple(found)
