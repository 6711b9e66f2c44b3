"""onnx2tf 2.6.9 driven as a library: its operator builders alone, or with its layout passes.

Its command-line way permutes inputs and outputs, judges itself, leaves by SystemExit and marks every file as fit for
half precision. Here each ONNX node is lowered by onnx2tf's own builder and nothing else is done to the graph, so
that names, order and layouts are the source's. The toolchain's lock pins the release whose internals these are.
"""

from __future__ import annotations

import hashlib
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.errors import StepError, Unsupported

if TYPE_CHECKING:
    from dlconv.graphs.onnx_graph import Proto

_PACKAGE = "onnx2tf.tflite_builder"


def lower(model: Proto, passes: str) -> Any:
    """The model as onnx2tf's ModelIR.

    passes: "none", builders alone; "layout", all of onnx2tf's own passes, which may turn outputs: the caller checks.
    Raises Unsupported for an operator that no builder takes, StepError where onnx2tf leaves by SystemExit.
    """
    builder: Any = import_module(_PACKAGE)
    refusal: Any = import_module(f"{_PACKAGE}.op_registry").NodeValidationError
    builder.register_default_preprocess_rules()
    try:
        model, _ = builder.run_preprocess_pipeline(onnx_graph=model)
        if passes == "none":
            graph = _lower_nodes(model)
        else:
            graph = builder.lower_onnx_to_ir(onnx_graph=model, output_file_name="model", transpose_inputs_to_nhwc=False)
    except (refusal, NotImplementedError) as error:
        raise Unsupported(f"onnx2tf cannot convert an operator: {error}") from error
    except SystemExit as error:
        raise StepError(f"onnx2tf gave up with exit code {error.code}") from error
    graph = builder.clone_model_ir_with_float32(graph)
    builder.prune_identity_cast_operators(graph, preserve_model_outputs=True)
    builder.optimize_redundant_transpose_operators(graph, preserve_model_outputs=True)
    return graph


def write(graph: Any, path: Path) -> None:
    """Write the ModelIR as a TFLite file, once its invariants hold: each tensor made once, before it is used."""
    builder: Any = import_module(_PACKAGE)
    schema = vars(import_module(f"{_PACKAGE}.schema.schema_generated"))
    problems = import_module(f"{_PACKAGE}.core.validation").validate_model_ir_invariants(graph)
    problems += [f"no producer and no data: {name}" for name in _unbound(graph)]
    if problems:
        raise StepError(f"onnx2tf's graph is broken ({problems[0]})", problems=tuple(problems))
    _share_constants(graph)
    builder.write_model_file(schema_tflite=schema, model_ir=graph, output_tflite_path=str(path))


def _lower_nodes(model: Proto) -> Any:
    """What lower_onnx_to_ir does up to its passes."""
    parts: Any = import_module(f"{_PACKAGE}.lower_from_onnx2tf")
    numpy_helper: Any = import_module("onnx.numpy_helper")
    graph = import_module(f"{_PACKAGE}.ir").ModelIR(name="model")
    shapes, dtypes = parts._extract_tensor_info(model)
    constants = {tensor.name: np.asarray(numpy_helper.to_array(tensor)) for tensor in model.graph.initializer}
    graph.metadata["onnx_boundary_shape_signature_map"] = parts._build_onnx_boundary_shape_signature_map(
        onnx_graph=model, shape_map=shapes
    )
    shared = {"onnx_model": model, "model_ir": graph, "shape_map": shapes, "dtype_map": dtypes, "constants": constants}
    session = parts.ConversionSession(**shared)
    context = parts.LoweringContext(
        **shared,
        tensor_consumer_count=session.tensor_consumer_count,
        graph_output_names=[value.name for value in model.graph.output],
        session=session,
    )
    for value in model.graph.input:
        context.ensure_tensor(value.name)
        graph.inputs.append(value.name)
        if value.type.tensor_type.HasField("shape") and not value.type.tensor_type.shape.dim:
            graph.tensors[value.name].shape, graph.tensors[value.name].shape_signature = [], []
    for name, array in constants.items():
        context.add_const_tensor(name, array)
    for node in model.graph.node:
        if node.op_type == "Constant":
            parts.lower_constant_node(node=node, ctx=context)
            continue
        view = parts._NodeWrap(node, input_name_remap={}, shape_map=shapes, dtype_map=dtypes)
        parts.reconcile_shape_sensitive_inputs_on_demand(node=view, ctx=context)
        parts.dispatch_node(view, context)
    for value in model.graph.output:
        context.ensure_tensor(value.name)
        graph.outputs.append(value.name)
    for part in graph.subgraphs:
        _drop_aliases(part)
    _agree(graph)
    parts._topologically_sort_operators(graph)
    return graph


_WHOLE = {"INT32", "INT64"}
_OF_ONE_DTYPE = {"CUMSUM": 1, "ADD": 2, "SUB": 2, "MUL": 2, "DIV": 2, "MAXIMUM": 2, "MINIMUM": 2, "FLOOR_MOD": 2}
"""Operators that read their inputs in the dtype of their output, and how many inputs that are."""


def _agree(graph: Any) -> None:
    """Casts before operators on integers whose inputs have another width than their output.

    A builder may narrow a tensor to int32, which others do not see; TFLite's CUMSUM then gives nonsense.
    """
    operator_of: Any = import_module(f"{_PACKAGE}.ir").OperatorIR
    tensor_of: Any = import_module(f"{_PACKAGE}.ir").TensorIR
    casts: list[Any] = []
    for operator in graph.operators:
        wanted = graph.tensors[operator.outputs[0]].dtype if operator.outputs else ""
        for place in range(_OF_ONE_DTYPE.get(operator.op_type, 0)):
            name = operator.inputs[place]
            tensor = graph.tensors[name]
            if tensor.dtype == wanted or not {tensor.dtype, wanted} <= _WHOLE:
                continue
            cast = f"{operator.outputs[0]}/as {wanted}/{place}"
            signature = None if tensor.shape_signature is None else list(tensor.shape_signature)
            graph.tensors[cast] = tensor_of(
                name=cast, dtype=wanted, shape=list(tensor.shape), shape_signature=signature
            )
            told = {"inDataType": tensor.dtype, "outDataType": wanted}
            casts.append(operator_of(op_type="CAST", inputs=[name], outputs=[cast], options=told))
            operator.inputs[place] = cast
    graph.operators.extend(casts)


def _drop_aliases(graph: Any) -> None:
    """Leave out the reshapes to the same shape by which a loop's part renames what it hands on."""
    alias: dict[str, str] = {}
    kept: list[Any] = []
    for operator in graph.operators:
        operator.inputs[:] = [alias.get(name, name) for name in operator.inputs]
        one, other = (graph.tensors[names[0]] for names in (operator.inputs, operator.outputs))
        if operator.op_type == "RESHAPE" and one.shape == other.shape:
            alias[other.name] = one.name
        else:
            kept.append(operator)
    graph.operators[:] = kept
    graph.outputs[:] = [alias.get(name, name) for name in graph.outputs]


def _share_constants(graph: Any) -> None:
    """One tensor for all constants that are alike: builders turn a weight anew for each operator that it goes into."""
    ends = {*graph.inputs, *graph.outputs}
    first: dict[tuple[Any, ...], str] = {}
    same: dict[str, str] = {}
    for name, tensor in graph.tensors.items():
        if not isinstance(tensor.data, np.ndarray) or tensor.is_variable or name in ends:
            continue
        content = hashlib.sha256(np.ascontiguousarray(tensor.data).tobytes()).digest()
        quantised = repr(tensor.quantization)
        alike = (tensor.dtype, tuple(tensor.shape), tensor.data.dtype.str, tensor.data.shape, quantised, content)
        if first.setdefault(alike, name) != name:
            same[name] = first[alike]
    for operator in graph.operators:
        operator.inputs[:] = [same.get(name, name) for name in operator.inputs]
    for name in same:
        del graph.tensors[name]


def _unbound(graph: Any) -> list[str]:
    made = {name for operator in graph.operators for name in operator.outputs} | set(graph.inputs)
    used = {name for operator in graph.operators for name in operator.inputs if name} | set(graph.outputs)
    return sorted(
        name for name in used - made if graph.tensors[name].data is None and not graph.tensors[name].is_variable
    )
