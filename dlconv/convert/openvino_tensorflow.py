"""TensorFlow graphs to OpenVINO IR by OpenVINO's own TensorFlow frontend, without TensorFlow and without ONNX."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dlconv.convert.edge import Made, Step
from dlconv.convert.names_apart import apart
from dlconv.convert.openvino_written import ENTRY, save
from dlconv.convert.tensorflow_opened import refuse_strings
from dlconv.errors import StepError, Unsupported
from dlconv.runtimes.openvino_ports import DTYPES, import_openvino

if TYPE_CHECKING:
    from dlconv.model import TensorSpec


def convert(step: Step, inputs: dict[str, str], outputs: dict[str, str]) -> Made:
    """The IR, "model.xml" and "model.bin": the signature's names, order, dtypes and free sizes; axes as they are.

    inputs, outputs: the graph's tensors ("x:0") by the signature's names.
    Raises Unsupported for strings and with the names of operators that the frontend lacks, StepError for tensors that
    the graph does not have.
    """
    refuse_strings(step.signature)
    signature = step.signature
    if not signature.outputs:
        raise StepError("nobody told what the graph gives", wanted="outputs by name", mend="--outputs NAME[,NAME...]")
    fed = [(inputs[spec.name], spec) for spec in signature.inputs]
    model = _converted(str(step.source), fed, [outputs[spec.name] for spec in signature.outputs])
    kept, notes = save(model, apart(signature), step.out_dir)
    return Made(ENTRY, kept, notes)


def _converted(path: str, fed: list[tuple[str, TensorSpec]], given: list[str]) -> Any:
    """The part of the graph between these tensors, as OpenVINO has it, in this order."""
    openvino = import_openvino()
    manager = import_module("openvino.frontend").FrontEndManager()
    frontend = manager.load_by_framework("tf")
    graph = frontend.load(path)
    types = {name: kind for kind, name in DTYPES.items()}
    places: list[Any] = []
    for tensor, spec in fed:
        place = _place(graph, tensor)
        places.append(place)
        if spec.shape is not None:
            sizes = [size if isinstance(size, int) else -1 for size in spec.shape]
            graph.set_partial_shape(place, openvino.PartialShape(sizes))
        graph.set_element_type(place, getattr(openvino.Type, types[spec.dtype]))
    results = [_place(graph, tensor) for tensor in given]
    graph.override_all_inputs(places)
    graph.override_all_outputs(results)
    try:
        return frontend.convert(graph)
    except Exception as error:  # the frontend's own, which name the operators in their text
        lacking = _lacking(str(error))
        if not lacking:
            raise
        raise Unsupported(
            f"OpenVINO's TensorFlow frontend does not cover: {', '.join(lacking)}",
            mend="another route may take them (dlconv plan shows all)",
            problems=tuple(lacking),
        ) from error


def _place(graph: Any, tensor: str) -> Any:
    place = graph.get_place_by_tensor_name(tensor)
    if place is None:
        raise StepError(f"OpenVINO finds no tensor {tensor!r} in the graph", mend="another route is tried")
    return place


def _lacking(message: str) -> list[str]:
    told = message.partition("No conversion rule found for operations:")[2].partition("\n")[0]
    return sorted(name.strip() for name in told.split(",") if name.strip())
