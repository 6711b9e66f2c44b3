"""TensorRT's own interface from 8.5 to 11 by one code: what a version can is asked of its attributes, never its number.

Enumerations were renumbered between versions: members are found by name, and only names are told or kept.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import numpy as np

from dlconv.errors import DlconvError, MachineError, StepError, Unsupported, cause_of
from dlconv.runtimes.nvidia_driver import Driver, ask

Array = np.ndarray[Any, Any]
_NUMPY: Final = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "BOOL": "bool",
    "BF16": "bfloat16",
}
"""TensorRT's dtypes by name, and NumPy's. `tensorrt.nptype` is not asked: it raises for some of them."""
_OWN_TACTICS: Final = ("EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS")
_OWN_CORE: Final = "DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805"
"""Of 8.5, whose layers may use the libraries besides choosing their kernels; newer versions do not."""
_BFLOAT16: Final = "ml_dtypes"


def load() -> tuple[Any, Driver]:
    """The module, and the driver, which is asked first: without one a runtime object can end the process by a signal.

    Raises HardwareMissing or MachineError, as `nvidia_driver.ask`.
    """
    driver = ask()
    return import_module("tensorrt"), driver


def member(trt: Any, enum: str, name: str) -> Any:
    """A member of an enumeration by name; None where this version has no such enumeration or member."""
    return getattr(getattr(trt, enum, None), name, None)


def required(trt: Any, enum: str, name: str, what: str) -> Any:
    """As `member`. Raises Unsupported where this version has none: what was asked for is not dropped."""
    found = member(trt, enum, name)
    if found is None:
        raise lacking(trt, what, f"{enum}.{name}")
    return found


def lacking(trt: Any, what: str, name: str) -> Unsupported:
    """The error for what was asked of a version that does not have it."""
    return Unsupported(
        f"TensorRT {trt.__version__} has no {what}",
        wanted=f"a version with tensorrt.{name}",
        mend="leave it out, or use another version of TensorRT",
    )


def dtype_of(kind: Any) -> str:
    """NumPy's name of a dtype of TensorRT's. Raises Unsupported for one that no array holds."""
    if kind.name not in _NUMPY:
        raise Unsupported(f"a tensor is {kind.name}", wanted=f"inputs and outputs of {', '.join(_NUMPY)}")
    return _NUMPY[kind.name]


def array_type(dtype: str) -> np.dtype[Any]:
    """NumPy's dtype for a name. Raises MachineError for bfloat16 without the package that knows it."""
    if dtype != "bfloat16":
        return np.dtype(dtype)
    try:
        found: np.dtype[Any] = np.dtype(import_module(_BFLOAT16).bfloat16)
    except ImportError as error:
        raise MachineError("an input or output is bfloat16", wanted=_BFLOAT16, mend="pip install ml_dtypes") from error
    return found


def new_log(trt: Any) -> Any:
    """A logger whose `errors` are the lines that TensorRT called errors, and that prints warnings too."""

    class Log(trt.ILogger):
        """What TensorRT is given to write to. It is kept as long as what was made with it."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            """One line."""
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.errors.append(msg)
            if severity not in (trt.ILogger.INFO, trt.ILogger.VERBOSE):
                print(f"[TensorRT] {msg}", flush=True)  # noqa: T201 - a worker's output is its log

    return Log()


def register_plugins(trt: Any, log: Any) -> None:
    """Make the plugins that come with TensorRT known to its parser and runtime: models name them (EfficientNMS_TRT).

    Raises MachineError where their library does not start.
    """
    if not trt.init_libnvinfer_plugins(log, ""):
        cause = cause_of(log.errors[0]) if log.errors else "it says no reason"
        raise MachineError(
            f"TensorRT {trt.__version__} does not start its library of plugins: {cause}",
            wanted="libnvinfer_plugin of the same version",
            mend="install TensorRT anew",
        )


def refused(trt: Any, what: str, log: Any, mend: str = "another route is tried") -> StepError:
    """The error for what TensorRT answered with nothing, with the errors that it logged."""
    lines = tuple(dict.fromkeys(cause_of(line) for line in log.errors))
    met = f"TensorRT {trt.__version__} {what}: {lines[0] if lines else 'it says no reason'}"
    return StepError(met, mend=mend, problems=lines[1:6])


def made(trt: Any, kind: str, log: Any, *arguments: Any) -> Any:
    """An object of TensorRT's. Raises MachineError where it cannot be made: its library or CUDA do not work here."""
    try:
        return getattr(trt, kind)(*arguments, log) if kind == "OnnxParser" else getattr(trt, kind)(log)
    except DlconvError:
        raise
    except Exception as error:  # pybind11 raises TypeError where CUDA could not be started
        lines = (*log.errors, str(error))
        raise MachineError(
            f"TensorRT {trt.__version__} makes no {kind}: {cause_of(lines[0])}",
            wanted="a driver that serves the CUDA that it was built for",
            mend="update NVIDIA's driver, or install a TensorRT for an older CUDA",
            problems=lines[1:],
        ) from error


def new_network(trt: Any, builder: Any) -> tuple[Any, bool]:
    """An empty network, and whether its types are those of the graph ("strongly typed"), where the version can."""
    flags = 0
    names = ("EXPLICIT_BATCH", "STRONGLY_TYPED")  # the first is gone in 11, the second is not yet there in 8
    for name in names:
        found = member(trt, "NetworkDefinitionCreationFlag", name)
        flags |= 0 if found is None else 1 << int(found)
    return builder.create_network(flags), member(trt, "NetworkDefinitionCreationFlag", names[1]) is not None


def use_own_tactics(trt: Any, config: Any) -> None:
    """Have the builder choose of TensorRT's own kernels alone: none of cuBLAS's and cuDNN's, which are libraries apart
    (and, from TensorRT 11 on, are not asked for kernels any more)."""
    own = [member(trt, "TacticSource", name) for name in _OWN_TACTICS]
    config.set_tactic_sources(sum(1 << int(source) for source in own if source is not None))
    core = member(trt, "PreviewFeature", _OWN_CORE)
    if core is not None:
        config.set_preview_feature(core, True)


def shape_of(dims: Any) -> tuple[int, ...]:
    """A shape, -1 where a size is free or not yet known."""
    return tuple(int(size) for size in dims)
