"""How a module behaves from call to call: does it keep state, does it draw random numbers."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlconv.convert.torchscript_lift import alike
from dlconv.convert.torchscript_trial import Drawn, draw
from dlconv.runtimes.torch_state import written_attributes
from dlconv.runtimes.torchscript import Argument, call, fresh, named_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Behaviour:
    """stateful: an answer depends on the calls before it. state: what the module writes to. caches: it writes, but
    answers alike. deterministic: two fresh copies answer alike under different seeds."""

    stateful: bool
    state: tuple[str, ...]
    deterministic: bool


def observe(
    module: Any, arguments: list[Argument], inputs: Mapping[str, Drawn], constants: Mapping[str, Any]
) -> Behaviour:
    """Runs A, then B, then A again on one instance, and A on another under another seed."""
    written = tuple(written_attributes(module))
    first, second = draw(inputs, seed=11), draw(inputs, seed=12)
    instance = fresh(module) if written else module
    answers = [_run(instance, arguments, {**constants, **values}, seed=1) for values in (first, second, first)]
    other = fresh(module) if written else module
    again = _run(other, arguments, {**constants, **first}, seed=2)
    deterministic = alike(answers[0], again)
    stateful = deterministic and not alike(answers[0], answers[2])
    return Behaviour(stateful, written if stateful else (), deterministic)


def _run(module: Any, arguments: list[Argument], values: Mapping[str, Any], seed: int) -> dict[str, Any]:
    import torch

    torch.manual_seed(seed)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name: tensor.clone() for name, tensor in named_tensors(call(module, arguments, values)).items()}
