"""Probes: what proves each runtime, delegate and device of this machine, by doing the thing in a worker.

A device's driver is asked before whatever is built on it (`after`): a runtime object that is made without a working
driver can end the process by a signal. `dlconv doctor` shows them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from dlconv.asked import providers

Kind = Literal["toolchain", "runtime", "converter", "provider", "delegate", "device"]
"""What can be proved. A machine may do without providers, delegates and devices."""

_DRIVERS: Final = {"nvidia": "nvidia-driver", "rocm": "rocm"}
"""By the gate that names the hardware, the probe of its driver."""


@dataclass(frozen=True)
class Probe:
    """function: `module:name` that returns {"version", "devices"}, or raises what is missing or broken.

    toolchain: whose interpreter it runs in; "" for dlconv's own, where it needs the standard library alone.
    settings: its arguments. after: the probe that has to work before this one is made.
    """

    kind: Kind
    name: str
    toolchain: str
    function: str
    settings: tuple[tuple[str, Any], ...] = ()
    after: str = ""


def _runtime(name: str, toolchain: str, module: str) -> Probe:
    return Probe("runtime", name, toolchain, f"dlconv.runtimes.{module}:probe")


def _gpu_runtime(name: str, toolchain: str, module: str) -> Probe:
    return Probe("runtime", name, toolchain, f"dlconv.runtimes.{module}:probe", (), "nvidia-driver")


def _device(name: str, toolchain: str, function: str, **settings: Any) -> Probe:
    return Probe("device", name, toolchain, f"dlconv.runtimes.{function}", tuple(settings.items()))


def _provider(provider: providers.Provider) -> Probe:
    function, settings = "dlconv.runtimes.onnxruntime:probe", (("provider", provider.name),)
    return Probe(
        "provider",
        f"onnxruntime-{provider.name}",
        provider.toolchain,
        function,
        settings,
        _DRIVERS.get(provider.gate, ""),
    )


def _nvidia(name: str) -> Probe:
    function = "dlconv.runtimes.nvidia_libraries:probe"
    return Probe("device", name, "", function, (("name", name),), "nvidia-driver")


def _cpu(name: str) -> Probe:
    return Probe("device", name, "", "dlconv.runtimes.cpu_extensions:probe", (("name", name),))


PROBES: Final = (
    _runtime("torch", "torch", "torch"),
    _runtime("onnxruntime", "onnx", "onnxruntime"),
    _runtime("openvino", "openvino", "openvino"),
    _runtime("tflite", "tflite", "tflite"),
    _runtime("tflite-runtime", "tflite-runtime", "tflite"),
    _runtime("tensorflow", "tensorflow", "tensorflow"),
    _runtime("jax", "jax", "jax"),
    _gpu_runtime("tensorrt", "tensorrt", "tensorrt"),
    *(_provider(each) for each in providers.PROVIDERS if not each.is_cpu),
    Probe("delegate", "xnnpack", "tflite", "dlconv.runtimes.tflite:probe_xnnpack"),
    _device("nvidia-driver", "", "nvidia_driver:probe"),
    _nvidia("cublas"),
    _nvidia("cudnn"),
    _nvidia("libnvinfer"),
    _device("rocm", "", "rocm:probe"),
    _device("openvino-gpu", "openvino", "openvino:probe_device", device="GPU"),
    _device("openvino-npu", "openvino", "openvino:probe_device", device="NPU"),
    _device("coral-edge-tpu", "tflite", "coral:probe"),
    _device("edgetpu-compiler", "tflite", "coral:probe_compiler"),
    _cpu("avx2"),
    _cpu("avx-vnni"),
    _cpu("avx512-vnni"),
    _cpu("avx512-bf16"),
    _cpu("amx"),
)
"""In the order in which they are made and shown, those of one toolchain by one worker."""
