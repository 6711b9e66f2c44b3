"""What a TensorRT plan is: its inputs and outputs, as its engine tells them on the GPU that it is for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dlconv.runtimes import tensorrt
from dlconv.runtimes.tensorrt_plan import PlanFacts


def read(path: str, *, trust: bool = False) -> dict[str, Any]:
    """The signature of a plan that is compared, as data, and by the name of each free size that of the first profile's
    optimum. A free size is called for its input and axis: "x_0". trust: code in the plan or beside it may run.

    Raises as `tensorrt.open_plan`: a plan of another GPU or TensorRT is not opened.
    """
    place = Path(path)
    session = tensorrt.open_plan(place, {"trust": trust})
    facts = PlanFacts.of(place)
    return {
        "signature": session.signature().to_dict(),
        "sizes": {dim: [size] for dim, size in session.optimum().items()},
        "notes": [] if facts is None else [f"{place.name}: {facts}"],
    }
