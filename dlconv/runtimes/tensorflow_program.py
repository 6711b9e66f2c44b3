"""TensorFlow's and Keras' models, opened: the signature, a call in the framework's own way, and the frozen graph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.errors import FormatError, RequestError, SignatureError, Unsupported
from dlconv.model import Dim, Signature, TensorSpec
from dlconv.runtimes import tensorflow_graph as graphs
from dlconv.runtimes.tensorflow_graph import Frozen
from dlconv.runtimes.tensorflow_import import tensorflow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dlconv.runtimes.base import Tensors

USUAL = "serving_default"


@dataclass(frozen=True)
class Program:
    """An opened model. signature: names and shapes as the user sees them.

    call: the outputs by name, in the framework's own way. frozen: the same as a graph without variables;
    with `lower_control_flow` its loops and branches are TensorFlow 1's, else While and If.
    function: what TensorFlow calls, by name: for timing. operators: those of the graph before it was frozen.
    state: what the model keeps from call to call where this program answers as on a first call alone.
    """

    signature: Signature
    call: Callable[[Tensors], Tensors]
    frozen: Callable[[bool], Frozen]
    function: Callable[..., Any]
    operators: frozenset[str]
    framework: str
    state: tuple[str, ...] = ()


def open_program(
    path: Path,
    entry: str = "",
    *,
    trust: bool = False,
    inputs: Sequence[TensorSpec] = (),
    outputs: Sequence[str] = (),
) -> Program:
    """The model at `path`: a SavedModel's directory, a Keras file or a frozen graph.

    entry: the key of a SavedModel's signature. trust: a Keras file's own code may run. inputs and outputs: of a frozen
    graph, tensors by name; none for those that are found. A Keras model is traced at the sizes that its inputs have.
    Raises FormatError for what cannot be read, RequestError for an entry that there is not, Unsupported for code
    without trust, SignatureError for tensors that the graph does not have.
    """
    path = path.parent if path.name == "saved_model.pb" else path
    if path.is_dir():
        return _open_saved_model(path, entry)
    with path.open("rb") as file:
        head = file.read(4)  # both are told by their first bytes
    if head in (b"\x89HDF", b"PK\x03\x04"):
        from dlconv.runtimes.keras_program import open_keras

        return open_keras(path, trust=trust, inputs=inputs)
    return _open_graph(path, inputs, outputs)


def _open_saved_model(path: Path, entry: str) -> Program:
    tf = tensorflow()
    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:  # whatever a damaged file, or one of another TensorFlow, makes it raise
        raise FormatError(
            f"{path.name} cannot be loaded by TensorFlow {tf.__version__}: {_line(error)}",
            wanted="a SavedModel with its variables",
            mend="save it again: tf.saved_model.save(model, folder)",
        ) from error
    keys = sorted(key for key in loaded.signatures if not key.startswith("__"))
    if not keys:
        raise Unsupported(
            f"{path.name} has no signature: it cannot be called by name",
            mend="save it with one: tf.saved_model.save(model, folder, signatures=function)",
        )
    chosen = entry or (keys[0] if len(keys) == 1 else USUAL)
    if chosen not in keys:
        raise RequestError(
            f"{path.name} has no signature {chosen!r}" if entry else f"{path.name} has {len(keys)} signatures",
            wanted="one of " + ", ".join(keys),
            mend=f"--signature {keys[0]}",
        )
    program = of_function(loaded.signatures[chosen], f"tensorflow {tf.__version__}", entry=chosen)
    keep(program, loaded)
    return program


_ALIVE: dict[int, Any] = {}
"""What a program's function needs as long as it is there: a loaded SavedModel owns its variables."""


def keep(program: Program, owner: Any) -> None:
    """The owner lives as long as the process: a function alone does not hold the objects of its variables."""
    _ALIVE[id(program)] = owner


def of_function(
    concrete: Any,
    framework: str,
    entry: str = "",
    names: tuple[Sequence[str], Sequence[str]] | None = None,
) -> Program:
    """A program of a ConcreteFunction.

    names: of its inputs and of its outputs, in order; None for those of its arguments and of the answer's keys.
    """
    tf = tensorflow()
    specs = tf.nest.flatten(concrete.structured_input_signature)
    if any(not isinstance(spec, tf.TensorSpec) for spec in specs):
        kinds = sorted({type(spec).__name__ for spec in specs if not isinstance(spec, tf.TensorSpec)})
        raise Unsupported(f"an input is no dense tensor: {', '.join(kinds)}", wanted="inputs that are dense tensors")
    taken = _argument_names(concrete) if names is None else list(names[0])
    given = _output_names(concrete.structured_outputs) if names is None else list(names[1])
    resources = [name for name, spec in zip(taken, specs, strict=True) if spec.dtype in (tf.resource, tf.variant)]
    if resources:
        raise Unsupported(
            f"the input {', '.join(resources)} is a resource of a running TensorFlow, not a tensor",
            wanted="inputs that are tensors",
            mend="save the model with a signature that makes the resource inside",
        )
    answers = tf.nest.flatten(concrete.structured_outputs)
    signature = Signature(
        inputs=tuple(spec_of(name, spec.dtype, spec.shape) for name, spec in zip(taken, specs, strict=True)),
        outputs=tuple(spec_of(name, each.dtype, each.shape) for name, each in zip(given, answers, strict=True)),
        entry=entry,
    )
    keywords = _argument_names(concrete)

    def function(**tensors: Any) -> dict[str, Any]:
        fed = {key: tensors[name] for key, name in zip(keywords, taken, strict=True)}
        got = concrete(**fed) if entry else concrete(*fed.values())
        return dict(zip(given, tf.nest.flatten(got), strict=True))

    def call(values: Tensors) -> Tensors:
        got = function(**{name: tf.constant(value) for name, value in values.items()})
        return {name: graphs.to_numpy(tensor) for name, tensor in got.items()}

    def frozen(lower_control_flow: bool) -> Frozen:
        return _frozen(concrete, taken, given, lower_control_flow=lower_control_flow)

    operators = graphs.operators(concrete.graph.as_graph_def())
    return Program(signature, call, frozen, function, operators, framework)


def _argument_names(concrete: Any) -> list[str]:
    """As its caller writes them: a TensorSpec's own name is in small letters."""
    tf = tensorflow()
    arguments, keywords = concrete.structured_input_signature
    named: list[str] = sorted(keywords)
    return [spec.name for spec in tf.nest.flatten(arguments)] + named


def _output_names(structured: Any) -> list[str]:
    tf = tensorflow()
    if isinstance(structured, dict):
        return sorted(structured)
    count = len(tf.nest.flatten(structured))
    return ["output"] if count == 1 else [f"output_{number}" for number in range(count)]


def _frozen(concrete: Any, taken: list[str], given: list[str], *, lower_control_flow: bool) -> Frozen:
    tensorflow()
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    try:
        made = convert_variables_to_constants_v2(concrete, lower_control_flow=lower_control_flow)
    except ValueError as error:
        written = sorted(graphs.operators(concrete.graph.as_graph_def()) & graphs.WRITES)
        if not written:
            raise
        raise Unsupported(
            f"the model keeps something from call to call: {', '.join(written)}",
            wanted="a model whose variables stay as they are",
            mend="save it with that state as inputs and outputs",
        ) from error
    strange = [tensor.name for tensor in made.inputs[len(taken) :]]
    if strange:
        raise Unsupported(
            f"the model holds what is neither a variable nor a constant: {', '.join(strange)}",
            wanted="variables and constants alone: no lookup tables, iterators or queues",
            mend="save the model without them: from behind the look-up (of Keras: IntegerLookup, StringLookup)",
        )
    return Frozen(
        made.graph.as_graph_def(),
        {name: tensor.name for name, tensor in zip(taken, made.inputs, strict=True)},
        {name: tensor.name for name, tensor in zip(given, made.outputs, strict=True)},
    )


def _open_graph(path: Path, inputs: Sequence[TensorSpec], outputs: Sequence[str]) -> Program:
    tf = tensorflow()
    graph_def = tf.compat.v1.GraphDef()
    try:
        graph_def.ParseFromString(path.read_bytes())
        graph = tf.Graph()
        with graph.as_default():
            tf.import_graph_def(graph_def, name="")
    except Exception as error:  # protobuf's and TensorFlow's own
        raise FormatError(f"{path.name} is no graph that TensorFlow takes: {_line(error)}") from error
    _refuse_variables(graph_def)
    fed = _fed(graph, inputs)
    fetched = {tensor.name.removesuffix(":0"): tensor for tensor in _fetched(graph, outputs)}
    specs = {tensor.name: tf.TensorSpec(spec_shape, tensor.dtype) for tensor, spec_shape in fed.values()}
    part = graphs.cut(graph_def, specs, [tensor.name for tensor in fetched.values()])
    frozen = Frozen(
        part,
        {name: tensor.name for name, (tensor, _) in fed.items() if _is_there(part, tensor)},
        {name: tensor.name for name, tensor in fetched.items()},
    )
    shapes = _shapes_of(frozen)
    idle = [spec.name for spec in inputs if spec.name not in frozen.inputs]
    if idle:
        raise SignatureError(f"no output depends on {', '.join(idle)}", mend="leave it out, or name other --outputs")
    signature = Signature(
        tuple(spec_of(name, *shapes[tensor]) for name, tensor in frozen.inputs.items()),
        tuple(spec_of(name, *shapes[tensor]) for name, tensor in frozen.outputs.items()),
    )
    made: list[Any] = []

    def call(values: Tensors) -> Tensors:
        if not made:
            made.append(graphs.GraphSession(frozen))
        found: Tensors = made[0].run(values)
        return found

    def function(**tensors: Any) -> dict[str, Any]:
        return call({name: np.asarray(tensor) for name, tensor in tensors.items()})

    framework = f"tensorflow {tf.__version__}"
    return Program(signature, call, lambda _: frozen, function, graphs.operators(part), framework)


def _is_there(graph_def: Any, tensor: Any) -> bool:
    return any(node.name == tensor.op.name for node in graph_def.node)


def _refuse_variables(graph_def: Any) -> None:
    held = sorted({node.op for node in graphs.nodes_of(graph_def)} & {"VariableV2", "Variable", "VarHandleOp"})
    if held:
        raise Unsupported(
            "the graph is not frozen: its variables' values lie in a checkpoint",
            wanted="a graph whose weights are constants, or a SavedModel",
            mend="freeze it where the checkpoint is: tf.compat.v1.graph_util.convert_variables_to_constants",
        )


def _fed(graph: Any, inputs: Sequence[TensorSpec]) -> dict[str, tuple[Any, Any]]:
    """The tensors that are fed, by the user's name, with their shapes: those asked for, else the placeholders."""
    tf = tensorflow()
    found: dict[str, tuple[Any, Any]] = {}
    for operation in graph.get_operations():
        if operation.type in ("Placeholder", "PlaceholderV2"):
            found[operation.name] = (operation.outputs[0], operation.outputs[0].shape)
    # A tensor that is fed from within takes the place of the placeholders that lead to it.
    for spec in inputs:
        tensor = _tensor(graph, spec.name)
        shape = tensor.shape
        if spec.shape is not None:
            sizes = [size if isinstance(size, int) else None for size in spec.shape]
            if not shape.is_compatible_with(sizes):
                raise SignatureError(f"{spec.name} is {shape} in the graph", wanted=str(spec))
            shape = tf.TensorShape(sizes)
        found[spec.name] = (tensor, shape)
    return found


_QUIET = {"Assert", "NoOp", "Print", "PrintV2", "Placeholder", "Const"}
_LEAVES_LOOP = {"Exit", "RefExit"}


def _is_pivot(operation: Any) -> bool:
    """Whether it only tells which branch of TensorFlow 1 is taken: a side of its condition, that others wait for."""
    if operation.type != "Identity":
        return False
    (side,) = operation.inputs
    return bool(side.op.type == "Switch" and side.dtype.is_bool)


def _fetched(graph: Any, outputs: Sequence[str]) -> list[Any]:
    if outputs:
        return [_tensor(graph, name) for name in outputs]
    operations = graph.get_operations()
    consumed = {tensor.name for operation in operations for tensor in operation.inputs}
    ends = [
        operation.outputs[0]
        for operation in operations
        if operation.type not in _QUIET
        and operation.outputs
        and not any(tensor.name in consumed for tensor in operation.outputs)
        and not _is_pivot(operation)
    ]
    # What a loop of TensorFlow 1 counts leaves it as its result does: the result alone is passed on.
    found = [tensor for tensor in ends if tensor.op.type not in _LEAVES_LOOP] or ends
    if not found:
        raise SignatureError("the graph has no output: every tensor is read by another", mend="--outputs NAME")
    return found


def _tensor(graph: Any, name: str) -> Any:
    try:
        return graph.get_tensor_by_name(name if ":" in name else f"{name}:0")
    except (KeyError, ValueError) as error:
        import difflib

        near = difflib.get_close_matches(name, [each.name for each in graph.get_operations()], n=3)
        raise SignatureError(
            f"the graph has no tensor {name!r}", wanted="one of " + ", ".join(near) if near else "a node's name"
        ) from error


def _shapes_of(frozen: Frozen) -> dict[str, tuple[Any, Any]]:
    """dtype and shape of each input and output, as TensorFlow infers them."""
    tf = tensorflow()
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(frozen.graph_def, name="")
    names = (*frozen.inputs.values(), *frozen.outputs.values())
    return {name: (graph.get_tensor_by_name(name).dtype, graph.get_tensor_by_name(name).shape) for name in names}


def spec_of(name: str, dtype: Any, shape: Any) -> TensorSpec:
    """A tensor's specification. A free first dimension is "batch"; others are named for the tensor and the axis."""
    if shape.rank is None:
        return TensorSpec(name, dtype.name, None)
    dims: list[Dim] = []
    for axis, size in enumerate(shape.as_list()):
        free = "batch" if axis == 0 else f"{_identifier(name)}_{axis}"
        dims.append(free if size is None else int(size))
    return TensorSpec(name, dtype.name, tuple(dims))


def _identifier(name: str) -> str:
    plain = "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in name)
    return f"_{plain}" if plain[:1].isdigit() else plain


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
