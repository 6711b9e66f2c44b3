"""An OpenVINO model by a frontend that knows no names: names and shapes set, saved in float32 as the source has it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dlconv.convert import openvino_attention
from dlconv.errors import StepError
from dlconv.model import Signature
from dlconv.runtimes.openvino_ports import import_openvino, spec_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dlconv.model import TensorSpec

ENTRY = "model.xml"


def save(model: Any, signature: Signature, out_dir: Path) -> tuple[Signature, tuple[str, ...]]:
    """Writes model.xml and model.bin; the artifact's own signature, and notes. Inputs are matched by their order.

    Raises StepError where the model has other inputs or outputs than the signature, or of other dtypes.
    """
    openvino = import_openvino()

    if len(model.outputs) != len(signature.outputs) or len(model.inputs) > len(signature.inputs):
        raise StepError(
            f"OpenVINO made {len(model.inputs)} inputs and {len(model.outputs)} outputs",
            wanted=f"{len(signature.inputs)} inputs and {len(signature.outputs)} outputs",
            mend="another route",
        )
    kept = _kept(model, signature)
    _separate(model)
    for port in (*model.inputs, *model.outputs):
        port.get_tensor().set_names(set())
    for port, spec in zip(model.inputs, kept, strict=True):
        port.add_names({spec.name})
        port.get_node().set_friendly_name(spec.name)
    for port, spec in zip(model.outputs, signature.outputs, strict=True):
        port.add_names({spec.name})
    shapes = {
        spec.name: openvino.PartialShape([size if isinstance(size, int) else -1 for size in spec.shape])
        for spec in kept
        if spec.shape is not None
    }
    model.reshape(shapes)
    model.validate_nodes_and_infer_types()
    _check_dtypes(model.inputs, kept)
    _check_dtypes(model.outputs, signature.outputs)
    guarded = openvino_attention.guard(model)
    openvino.save_model(model, out_dir / ENTRY, compress_to_fp16=False)
    dropped = [spec.name for spec in signature.inputs if spec not in kept]
    notes = tuple(f"the input {name} has no effect on any output, and OpenVINO left it out" for name in dropped)
    return Signature(tuple(kept), signature.outputs, ()), (*notes, *guarded)


def _separate(model: Any) -> None:
    """A tensor of its own for each output: one that is two outputs, or an input too, keeps the name of one alone."""
    operators = import_module("openvino.opset16")
    seen: set[tuple[str, int]] = set()
    for result in model.get_results():
        source = result.input(0).get_source_output()
        node = source.get_node()
        place = (str(node.get_friendly_name()), int(source.get_index()))
        if node.get_type_name() == "Parameter" or place in seen:
            result.input(0).replace_source_output(operators.identity(source).output(0))
        seen.add(place)
    model.validate_nodes_and_infer_types()


def _check_dtypes(ports: Any, specs: Sequence[TensorSpec]) -> None:
    for port, spec in zip(ports, specs, strict=True):
        met = spec_of(port, spec.name).dtype
        if met != spec.dtype:
            raise StepError(f"OpenVINO made {spec.name!r} {met}", wanted=spec.dtype, mend="another route")


def _kept(model: Any, signature: Signature) -> list[Any]:
    if len(model.inputs) == len(signature.inputs):
        return list(signature.inputs)
    by_name = {name: port for port in model.inputs for name in port.get_names()}
    kept = [spec for spec in signature.inputs if spec.name in by_name]
    if len(kept) != len(model.inputs):
        raise StepError(
            f"OpenVINO left the inputs {sorted(by_name)}",
            wanted=f"{[spec.name for spec in signature.inputs]}",
            mend="another route",
        )
    return kept
