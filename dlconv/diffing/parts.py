"""Parts of an ONNX model cut out, and converted by the edges that made an artifact of the whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlconv.asked.options import ExportOptions
from dlconv.errors import StepError, cause_of
from dlconv.making.steps import Product, StepRunner
from dlconv.model import Signature, TensorSpec, digest_of
from dlconv.validators.pairing import to_artifact, to_source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from dlconv.candidate import TargetRuntime
    from dlconv.convert.graph import Converter
    from dlconv.diffing.side_by_side import Run
    from dlconv.events import Listener
    from dlconv.making.cache import Cache
    from dlconv.samples import Sample
    from dlconv.workers.crew import Crew


def cut(
    run: Run,
    to: Path,
    inputs: Mapping[str, np.ndarray[Any, Any]],
    outputs: Mapping[str, np.ndarray[Any, Any]],
    crew: Crew,
    **words: Any,
) -> tuple[str, ...]:
    """Write the part that makes `outputs` of `inputs`, tensors of that dtype and size; the inputs that it takes."""
    told: dict[str, Any] = {
        "path": str(run.path),
        "to": str(to),
        "inputs": {name: [array.dtype.name, *array.shape] for name, array in inputs.items()},
        "outputs": {name: [array.dtype.name, *array.shape] for name, array in outputs.items()},
        **words,
    }
    with crew.lease(run.toolchain) as worker:
        return tuple(worker.call(run.cut, what=f"cutting {run.path.name}", **told))


@dataclass(frozen=True)
class Conversion:
    """How parts become artifacts: the edges that made one of the whole, its target and what runs it."""

    edges: tuple[Converter, ...]
    target: str
    runtime: TargetRuntime
    crew: Crew
    cache: Cache
    told: Listener

    def convert(self, part: Path, inputs: Sample, outputs: Mapping[str, np.ndarray[Any, Any]]) -> Product:
        """The artifact of a part that takes `inputs` and gives tensors like `outputs`. Raises StepError as the edges
        do."""
        signature = Signature(_specs(inputs), _specs(outputs))
        source = Product(part.parent, part.name, signature, digest_of(part))
        options = ExportOptions((self.target,), Path())
        return StepRunner(self.crew, self.cache, source, (inputs,), self.told, options=options).run(self.edges, "")

    def answers(self, path: Path, signature: Signature, samples: Sequence[Sample]) -> list[Sample]:
        """What the artifact gives, in the names and axes of what it was made of. Raises StepError where it does not
        run."""
        with self.crew.lease(self.runtime.toolchain) as worker:
            got = worker.call(
                "dlconv.workers.tasks:answer",
                what=f"running {path.name} in {self.runtime.name}",
                runtime=self.runtime.adapter,
                path=str(path),
                signature=signature.to_dict(),
                settings=dict(self.runtime.settings),
                samples=[to_artifact(sample, signature) for sample in samples],
            )
            log = str(worker.log)
        if broken := next((error for error in got["errors"] if error), ""):
            raise StepError(f"{path.name} does not run: {cause_of(broken)}", log=log)
        return [to_source(outputs, signature) for outputs in got["outputs"]]


def _specs(tensors: Mapping[str, np.ndarray[Any, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name, array.dtype.name, tuple(array.shape)) for name, array in tensors.items())
