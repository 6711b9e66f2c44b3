"""What a file is: its format and size, and what its framework reads in it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlconv.drawing import draw
from dlconv.errors import DlconvError
from dlconv.formats import Format
from dlconv.model import Signature
from dlconv.opening import digest, identify
from dlconv.runtimes.tensorrt_plan import PlanFacts

if TYPE_CHECKING:
    from dlconv.opening import Found

_READERS = {
    Format.TORCHSCRIPT: ("torch", "dlconv.runtimes.torch_describe:describe"),
    Format.TORCH_EXPORT: ("torch", "dlconv.runtimes.torch_describe:describe"),
    Format.ONNX: ("onnx", "dlconv.runtimes.onnx_describe:describe"),
    Format.OPENVINO: ("openvino", "dlconv.runtimes.openvino_describe:describe"),
    Format.TFLITE: ("tflite", "dlconv.runtimes.tflite_describe:describe"),
    Format.SAVED_MODEL: ("tensorflow", "dlconv.convert.tensorflow_signature:describe"),
    Format.KERAS: ("tensorflow", "dlconv.convert.tensorflow_signature:describe"),
    Format.KERAS_H5: ("tensorflow", "dlconv.convert.tensorflow_signature:describe"),
    Format.FROZEN_GRAPH: ("tensorflow", "dlconv.convert.tensorflow_signature:describe"),
    Format.JAX: ("jax", "dlconv.convert.jax_signature:read"),
}
"""Format: the toolchain that can read it, and the worker-side function that does."""
_TIMED = {
    Format.ONNX: ("onnx", "dlconv.runtimes.onnx_time:spent"),
    Format.OPENVINO: ("openvino", "dlconv.runtimes.openvino_time:spent"),
}
"""The same of the runtimes that tell the time of each node."""
_GUESSED = {
    Format.ONNX: ("onnx", "dlconv.runtimes.onnx_work:guessed"),
    Format.TFLITE: ("tflite", "dlconv.runtimes.tflite_work:guessed"),
}
"""The same of what estimates it by the work of each operator, where it is not told: nothing is run."""
_TIMED_S = 2.0


@dataclass(frozen=True)
class Inspection:
    """What is known of a model.

    title: what a person calls it. files: all that it consists of, external data too. signature, opset, operators
    (name: count) and parameters ({"count", "size_bytes", "by_dtype"}) are None where nothing could read them; then
    trouble says why. advice: how to make of it what dlconv converts. time: where the runtime spends it ({"runtime",
    "runs", "sizes", "nodes": [[operator, node, milliseconds], ...]}, the longest first), or why that is not known
    ({"reason"}), with an estimate besides where there is one ({"estimate": [[operator, node, share], ...]}); None where
    it was not asked for.
    """

    path: Path
    format: Format
    title: str
    advice: str
    files: tuple[Path, ...]
    size_bytes: int
    digest: str
    signature: Signature | None = None
    opset: Any = None
    operators: dict[str, int] | None = None
    parameters: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()
    further: dict[str, Any] = field(default_factory=dict)
    trouble: DlconvError | None = None
    time: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON-able data."""
        return {
            "path": str(self.path),
            "format": self.format.value,
            "title": self.title,
            "is_source": self.format.is_source,
            "advice": self.advice,
            "files": [str(file) for file in self.files],
            "size_bytes": self.size_bytes,
            "digest": self.digest,
            "signature": None if self.signature is None else self.signature.to_dict(),
            "opset": self.opset,
            "operators": self.operators,
            "parameters": self.parameters,
            "notes": list(self.notes),
            "further": self.further,
            "trouble": None if self.trouble is None else self.trouble.to_dict(),
            "time": self.time,
        }


def inspect(path: Path | str, *, timeout_s: float = 300.0, timed: bool = False) -> Inspection:
    """What lies at `path`. A known format is read in a worker of its toolchain, for at most `timeout_s` seconds.

    timed: the model is run too, on a drawn sample, for the share of each of its nodes in the time.

    Raises RequestError where there is nothing, FormatError where it is damaged. What keeps its content from being
    read (a missing toolchain, a framework that refuses it) is the inspection's `trouble`.
    """
    found = identify(Path(path))
    known: dict[str, Any] = {}
    trouble: DlconvError | None = None
    if found.format in _READERS:
        try:
            known = _read(found, timeout_s)
        except DlconvError as error:
            trouble = error
    if found.format is Format.TENSORRT and (facts := PlanFacts.of(found.path)) is not None:
        known = {
            "plan": facts.to_dict(),
            "notes": (str(facts),),
        }  # a plan itself is of one version: what lies beside it tells of it anywhere
    signature = _signature(known)
    common = {"opset", "operators", "parameters", "buffers", "inputs", "outputs", "signature", "notes"}
    return Inspection(
        path=found.path,
        format=found.format,
        title=found.title,
        advice=found.advice,
        files=found.files,
        size_bytes=found.size_bytes,
        digest=digest(found),
        signature=signature,
        opset=known.get("opset"),
        operators=known.get("operators"),
        parameters=_parameters(known),
        notes=tuple(known.get("notes") or ()),
        further={key: value for key, value in known.items() if key not in common},
        trouble=trouble,
        time=_time(found, signature, timeout_s) if timed else None,
    )


def _time(found: Found, signature: Signature | None, timeout_s: float) -> dict[str, Any]:
    """See `Inspection.time`. Free sizes are 1, integers from 0 to 1: they may count something."""
    told = _measured(found, signature, timeout_s)
    if "reason" not in told or found.format not in _GUESSED:
        return told
    try:
        guess = _called(found, *_GUESSED[found.format], timeout_s)
    except DlconvError as error:
        return {"reason": f"{told['reason']}; nor can it be estimated: {error}"}
    return {**told, "estimate": sorted(guess["nodes"], key=lambda node: -node[2])}


def _measured(found: Found, signature: Signature | None, timeout_s: float) -> dict[str, Any]:
    if found.format is Format.TFLITE:
        return {"reason": "TFLite's interpreter gives no profile to Python"}
    if found.format not in _TIMED:
        also = " or ".join(format_.value for format_ in _TIMED)
        return {
            "reason": f"no runtime tells the time of each operator of this format; export it to {also} and look there"
        }
    if signature is None or any(spec.shape is None for spec in signature.inputs):
        return {"reason": "its inputs are not known well enough to run it"}
    free = {dim for spec in signature.inputs for dim in spec.shape or () if isinstance(dim, str)}
    try:
        [sample] = draw(signature, 1, 0, dict.fromkeys(free, 1), _counts(signature)).samples
        name, function = _TIMED[found.format]
        told = _called(found, name, function, timeout_s, inputs=sample, least_s=_TIMED_S)
    except DlconvError as error:
        return {"reason": f"it does not run on a drawn sample: {error}"}
    nodes = sorted(told["nodes"], key=lambda node: -node[2])
    return {**told, "nodes": nodes, "sizes": dict.fromkeys(sorted(free), 1)}


def _counts(signature: Signature) -> dict[str, tuple[int, int]]:
    return {spec.name: (0, 1) for spec in signature.inputs if spec.dtype.removeprefix("u").startswith("int")}


def _signature(known: dict[str, Any]) -> Signature | None:
    # A TorchScript archive holds no shapes: it has a schema, and no signature.
    signature = known if "inputs" in known else known.get("signature")
    return None if signature is None else Signature.from_dict(signature)


def _parameters(known: dict[str, Any]) -> dict[str, Any] | None:
    # PyTorch tells parameters and buffers apart, by dtype; the other readers give the sums.
    parameters = known.get("parameters")
    if parameters is None or "count" in parameters:
        return parameters
    by_dtype: dict[str, int] = {}
    size_bytes = 0
    for kind in (parameters, known.get("buffers", {})):
        for dtype, held in kind.items():
            by_dtype[dtype] = by_dtype.get(dtype, 0) + held["count"]
            size_bytes += held["size_bytes"]
    return {"count": sum(by_dtype.values()), "size_bytes": size_bytes, "by_dtype": by_dtype}


def _read(found: Found, timeout_s: float) -> dict[str, Any]:
    return _called(found, *_READERS[found.format], timeout_s)


def _called(found: Found, name: str, function: str, timeout_s: float, **more: Any) -> dict[str, Any]:
    """What a function says of the file, in a worker of the toolchain of that name."""
    from dlconv.workers.toolchains import Missing, get, locate
    from dlconv.workers.worker import Worker

    where = locate(get(name))
    if isinstance(where, Missing):
        raise where.error()
    log = Path(tempfile.mkdtemp(prefix="dlconv-inspect-")) / "inspect.log"
    with Worker(where.interpreter, name, log, timeout_s=timeout_s) as worker:
        known: dict[str, Any] = worker.call(
            function, what=f"reading {found.path.name}", path=str(found.path.absolute()), **more
        )
    # The log is kept only where an error names it.
    log.unlink()
    log.parent.rmdir()
    return known
