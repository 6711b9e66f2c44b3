"""What an engine really computes in, by TensorRT's own account: the inspector's JSON, in the forms of all versions."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

_WORDS: Final = {
    "fp32": "float32", "float": "float32", "fp16": "float16", "half": "float16", "bf16": "bfloat16",
    "bfloat16": "bfloat16", "int8": "int8", "fp8": "float8", "fp4": "float4", "int4": "int4",
}  # fmt: skip
"""The inspector's words for what a layer computes in. Integers and booleans that are no quantised data say nothing."""
COARSEST_FIRST: Final = ("float4", "int4", "float8", "int8", "bfloat16", "float16", "tf32", "float32")
_FORMAT_KEY: Final = re.compile(r"data\s?type|format", re.IGNORECASE)


@dataclass(frozen=True)
class Attested:
    """Layers of an engine: how many, how many are several of the model's nodes in one, and how many give each
    precision. A convolution or product that runs by a TF32 kernel counts as "tf32"."""

    layers: int
    fused: int
    precisions: dict[str, int]

    @property
    def precision(self) -> str:
        """The coarsest that any layer gives, "unknown" where the engine does not tell."""
        return min(self.precisions, key=COARSEST_FIRST.index, default="unknown")


def attested(text: str) -> Attested:
    """What the text of `EngineInspector.get_engine_information` in JSON says. Without details it has names alone."""
    told = json.loads(text)
    layers: list[Any] = told.get("Layers", []) if isinstance(told, dict) else []
    counted: Counter[str] = Counter()
    for layer in layers:
        if isinstance(layer, dict):
            counted.update(_precisions_of(layer))
    names = [str(layer.get("Name", "")) if isinstance(layer, dict) else str(layer) for layer in layers]
    return Attested(len(layers), sum(" + " in name for name in names), dict(counted))


def inspected(trt: Any, engine: Any) -> Attested:
    """The same of an engine."""
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    return attested(text)


def _precisions_of(layer: dict[str, Any]) -> set[str]:
    found = {
        _WORDS[word]
        for tensor in layer.get("Outputs", ())
        if isinstance(tensor, dict)
        for key, value in tensor.items()
        if _FORMAT_KEY.search(key)
        for word in re.findall(r"[a-z]+\d*", str(value).lower())
        if word in _WORDS
    }
    if "float32" in found and "tf32" in str(layer.get("TacticName", "")).lower():
        found = (found - {"float32"}) | {"tf32"}
    return found
