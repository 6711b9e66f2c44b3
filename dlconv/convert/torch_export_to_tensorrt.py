"""An exported program (.pt2) -> a TensorRT plan by Torch-TensorRT: no ONNX in between, the whole program one engine."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dlconv.convert.edge import Made, Step
from dlconv.convert.tensorrt_built import facts_of, notes_on, sides_of, signature_of, written
from dlconv.errors import StepError, Unsupported
from dlconv.runtimes import tensorrt_api as api
from dlconv.runtimes.tensorrt_plan import PLAN
from dlconv.runtimes.torch_export_signature import with_outputs
from dlconv.runtimes.torch_program import load_exported, user_input_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dlconv.model import Signature, TensorSpec

    Profile = Mapping[str, Sequence[Sequence[int]]]

_FUNCTION: Final = "convert_exported_program_to_serialized_trt_engine"
_NAMES: Final = {
    "workspace_bytes": "workspace_size",
    "level": "optimization_level",
    "version_compatible": "version_compatible",
    "weight_streaming": "enable_weight_streaming",
}
"""Options of `--trt` that Torch-TensorRT has as they are, and what it calls them."""
_OWN: Final = (*_NAMES, "tf32", "timing_cache", "hardware", "refit", "cuda_graph")


def convert(step: Step) -> Made:
    """The plan, "model.plan", in float32, and "plan.json" that tells what it was built by and for. Inputs and outputs
    have the engine's own names, and stand for the source's.

    settings: "profiles" (one at the most: of inputs to their least, best and largest shape), "trt"
    (`TensorRTOptions.to_dict`), "plugin_paths".
    Raises Unsupported for what Torch-TensorRT cannot be asked, or does not have; StepError where the engine's tensors
    are not the program's.
    """
    options: dict[str, Any] = step.settings.get("trt", {})
    profiles: Sequence[Profile] = step.settings.get("profiles", ())
    _refuse(step, options, profiles)
    trt, driver = api.load()
    dynamo: Any = import_module("torch_tensorrt.dynamo")
    build = getattr(dynamo, _FUNCTION, None)
    if build is None:
        raise Unsupported(f"this Torch-TensorRT has no {_FUNCTION}", mend="install a newer torch-tensorrt")
    program = load_exported(step.source)
    signature = with_outputs(program, step.signature)
    args, kwargs = _inputs(program, signature, profiles[0] if profiles else {})
    with tempfile.TemporaryDirectory() as folder:
        words = {**_words(options), **({} if options.get("timing_cache", True) else _anew(folder))}
        plan = build(program, arg_inputs=args, kwarg_inputs=kwargs, **words)
    log = api.new_log(trt)
    facts = facts_of(trt, driver, options, "fp32")
    engine, found = written(bytes(plan), facts, step.out_dir, trt, log)
    given, made = sides_of(trt, engine)
    called = replace(
        signature, inputs=_called(signature.inputs, given), outputs=_called(signature.outputs, made), state=()
    )
    return Made(
        PLAN, signature_of(trt, engine, called), ("by Torch-TensorRT", *notes_on(found, facts, engine, options))
    )


def _refuse(step: Step, options: Mapping[str, Any], profiles: Sequence[Profile]) -> None:
    """Nothing asked for is dropped: what Torch-TensorRT cannot be told is an error."""
    strange = [f"--trt {name.replace('_', '-').replace('plugins', 'plugin')}" for name in options if name not in _OWN]
    strange += (
        ["--trt hardware=same-compute-capability"] if options.get("hardware", "ampere-plus") != "ampere-plus" else []
    )
    strange += ["more than one --opt for an input"] if len(profiles) > 1 else []
    strange += ["a model with state"] if step.signature.state else []
    strange += ["arguments that are no tensors"] if step.signature.constants else []
    if strange:
        raise Unsupported(f"Torch-TensorRT does not take {', '.join(strange)}", mend="another route is tried")


def _words(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options in Torch-TensorRT's words. TF32 is off unless asked for."""
    told = {_NAMES[name]: value for name, value in options.items() if name in _NAMES}
    told |= {"hardware_compatible": True} if options.get("hardware") else {}
    told |= {"immutable_weights": False} if options.get("refit") else {}
    return {"disable_tf32": not options.get("tf32", False), **told}


def _anew(folder: str) -> dict[str, Any]:
    """No timings but those of this build, which go with the folder."""
    return {"timing_cache_path": str(Path(folder) / "timings")}


def _inputs(program: Any, signature: Signature, profile: Profile) -> tuple[list[Any], dict[str, Any]]:
    """What the program is to be built for: its positional arguments and those by name."""
    torch: Any = import_module("torch")
    pytree: Any = import_module("torch.utils._pytree")
    kind: Any = import_module("torch_tensorrt").Input
    specs = {spec.name: spec for spec in signature.inputs}
    names = list(user_input_names(program))
    if sorted(names) != sorted(specs):
        raise StepError(f"the program takes {', '.join(names)}", wanted=", ".join(specs))
    flat: list[Any] = []
    for name in names:
        dtype = getattr(torch, specs[name].dtype)
        if name in profile:
            least, best, most = (tuple(shape) for shape in profile[name])
            flat.append(kind(min_shape=least, opt_shape=best, max_shape=most, dtype=dtype))
        else:
            flat.append(kind(shape=tuple(specs[name].shape or ()), dtype=dtype))
    args, kwargs = pytree.tree_unflatten(flat, program.call_spec.in_spec)
    return list(args), dict(kwargs)


def _called(specs: tuple[TensorSpec, ...], names: list[str]) -> tuple[TensorSpec, ...]:
    """The program's tensors as the engine calls them: by their own names where it has these, else by their order."""
    if len(specs) != len(names):
        raise StepError(f"the engine has {', '.join(names)}", wanted=", ".join(spec.name for spec in specs))
    if {spec.name for spec in specs} == set(names):
        return specs
    return tuple(
        replace(spec, name=name, source="" if name == spec.source_name else spec.source_name)
        for spec, name in zip(specs, names, strict=True)
    )
