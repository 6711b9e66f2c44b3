"""TFLite on the CPU, by ai-edge-litert's interpreter or its predecessor tflite-runtime, whichever is here, or the full
TensorFlow's, which has TensorFlow's own operators besides.

Settings: {"threads": int, "xnnpack": bool | None}. xnnpack True or False asks for the XNNPACK delegate or forbids it;
None, the default, takes it as every application does that opens the file, and goes on without it if it refuses the
model. Which it was stands in `placement()`.
"""

from __future__ import annotations

import base64
import importlib
import importlib.metadata
import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from dlconv.errors import MachineError, PackagesMissing, SamplesError, Unsupported
from dlconv.runtimes import tflite_account, tflite_boundary, tflite_flatbuffer, tflite_foreign, tflite_mended

if TYPE_CHECKING:
    from collections.abc import Callable

    from dlconv.model import Signature
    from dlconv.runtimes.base import Tensors

_T = TypeVar("_T")
Details = dict[str, dict[str, Any]]
"""The interpreter's account of each tensor, by name."""
_PACKAGES = (("ai-edge-litert", "ai_edge_litert.interpreter"), ("tflite-runtime", "tflite_runtime.interpreter"))
_TENSORFLOW = ("tensorflow", "tensorflow-cpu")  # the same modules under two names
_RESOURCES = {"VAR_HANDLE", "HASHTABLE"}  # what resetting the variables does not reset

# The smallest model, packed: x float32[2] -> y = x + x, written with the format's own schema.
_TINY = zlib.decompress(
    base64.b85decode(
        b"c-l>mF%E+;5Cq4G3nVO*f`TVdBIOUMC@50oDM`muDe@1qHWzYdt*yJgU9AV;`Izs}(Q_lwXcE<-4hCTpu0p5`j5+6Ed^%N8"
        b"_c2?Fr|>dOPpPiHWw&+ys`jT_&9~sfzk&nCO_t>=O;d9m{Kx5&{RYeC_ug(V7#Hh-9YjnJ*Z"
    )
)


def probe() -> dict[str, Any]:
    """The runtime's package and version, proved by running a model of one addition."""
    package, version, _ = _run_tiny()
    return {"version": version, "package": package, "devices": ["CPU"]}


def probe_xnnpack() -> dict[str, Any]:
    """As `probe`, by the XNNPACK delegate: the interpreter's own list of operators says that it took the model over.

    Raises PackagesMissing where the runtime was built without it.
    """
    package, version, operators = _run_tiny()
    if "DELEGATE" not in operators:
        raise PackagesMissing(
            f"{package} {version} runs {', '.join(operators)} itself: it was built without XNNPACK",
            wanted="a runtime with XNNPACK",
            mend="dlconv toolchain install tflite",
        )
    return {"version": version, "package": package, "devices": ["CPU, by XNNPACK"]}


def _run_tiny() -> tuple[str, str, list[str]]:
    """Package, version, and the operators of the smallest model as they were run."""
    package, version, interpreters = load_package()
    interpreter = interpreters.Interpreter(model_content=_TINY)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.array([1.5, -2.0], np.float32))
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    if not np.array_equal(found, np.array([3.0, -4.0], np.float32)):
        raise MachineError(f"{package} {version} computes 1.5 + 1.5 and -2 - 2 as {found.tolist()}")
    return package, version, [str(each["op_name"]) for each in interpreter._get_ops_details()]


def load_package() -> tuple[str, str, Any]:
    """Name and version of the package that is here, and its module `interpreter`."""
    for package, module in _PACKAGES:
        try:
            return package, importlib.metadata.version(package), importlib.import_module(module)
        except (ImportError, importlib.metadata.PackageNotFoundError):
            continue
    for package in _TENSORFLOW:
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        importlib.import_module("tensorflow")  # its operators are registered by that
        return package, version, importlib.import_module("tensorflow.lite.python.interpreter")
    raise MachineError(
        "No TFLite runtime is installed here",
        wanted=" or ".join(package for package, _ in _PACKAGES),
        mend="dlconv toolchain install tflite",
    )


def open(path: Path | str, signature: Signature, settings: dict[str, Any]) -> TfliteSession:
    """Load the model at `path`. Names are those of the signature that `signature.entry` names, or of the file's only
    one, or of its tensors without one, as they are or as a user calls them ("x" for "serving_default_x:0").

    Raises Unsupported where the file lacks a tensor that `signature` names, or has operators that no runtime here has.
    """
    return TfliteSession(
        Path(path), threads=settings.get("threads"), xnnpack=settings.get("xnnpack"), signature=signature
    )


class TfliteSession:
    """A loaded TFLite model; see `dlconv.runtimes.base.Session`.

    inputs and outputs are the interpreter's own details of each tensor, by name.
    """

    inputs: Details
    outputs: Details
    _shapes: dict[str, tuple[int, ...]]

    def __init__(
        self,
        path: Path,
        threads: int | None = None,
        xnnpack: bool | None = None,
        signature: Signature | None = None,
        *,
        reference: bool = False,
        keeps_all: bool = False,
    ) -> None:
        """signature: names that its tensors are called by. reference: the plain kernels that the format is defined by,
        without any delegate. keeps_all: after a run every tensor is there, for `tensor`."""
        model = tflite_flatbuffer.load(path)
        self._package, self._version, self._interpreters = load_package()
        tflite_foreign.refuse(model)
        self._account = tflite_account.of(model)
        content = tflite_mended.mended(path, model)
        self._file = {"model_path": str(path)} if content is None else {"model_content": content}
        self._threads = threads
        self._signature = signature
        self._entry = tflite_boundary.entry_of(model, signature.entry if signature else "")
        self._keeps_resources = any(each.name in _RESOURCES for each in model.operators)
        self._reference = reference
        self._keeps_all = keeps_all
        self._with_xnnpack = xnnpack is not False and not reference
        self._may_fall_back = xnnpack is None
        self._refusal = ""
        self._answers: Tensors | None = None
        self._with_fallback(self._load)

    def run(self, inputs: Tensors) -> Tensors:
        """The outputs by name. Inputs may be of other sizes where the model leaves them free; an int64 array is
        narrowed where the model wants int32 and every value fits. Raises SamplesError for what does not fit."""
        call, read = self.bound(inputs)
        return read(self._with_fallback(call))

    def bound(self, inputs: Tensors) -> tuple[Callable[[], Any], Callable[[Any], Tensors]]:
        """See `dlconv.runtimes.base.Timeable`. A call sets the tensors, resets the variables, and invokes."""
        if set(inputs) != set(self.inputs):
            raise SamplesError(f"inputs {sorted(inputs)} were given", wanted=f"{sorted(self.inputs)}")
        fitting = {name: _fitting(name, array, self.inputs[name]) for name, array in inputs.items()}
        return lambda: self._invoke(fitting), self._read

    def tensor(self, number: int) -> tuple[np.ndarray[Any, Any], dict[str, Any]]:
        """A tensor of the last run by its number in the main graph, and the interpreter's own account of it."""
        (detail,) = (each for each in self._interpreter.get_tensor_details() if each["index"] == number)
        return self._interpreter.get_tensor(number), detail

    def placement(self) -> dict[str, Any]:
        """What runs: device, delegate, how many of the operators it took over, threads and the runtime's version."""
        operators = [str(operator["op_name"]) for operator in self._interpreter._get_ops_details()]
        delegated = operators.count("DELEGATE")
        told: dict[str, Any] = {
            "device": "CPU",
            "precision": _precision(self._interpreter),
            "delegate": "XNNPACK" if delegated else "none",
            "delegated_partitions": delegated,
            "kernels": "reference" if self._reference else "optimised",
            "threads": self._threads,
            "runtime": self._package,
            "version": self._version,
            "account": self._account,
        }
        if self._refusal:
            told["delegate_refused"] = self._refusal
        return told

    def _load(self) -> None:
        kinds = self._interpreters.OpResolverType
        kind = kinds.AUTO if self._with_xnnpack else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        try:
            self._interpreter = self._interpreters.Interpreter(
                **self._file,
                num_threads=self._threads,
                experimental_preserve_all_tensors=self._keeps_all,
                experimental_op_resolver_type=kinds.BUILTIN_REF if self._reference else kind,
            )
        except ValueError as error:
            tflite_foreign.refuse_newer(error, f"{self._package} {self._version}")
            raise
        inputs, outputs = boundary_of(self._interpreter, self._entry.key)
        if self._signature is not None:
            inputs, outputs = called(inputs, outputs, self._signature)
        if self._signature is not None and self._signature.outputs and self._reference:
            outputs = {spec.name: outputs[spec.name] for spec in self._signature.outputs}  # those that were asked for
        self.inputs, self.outputs = inputs, outputs
        self._interpreter.allocate_tensors()
        self._shapes = {name: tuple(map(int, detail["shape"])) for name, detail in self.inputs.items()}

    def _with_fallback(self, action: Callable[[], _T]) -> _T:
        try:
            return action()
        except (RuntimeError, ValueError) as error:
            if not (self._may_fall_back and self._with_xnnpack):
                raise
            refusal = str(error).strip()
        self._with_xnnpack = False
        self._load()
        answer = action()
        self._refusal = refusal  # without the delegate it went well: the delegate was to blame
        return answer

    def _invoke(self, inputs: Tensors) -> None:
        if self._keeps_resources:
            self._load()  # the only way back to the first values
        if self._entry.graph:  # not the main graph: the interpreter runs it by its key alone
            runner = self._interpreter.get_signature_runner(self._entry.key)
            self._answers = runner(**inputs)
            return
        shapes = {name: array.shape for name, array in inputs.items()}
        if shapes != self._shapes:
            self._resize(shapes)
        self._interpreter.reset_all_variables()
        for name, array in inputs.items():
            self._interpreter.set_tensor(self.inputs[name]["index"], array)
        self._interpreter.invoke()

    def _resize(self, shapes: dict[str, tuple[int, ...]]) -> None:
        for name, shape in shapes.items():
            if shape != self._shapes.get(name):
                self._interpreter.resize_tensor_input(self.inputs[name]["index"], shape)
        self._shapes = {}  # unknown, if they cannot be allocated
        self._interpreter.allocate_tensors()
        self._shapes = shapes

    def _read(self, _: Any) -> Tensors:
        if self._answers is not None:
            return {name: np.array(self._answers[name]) for name in self.outputs}
        return {name: self._interpreter.get_tensor(detail["index"]) for name, detail in self.outputs.items()}


def _fitting(name: str, array: np.ndarray[Any, Any], detail: dict[str, Any]) -> np.ndarray[Any, Any]:
    """The array as the interpreter takes it. Raises SamplesError if dtype or shape do not fit."""
    wanted = np.dtype(detail["dtype"])
    if array.dtype == np.int64 and wanted == np.int32:
        limits = np.iinfo(np.int32)
        if array.size and (array.min() < limits.min or array.max() > limits.max):
            raise SamplesError(f"{name} has values from {array.min()} to {array.max()}", wanted="values that fit int32")
        array = array.astype(np.int32)
    if array.dtype != wanted:
        raise SamplesError(f"{name} is {array.dtype}", wanted=f"{wanted}")
    sizes = free_shape_of(detail)
    if array.ndim != len(sizes) or any(want not in (-1, size) for want, size in zip(sizes, array.shape, strict=True)):
        raise SamplesError(f"{name} has shape {list(array.shape)}", wanted=f"{list(sizes)} (-1 is free)")
    return np.require(array, requirements="C")


def free_shape_of(detail: dict[str, Any]) -> tuple[int, ...]:
    """The sizes of a tensor as the file states them, -1 where a size is free."""
    stated = detail["shape_signature"]
    return tuple(int(size) for size in (stated if len(stated) else detail["shape"]))


def boundary_of(interpreter: Any, entry: str = "") -> tuple[Details, Details]:
    """The details of the inputs and outputs by name: those of the signature `entry`, or of the tensors without one.

    Raises Unsupported where two tensors bear one name.
    """
    if entry:
        # The interpreter refuses to run while the runner lives: it is dropped on return.
        runner = interpreter.get_signature_runner(entry)
        return runner.get_input_details(), runner.get_output_details()
    sides = [interpreter.get_input_details(), interpreter.get_output_details()]
    named = [{str(detail["name"]): detail for detail in side} for side in sides]
    if [len(side) for side in sides] != [len(side) for side in named]:
        raise Unsupported("Two inputs or two outputs of the model have one name, and it has no signature")
    return named[0], named[1]


def called(inputs: Details, outputs: Details, signature: Signature) -> tuple[Details, Details]:
    """The details by the names of `signature`, where a tensor is called so in the file or by its users.

    Raises Unsupported where there is none such.
    """
    sides: list[Details] = []
    missing: list[str] = []
    for details, specs in ((inputs, signature.inputs), (outputs, signature.outputs)):
        wanted = [spec.name for spec in specs]
        usual = tflite_boundary.usual_names(details)
        names = {name: usual[name] if name not in wanted and usual[name] in wanted else name for name in details}
        missing += [name for name in wanted if name not in names.values()]
        sides.append({names[name]: detail for name, detail in details.items()})
    if missing:
        raise Unsupported(f"the file has no tensor {', '.join(missing)}", wanted=", ".join([*inputs, *outputs]))
    return sides[0], sides[1]


def _precision(interpreter: Any) -> str:
    """The kinds of number that the operators' tensors really have: "float32", "float32, int8", ..."""
    kinds = {
        np.dtype(detail["dtype"]).name for detail in interpreter.get_tensor_details() if detail["dtype"] is not object
    }
    computed = {kind for kind in kinds if kind.startswith("float") or kind in ("int8", "int16", "uint8")}
    return ", ".join(sorted(computed)) or "integer"
