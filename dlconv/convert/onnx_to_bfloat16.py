"""ONNX in float32 to ONNX in bfloat16, with float32 inputs and outputs: casts in the graph, as TensorRT reads them.

ONNX Runtime's pass knows float16 alone. What TensorRT takes in bfloat16 is in `tensorrt_operators.json`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from dlconv.convert import onnx_reduced
from dlconv.convert.edge import Made, Step
from dlconv.convert.tensorrt_operators import releases
from dlconv.errors import Unsupported
from dlconv.graphs import onnx_graph, onnx_keep
from dlconv.graphs.onnx_graph import nodes_of, subgraphs_of

if TYPE_CHECKING:
    from dlconv.graphs.onnx_graph import Proto

_FLOAT, _BFLOAT16 = 1, 16
_OPSET: Final = 13
"""As of which Cast knows bfloat16."""
_STAY: Final = frozenset(
    (
        "Cast", "CastLike", "Constant", "ConstantOfShape", "CumSum", "DequantizeLinear", "EyeLike", "QuantizeLinear",
        "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Range",
    )
)  # fmt: skip
"""Operators whose dtype is an attribute of their own, and sums and counts that soon need more than bfloat16's eight
bits."""
_SIZES: Final = {"Resize": (1, 2), "Upsample": (1,)}
"""Inputs that are no data: ONNX wants them in float32."""


def convert(step: Step) -> Made:
    """The model with every node in bfloat16 but for those of "keep", and operators that TensorRT has no bfloat16 for.

    settings: "keep", names of nodes that stay in float32. Stored numbers are rounded to the nearest. Conditions, loops
    and functions stay as they are. Raises RequestError for a name that is no node's, Unsupported where nothing can be
    lowered or the opset is too old.
    """
    model = onnx_reduced.load(step.source)
    if onnx_graph.opset_of(model) < _OPSET:
        raise Unsupported(f"there is no bfloat16 before opset {_OPSET}", mend=f"--opset {_OPSET}, or a later one")
    keep = onnx_keep.kept(step.settings, model.graph)
    _store_constants(model.graph)
    lowering = _Lowering(model, _types_of(model), frozenset(keep))
    if not lowering.nodes:
        raise Unsupported("no node of the model has a bfloat16 that TensorRT takes", mend="--fp16, or no precision")
    lowering.apply()
    notes = (f"{len(keep)} nodes stay in float32",) if keep else ()
    # ONNX's own Conv and others have bfloat16 as of opset 22 alone, which the parser does not ask about.
    return onnx_reduced.write(model, step.out_dir, step.signature, notes, full_check=False)


def _store_constants(graph: Proto) -> None:
    """Constants that are tensors become initializers, which are rounded once."""
    for node in [node for node in graph.node if node.op_type == "Constant" and node.attribute[0].name == "value"]:
        tensor = graph.initializer.add()
        tensor.CopyFrom(node.attribute[0].t)
        tensor.name = node.output[0]
        graph.node.remove(node)


def _types_of(model: Proto) -> dict[str, int]:
    """ONNX's element type of each tensor of the main graph, where it is known."""
    inference: Any = import_module("onnx.shape_inference")
    bare = type(model)()
    bare.CopyFrom(model)
    onnx_graph.empty_weights(bare)
    graph = inference.infer_shapes(bare).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    known = {value.name: value.type.tensor_type.elem_type for value in values if value.type.HasField("tensor_type")}
    return known | {tensor.name: tensor.data_type for tensor in graph.initializer}


@dataclass
class _Lowering:
    """The rewriting of one main graph: which nodes compute in bfloat16, and the casts between them and the rest."""

    model: Proto
    types: dict[str, int]
    keep: frozenset[str]
    nodes: list[Proto] = field(default_factory=list)

    def __post_init__(self) -> None:
        newest = releases()[-1]
        known = newest.has - newest.without_bf16 - _STAY
        own = {function.name for function in self.model.functions}
        self.nodes = [
            node
            for node in self.model.graph.node
            if node.op_type in known - own and node.domain in ("", "ai.onnx") and node.name not in self.keep
            if all(name in self.types for name in (*node.input, *node.output) if name)
            if _FLOAT in {self.types[name] for name in (*node.input, *node.output) if name}
            if not any(True for _ in subgraphs_of(node))
        ]

    def apply(self) -> None:
        """Rewrite the graph in place, in the order of computation."""
        graph = self.model.graph
        lowered = {id(node) for node in self.nodes}
        readers, wide = self._read(lowered)
        stored = {tensor.name: tensor for tensor in graph.initializer}
        narrow: dict[str, str] = {}
        """What a float32 tensor is called in bfloat16."""
        for name in [name for name in stored if name in readers and self.types[name] == _FLOAT]:
            narrow[name] = name if name not in wide else f"{name}_bf16"
            _round(stored[name], graph, narrow[name])
        ordered: list[Proto] = []
        for node in list(graph.node):
            if id(node) not in lowered:
                ordered.append(node)
                continue
            for place in _data_of(node):
                name = node.input[place]
                if self.types.get(name) != _FLOAT:
                    continue
                if name not in narrow:
                    narrow[name] = f"{name}_bf16"
                    ordered.append(_cast(name, narrow[name], _BFLOAT16))
                node.input[place] = narrow[name]
            ordered.append(node)
            for place, name in enumerate(node.output):
                if not name or self.types[name] != _FLOAT:
                    continue
                narrow[name] = name
                if name in wide:
                    narrow[name] = node.output[place] = f"{name}_bf16"
                    ordered.append(_cast(narrow[name], name, _FLOAT))
        del graph.node[:]
        graph.node.extend(ordered)
        del graph.value_info[:]

    def _read(self, lowered: set[int]) -> tuple[set[str], set[str]]:
        """The tensors that lowered nodes read as data, and those that somebody else reads, or the graph gives."""
        readers, wide = set[str](), {value.name for value in self.model.graph.output}
        for node in self.model.graph.node:
            data = set(_data_of(node)) if id(node) in lowered else set[int]()
            for place, name in enumerate(node.input):
                (readers if place in data else wide).add(name)
            wide |= {name for graph in subgraphs_of(node) for inner in nodes_of(graph) for name in inner.input}
            wide |= {value.name for graph in subgraphs_of(node) for value in graph.output}
        return readers, wide


def _data_of(node: Proto) -> list[int]:
    """The places of the inputs that are data."""
    sizes = _SIZES.get(node.op_type, ())
    return [place for place, name in enumerate(node.input) if name and place not in sizes]


def _round(tensor: Proto, graph: Proto, name: str) -> None:
    """The stored tensor in bfloat16: in its own place where the name is its own, else beside it."""
    helper: Any = import_module("onnx.numpy_helper")
    bfloat16: Any = import_module("ml_dtypes").bfloat16
    rounded = helper.from_array(helper.to_array(tensor).astype(bfloat16), name)
    (tensor if name == tensor.name else graph.initializer.add()).CopyFrom(rounded)


def _cast(source: str, target: str, kind: int) -> Proto:
    helper: Any = import_module("onnx.helper")
    return helper.make_node("Cast", [source], [target], name=f"{target}/cast", to=kind)
