"""The contract of an edge: what a converter function is told, and what it returns.

An edge is one module with one function, `convert(step: Step) -> Made`, that runs in a worker process.
It writes into `step.out_dir` alone, never touches `step.source`, and knows of no other edge.
It raises `dlconv.errors.Unsupported` where it knows that it cannot, and lets the framework's own exceptions
pass: the worker translates them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlconv.model import Signature

if TYPE_CHECKING:
    import numpy as np

    from dlconv.model import TensorSpec


@dataclass(frozen=True)
class Step:
    """What an edge is told.

    source: the model, a file or a directory. out_dir: an empty directory to write in.
    signature: the source's signature, names as the user sees them; outputs may be empty if nobody knows them yet.
    sample: an array for each of the signature's inputs but state, under its name here and in its axes, for tracing.
    settings: this edge's own fixed settings from the graph (opset, exporter, ...), part of the cache's key.
    trust: the user vouches for the source: code that it holds may run.
    calibration: for an edge that quantises, an .npz of samples (`samples.to_arrays`) in the names of `signature`.
    """

    source: Path
    out_dir: Path
    signature: Signature
    sample: dict[str, np.ndarray]
    settings: dict[str, Any] = field(default_factory=dict)
    trust: bool = False
    calibration: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "source": str(self.source),
            "out_dir": str(self.out_dir),
            "signature": self.signature.to_dict(),
            "sample": dict(self.sample),
            "settings": self.settings,
            "trust": self.trust,
            "calibration": None if self.calibration is None else str(self.calibration),
        }

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Step:
        return Step(
            source=Path(data["source"]),
            out_dir=Path(data["out_dir"]),
            signature=Signature.from_dict(data["signature"]),
            sample=data["sample"],
            settings=data["settings"],
            trust=data.get("trust", False),
            calibration=Path(data["calibration"]) if data.get("calibration") else None,
        )


def inherited(made: tuple[TensorSpec, ...], before: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    """What an edge made under the names that were there before: each tensor stands for what it stood for, and is read
    as it was, where its dtype still is another than the source's."""
    known = {spec.name: spec for spec in before}
    return tuple(
        replace(
            spec,
            source=known[spec.name].source,
            permutation=known[spec.name].permutation,
            **(_read_as(known[spec.name]) if spec.dtype == known[spec.name].dtype else {}),
        )
        if spec.name in known
        else spec
        for spec in made
    )


def _read_as(spec: TensorSpec) -> dict[str, Any]:
    if not spec.boundary:
        return {}
    return {"scale": spec.scale, "zero_point": spec.zero_point, "boundary": spec.boundary}


@dataclass(frozen=True)
class Made:
    """What an edge made: `entry` is the file or directory to open, relative to out_dir ("model.onnx", "model.xml").

    signature is the artifact's own, each tensor with the name it has *here*, the source's name of it and the
    permutation of its axes, if any (`TensorSpec`). notes tell the user what was done that is not obvious.
    """

    entry: str
    signature: Signature
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {"entry": self.entry, "signature": self.signature.to_dict(), "notes": list(self.notes)}

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Made:
        return Made(data["entry"], Signature.from_dict(data["signature"]), tuple(data["notes"]))
