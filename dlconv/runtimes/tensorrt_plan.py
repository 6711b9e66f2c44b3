"""What is known of a TensorRT plan without deserialising it: `plan.json`, which lies beside the plan.

A plan belongs to a version of TensorRT, a GPU and a system. TensorRT finds a misfit out only while it reads the plan,
and a plan can hold code that runs then: this says it before. Standard library alone.
"""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from dlconv.errors import FormatError

PLAN: Final = "model.plan"
FACTS: Final = "plan.json"
WEIGHTS: Final = "weights.onnx"
"""The ONNX model that a stripped plan takes its weights from, beside it."""
_AMPERE: Final = 8.0


@dataclass(frozen=True)
class PlanFacts:
    """What a plan was built by and for. precision: that was asked for. is_graph: it is
    run as a CUDA graph. The other flags are those of the builder."""

    tensorrt: str
    gpu: str
    compute_capability: str
    driver: str
    cuda: str
    precision: str = "fp32"
    system: str = field(default_factory=platform.system)
    is_version_compatible: bool = False
    hardware: str = ""
    is_stripped: bool = False
    is_streamed: bool = False
    is_graph: bool = False
    plugins: tuple[str, ...] = ()

    def __str__(self) -> str:
        return (
            f"{self.precision}, built by TensorRT {self.tensorrt} on {self.system} for {self.gpu}, compute capability "
            f"{self.compute_capability}"
        )

    @property
    def holds_code(self) -> bool:
        """Whether opening it runs code that lies in it or beside it: the lean runtime of a plan for other versions, or
        plugins."""
        return self.is_version_compatible or bool(self.plugins)

    def misfit(self, version: str, gpu: str, compute_capability: str) -> str:
        """Why the plan does not run by a version of TensorRT on a GPU, both sides named; "" where it may."""
        told: list[str] = []
        major = (text.partition(".")[0] for text in (self.tensorrt, version))
        if self.tensorrt != version and not (self.is_version_compatible and len(set(major)) == 1):
            told.append(f"it was built by TensorRT {self.tensorrt}, and this is TensorRT {version}")
        if self.system != platform.system():
            told.append(f"it was built on {self.system}, and this is {platform.system()}")
        if not self._fits(gpu, compute_capability):
            built = f"{self.gpu} (compute capability {self.compute_capability})"
            told.append(f"it was built for {built}, and this is {gpu} (compute capability {compute_capability})")
        return "; ".join(told)

    def _fits(self, gpu: str, compute_capability: str) -> bool:
        if self.hardware == "ampere-plus":
            return float(compute_capability) >= _AMPERE
        if self.hardware == "same-compute-capability":
            return self.compute_capability == compute_capability
        return (self.gpu, self.compute_capability) == (gpu, compute_capability)

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON-able data."""
        return {**vars(self), "plugins": list(self.plugins)}

    def write(self, folder: Path) -> None:
        """Put it beside the plan in `folder`."""
        (folder / FACTS).write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")

    @staticmethod
    def of(plan: Path) -> PlanFacts | None:
        """Of the plan at a path; None where nothing lies beside it. Raises FormatError where that is damaged."""
        path = plan.with_name(FACTS)
        if not path.exists():
            return None
        try:
            data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            known: dict[str, Any] = {
                name: data[name] for name in (one.name for one in fields(PlanFacts)) if name in data
            }
            known["plugins"] = tuple(known.get("plugins", ()))
            return PlanFacts(**known)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise FormatError(f"{path} does not tell of the plan: {error}", mend="export the model again") from error
