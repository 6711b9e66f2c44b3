"""The ONNX model that an artifact is compared with: the last that its route passed before it became what it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dlconv import opening
from dlconv.asked.options import ExportOptions, SourceOptions
from dlconv.asked.precisions import dtype_of
from dlconv.candidate import takes
from dlconv.convert.edges import whole_graph
from dlconv.errors import MachineError, RequestError, SamplesError
from dlconv.formats import Format
from dlconv.making.steps import Product, StepRunner
from dlconv.model import Signature
from dlconv.records.bundle import is_bundle, open_bundle
from dlconv.reference import source as sources
from dlconv.runtimes.state import read_initial
from dlconv.validators.matching import matched
from dlconv.validators.pairing import to_artifact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dlconv.convert.graph import Converter
    from dlconv.events import Listener
    from dlconv.making.cache import Cache
    from dlconv.model import Artifact
    from dlconv.records.bundle import Bundle
    from dlconv.samples import Sample
    from dlconv.validators.matching import Link
    from dlconv.workers.crew import Crew

_TARGETS: Final = {
    Format.ONNX: "onnx",
    Format.OPENVINO: "openvino",
    Format.TFLITE: "tflite",
    Format.SAVED_MODEL: "saved-model",
}


@dataclass(frozen=True)
class Counterpart:
    """An artifact and the ONNX model that stands for its source.

    reference: that model, its tensors paired with the source's. edges: what made the artifact of it. signature: the
    artifact's. samples: in the source's names and axes. precision: the artifact's, "" where nobody knows it yet.
    kept: nodes that stayed in float32.
    """

    reference: Product
    edges: tuple[Converter, ...]
    artifact: Path
    signature: Signature
    target: str
    precision: str
    samples: tuple[Sample, ...]
    notes: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    def given(self, signature: Signature, path: Path) -> tuple[Sample, ...]:
        """The samples as one of the two takes them; its state, where it has some, as in a first call."""
        first = read_initial(path.parent, signature)
        return tuple({**to_artifact(sample, signature), **first} for sample in self.samples)


def find(
    candidate: Path,
    against: Path | None,
    options: SourceOptions,
    links: Sequence[Link],
    crew: Crew,
    cache: Cache,
    told: Listener,
) -> Counterpart:
    """The counterpart of a bundle, or of a model file; what leads to it is converted anew, or taken from the cache.

    against: the source; of a bundle also None, where it lies beside. Raises RequestError where it is not known, and
    MachineError where no ONNX model is passed on the way.
    """
    if is_bundle(candidate):
        return _of_bundle(open_bundle(candidate), against, options, crew, cache, told)
    if against is None:
        raise RequestError(
            f"{candidate.name} is compared with the model that is right, and none is named",
            mend="--against MODEL; or --precision fp16, to compare an ONNX model with its own emulation",
        )
    return _of_file(opening.open_model(candidate), against, options, links, crew, cache, told)


def _of_bundle(
    bundle: Bundle, against: Path | None, options: SourceOptions, crew: Crew, cache: Cache, told: Listener
) -> Counterpart:
    if changes := bundle.changes():
        raise RequestError(f"{bundle.place} is not what was exported", problems=changes, mend="dlconv verify says more")
    receipt = bundle.receipt
    source = opening.open_artifact(_source_of(bundle) if against is None else against)
    if source.digest != receipt["source"]["digest"]:
        raise RequestError(
            f"{source.path} is not the model that {bundle.place.name} was made from: its digest is another",
            mend="name the very file, or compare the artifact itself: dlconv diff "
            f"{bundle.entry} --against {source.path}",
        )
    reference = bundle.reference()
    (taken,) = [route for route in receipt["routes"] if route["outcome"] == "taken"]
    known = {edge.name: edge for edge in whole_graph().edges}
    settings = {step["edge"]: step["settings"] for step in taken["steps"]}
    if lost := [name for name in taken["edges"] if name not in known]:
        raise RequestError(f"the edges {', '.join(lost)} are not known any more", mend="export the model again")
    edges = tuple(_as_it_was(known[name], settings.get(name, {})) for name in taken["edges"])
    start = Product(source.path.parent, source.path.name, bundle.source_signature, source.digest)
    samples = reference.samples.samples[: options.draws]
    samples = _taken(bundle.signature, samples, bundle.place)
    product, rest = _onnx_on_the_way(start, edges, bundle.target, samples[0], crew, cache, told)
    precision, kept = dtype_of(receipt["precision"]), tuple(receipt.get("reduction", {}).get("keep", ()))
    return Counterpart(product, rest, bundle.entry, bundle.signature, bundle.target, precision, samples, kept=kept)


def _of_file(
    artifact: Artifact,
    against: Path,
    options: SourceOptions,
    links: Sequence[Link],
    crew: Crew,
    cache: Cache,
    told: Listener,
) -> Counterpart:
    target = _TARGETS.get(artifact.format)
    if target is None:
        raise RequestError(
            f"{artifact.path} is {artifact.format.label}", wanted="one of " + ", ".join(_TARGETS.values())
        )
    source = sources.study(opening.open_model(against), options, crew, cache)
    start = Product(source.artifact.path.parent, source.artifact.path.name, source.signature, source.artifact.digest)
    samples = source.samples.samples[: options.draws]
    product = start
    edges: tuple[Converter, ...] = ()
    if (source.artifact.format, artifact.format) != (Format.ONNX, Format.ONNX):
        route = whole_graph().routes(source.artifact.format, target, via="onnx")[0]
        product, edges = _onnx_on_the_way(start, route.edges, target, samples[0], crew, cache, told)
    theirs = sources.study(artifact, SourceOptions(draws=1), crew, cache)
    one_family = artifact.format in (Format.ONNX, Format.OPENVINO)
    signature, pairs = matched(source.signature, theirs.signature, links, one_family=one_family)
    samples = _taken(signature, samples, artifact.path)
    return Counterpart(product, edges, artifact.path, signature, target, "", samples, (*source.notes, *pairs))


def _taken(signature: Signature, samples: Sequence[Sample], path: Path) -> tuple[Sample, ...]:
    """The samples that the artifact takes."""
    found = tuple(sample for sample in samples if takes(signature, sample))
    if not found:
        raise SamplesError(f"{path.name} takes none of the samples", wanted=", ".join(map(str, signature.inputs)))
    return found


def _source_of(bundle: Bundle) -> Path:
    name = str(bundle.receipt["source"]["name"])
    for folder in (Path.cwd(), bundle.place.parent, bundle.place.parent.parent):
        if (folder / name).exists():
            return folder / name
    raise RequestError(
        f"{name}, which {bundle.place.name} was made from, is not here", mend=f"--against PATH/TO/{name}"
    )


def _as_it_was(edge: Converter, settings: dict[str, Any]) -> Converter:
    """The edge with the settings of then; the calibration's samples are not in a bundle."""
    kept = {name: value for name, value in settings.items() if name != "calibration"}
    return replace(edge, settings=tuple(sorted(kept.items())) or edge.settings)


def _onnx_on_the_way(
    start: Product,
    edges: tuple[Converter, ...],
    target: str,
    sample: Sample,
    crew: Crew,
    cache: Cache,
    told: Listener,
) -> tuple[Product, tuple[Converter, ...]]:
    """The last ONNX model in float32 that the edges pass before their end, and the edges that are left."""
    runner = StepRunner(crew, cache, start, (sample,), told, options=ExportOptions((target,), Path()))
    for end in range(len(edges) - 1, -1, -1):
        stage = edges[end - 1].target if end else edges[0].source
        if stage in ("onnx", "onnx-as-given") and not any(edge.puts for edge in edges[:end]):
            return runner.run(edges[:end], ""), edges[end:]
    raise MachineError(
        f"the route {' -> '.join(edge.name for edge in edges)} passes no ONNX model, whose tensors could be compared",
        mend="dlconv export --via onnx, where there is such a route",
    )
