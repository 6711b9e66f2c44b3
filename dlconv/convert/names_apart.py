"""Outputs under names that no input has, for formats that know one tensor by each name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlconv.model import Signature, TensorSpec


def apart(signature: Signature) -> Signature:
    """An output that is called as an input is gets another name, and keeps the source's beside it."""
    taken = {spec.name for spec in (*signature.inputs, *signature.outputs)}
    inputs = {spec.name for spec in signature.inputs}
    outputs: list[TensorSpec] = []
    for spec in signature.outputs:
        name = spec.name
        if name in inputs:
            name, number = f"{spec.name}_output", 1
            while name in taken:
                number += 1
                name = f"{spec.name}_output_{number}"
            taken.add(name)
        outputs.append(replace(spec, name=name, source="" if name == spec.source_name else spec.source_name))
    return replace(signature, outputs=tuple(outputs))
