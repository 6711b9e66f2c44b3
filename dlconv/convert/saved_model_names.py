"""Names of a SavedModel's inputs and outputs: what TensorFlow takes as a keyword of a signature."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dlconv.model import TensorSpec

KEY = "serving_default"
"""The key of the one signature that dlconv writes."""


def allowed(specs: Iterable[TensorSpec]) -> tuple[TensorSpec, ...]:
    """The tensors under the source's names, as TensorFlow takes them: letters, digits and underscores.

    "params.w" becomes "params_w", "0" becomes "_0"; a number follows where two would be the same.
    """
    kept: dict[str, TensorSpec] = {}
    for spec in specs:
        clean = re.sub(r"\W", "_", spec.source_name, flags=re.ASCII)
        clean = f"_{clean}" if clean[:1].isdigit() else clean
        number, name = 1, clean
        while name in kept:
            number += 1
            name = f"{clean}_{number}"
        kept[name] = replace(spec, name=name, source="" if name == spec.source_name else spec.source_name)
    return tuple(kept.values())
