"""ONNX Runtime's execution providers: what runs a model's nodes. As data; `runtimes/onnxruntime.py` takes one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from dlconv.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

CPU: Final = "CPUExecutionProvider"
_SYSTEMS: Final = {"linux": "Linux", "win32": "Windows", "darwin": "macOS"}


@dataclass(frozen=True)
class Provider:
    """name: as `--provider` says it; execution: as ONNX Runtime does. device: what it runs on.

    packages: distributions of ONNX Runtime that have it, the one to install first; () where none is published.
    how: the way to get it where no package is. systems: `sys.platform`s that there is one for, () for all.
    toolchain: whose interpreter it runs in. gate: hardware that it needs (`dlconv.workers.gates`), "" for none.
    options: of the provider, so that it computes as was asked. before_cpu: what takes the nodes that it leaves, before
    the CPU does.
    """

    name: str
    execution: str
    device: str
    packages: tuple[str, ...]
    how: str = ""
    systems: tuple[str, ...] = ()
    toolchain: str = "onnx"
    gate: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    before_cpu: tuple[str, ...] = ()

    @property
    def chain(self) -> tuple[str, ...]:
        """The providers of a session that asks for this one, in the order in which they are offered nodes."""
        return tuple(dict.fromkeys((self.execution, *self.before_cpu, CPU)))

    @property
    def mend(self) -> str:
        """How to get an ONNX Runtime that has it."""
        if self.how:
            return self.how
        new = self.packages[0]
        where = f"on {' or '.join(_SYSTEMS[name] for name in self.systems)}: " if self.systems else ""
        before = "" if new == "onnxruntime" else "pip uninstall --yes onnxruntime && "  # they are one folder
        return f"{where}{before}pip install {new}"

    @property
    def is_cpu(self) -> bool:
        return self.execution == CPU


_GPU = ("onnxruntime-gpu",)
_CUDA = "CUDAExecutionProvider"

PROVIDERS: Final = (
    Provider("cpu", CPU, "CPU", ("onnxruntime",)),
    Provider(
        "cuda",
        _CUDA,
        "NVIDIA GPU",
        _GPU,
        gate="nvidia",
        options={"use_tf32": "0"},  # float32 is what was asked for
    ),
    Provider(
        "tensorrt",
        "TensorrtExecutionProvider",
        "NVIDIA GPU",
        _GPU,
        gate="nvidia",
        before_cpu=(_CUDA,),
    ),
    Provider(
        "openvino",
        "OpenVINOExecutionProvider",
        "CPU",
        ("onnxruntime-openvino",),
        toolchain="onnxruntime-openvino",
        options={"device_type": "CPU"},
    ),
    Provider("rocm", "ROCMExecutionProvider", "AMD GPU", ("onnxruntime-rocm",), systems=("linux",), gate="rocm"),
    Provider(
        "migraphx", "MIGraphXExecutionProvider", "AMD GPU", ("onnxruntime-migraphx",), systems=("linux",), gate="rocm"
    ),
    Provider("directml", "DmlExecutionProvider", "GPU", ("onnxruntime-directml",), systems=("win32",)),
    Provider("coreml", "CoreMLExecutionProvider", "Apple Neural Engine", ("onnxruntime",), systems=("darwin",)),
    Provider(
        "qnn",
        "QNNExecutionProvider",
        "Qualcomm NPU",
        ("onnxruntime-qnn",),
        how="pip uninstall --yes onnxruntime && pip install 'onnxruntime-qnn<2' (from 2 on it is a plugin library, "
        "which is not loaded)",
    ),
    Provider(
        "xnnpack",
        "XnnpackExecutionProvider",
        "CPU",
        (),
        how="build ONNX Runtime with --use_xnnpack --build_wheel: no package of it for Python is published",
    ),
)
"""All that can be asked for, in the order of `--help`."""
NAMES: Final = tuple(provider.name for provider in PROVIDERS)


def find(name: str) -> Provider:
    """The provider of that name, the CPU's for "". Raises RequestError for an unknown one."""
    for provider in PROVIDERS:
        if provider.name == (name or "cpu"):
            return provider
    raise RequestError(f"there is no provider {name!r}", wanted=f"one of {', '.join(NAMES)}")
