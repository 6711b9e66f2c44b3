"""ONNX to a model that ONNX Runtime's TensorRT provider builds and runs: for what TensorRT alone does not take, since
the provider leaves such nodes to CUDA or the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dlconv.asked import providers
from dlconv.convert.edge import Made, Step
from dlconv.convert.onnx_for_provider import written_for
from dlconv.errors import MachineError, StepError, Unsupported
from dlconv.runtimes import onnxruntime

PROVIDER: Final = "tensorrt"


def convert(step: Step) -> Made:
    """The ONNX model, "model.onnx", that was seen to load by the provider. It is no plan: each load builds one.

    settings: "profiles", "trt" and "plugin_paths" as of the step to a plan, and "optima" (how many `--opt`s there are),
    none of which the provider can be told. Raises Unsupported for these, and where it takes no node; StepError where
    the provider does not start.
    """
    _refuse(step.settings)
    provider = providers.find(PROVIDER)
    made = written_for(step, provider)
    try:
        onnxruntime.open(step.out_dir / made.entry, made.signature, {"provider": PROVIDER})
    except MachineError as error:  # the target can be had without it: no reason to end
        raise StepError(f"{provider.execution} does not serve: {error.met}", mend=error.mend) from error
    told = f"no plan: an ONNX model that {provider.execution} of ONNX Runtime runs"
    return Made(made.entry, made.signature, (told, *made.notes))


def _refuse(settings: Mapping[str, Any]) -> None:
    options = [name for name in settings.get("trt", {}) if name != "plugins"]
    strange = [f"--trt {name.replace('_', '-')}" for name in options]
    strange += ["--trt plugin"] if settings.get("plugin_paths") else []
    strange += ["--opt"] if settings.get("optima") else []
    if strange:
        met = f"ONNX Runtime's TensorRT provider is not told {', '.join(strange)}"
        raise Unsupported(met, mend="another route is tried")
