"""Models that PyTorch itself quantised: what their tensors are rounded to, and those that no exporter reads.

A quantised operator computes in integers, of any input: nothing of it runs in float64, and two right implementations
differ by a step of its output here and there (`dlconv.validators.quantised`).
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from dlconv.errors import Unsupported
from dlconv.runtimes.torch_state import all_nodes
from dlconv.runtimes.torchscript import named_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dlconv.model import Signature, TensorSpec

_DYNAMIC: Final = re.compile(r"quantized::\w*dynamic\w*|aten::quantized_(lstm|gru|\w+_cell)")
"""Operators that quantise what they are given anew in each call. Their weights lie packed for the CPU's kernels in an
object that PyTorch's ONNX exporters and OpenVINO's frontend do not look into (torch 2.13, OpenVINO 2026.4)."""

_UNPACKED: Final = frozenset({"linear", "conv2d", "conv3d"})


def refuse_dynamic(module: Any) -> None:
    """Raises Unsupported for a module with operators of dynamic quantisation."""
    met = sorted({kind for kind in _kinds(module) if _DYNAMIC.fullmatch(kind)})
    if met:
        raise Unsupported(
            f"PyTorch quantised the model dynamically: no exporter reads the packed weights of {', '.join(met)}",
            wanted="the float model that it was made from",
            mend="export that, and let dlconv quantise: --int8-weights, or --int8 with samples",
        )


def with_grids(
    signature: Signature, module: Any, values: Mapping[str, Any], run: Callable[[Mapping[str, Any]], Any]
) -> Signature:
    """The signature with the scales that the model rounds its float inputs and outputs to, where it computes in
    integers: that of the tensor itself where it is quantised, or made by dequantising, else 0.0.

    values: the inputs by name; run: answers them.
    """
    if not any(kind.startswith("quantized::") for kind in _kinds(module)):
        return signature
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    taken: dict[int, tuple[float, int]] = {}
    given: dict[int, tuple[float, int]] = {}
    kept: list[Any] = []  # so that no other tensor gets the address of one that is known

    class Watch(TorchDispatchMode):
        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            return False  # else PyTorch imports its compiler, three seconds of it, to keep it away from this mode

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            answer = func(*args, **(kwargs or {}))
            name = func._overloadpacket.__name__
            if name == "quantize_per_tensor" and isinstance(answer, torch.Tensor):
                taken.setdefault(args[0].data_ptr(), (answer.q_scale(), answer.q_zero_point()))
            if name == "dequantize" and isinstance(answer, torch.Tensor) and _is_even(args[0]):
                given[answer.data_ptr()] = (args[0].q_scale(), args[0].q_zero_point())
                kept.append(answer)
            return answer

    with torch.no_grad(), Watch():
        outputs = named_tensors(run(values))
    inputs = {name: tensor.data_ptr() for name, tensor in values.items() if isinstance(tensor, torch.Tensor)}
    return replace(
        signature,
        inputs=tuple(_rounded(spec, taken.get(inputs[spec.name])) for spec in signature.inputs),
        outputs=tuple(_rounded(spec, given.get(outputs[spec.name].data_ptr())) for spec in signature.outputs),
    )


def packed_sizes(operator: str, parameters: Any) -> tuple[int, ...]:
    """The sizes of the weights that lie packed in an object: of "linear" [out, in], of "conv2d" and "conv3d" [out, in,
    ...] with the groups joined, whether or not a "relu" is in it; () of any other operator."""
    import torch

    name = operator.removesuffix("_relu")
    if name not in _UNPACKED or not isinstance(parameters, torch.ScriptObject):
        return ()
    weights, _ = getattr(torch.ops.quantized, f"{name}_unpack")(parameters)
    if name == "linear":
        return tuple(weights.shape)
    groups = getattr(torch.ops.quantized, f"{name}_groups")(parameters)
    return (weights.shape[0], weights.shape[1] * groups, *weights.shape[2:])


def _kinds(module: Any) -> set[str]:
    return {str(node.kind()) for node in all_nodes(module.inlined_graph)}


def _is_even(tensor: Any) -> bool:
    """Whether one scale is that of all elements."""
    import torch

    return bool(tensor.is_quantized) and tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric)


def _rounded(spec: TensorSpec, grid: tuple[float, int] | None) -> TensorSpec:
    if not spec.dtype.startswith("float"):
        return spec
    scale, zero_point = grid or (0.0, 0)
    return replace(spec, scale=scale, zero_point=zero_point)
