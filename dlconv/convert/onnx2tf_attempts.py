"""ONNX lowered by onnx2tf's builders, freest first: what its edges have in common.

A free dimension stays free where what is written then answers as the source does at another size. Each edge writes
the lowered graph in its own format, opens it, and has it proved here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, Protocol

from dlconv.convert import onnx2tf_lowering, onnx_for_tflite, tflite_free_sizes
from dlconv.convert.lowering_points import Points, points
from dlconv.convert.onnx_followers import Followers, followers
from dlconv.convert.onnx_trial import Trial
from dlconv.convert.tflite_attempts import require_near
from dlconv.errors import StepError, Unsupported, is_out_of_memory
from dlconv.model import Signature, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dlconv.convert.edge import Made, Step
    from dlconv.graphs.onnx_graph import Proto
    from dlconv.model import Dim
    from dlconv.runtimes.base import Tensors

LIMIT_BYTES = 2_000_000_000
"""What a FlatBuffer and a protobuf message hold: their offsets and lengths are 31 bits wide."""

Shapes = dict[str, tuple["Dim", ...]]
Way = Literal["known sizes", "comparison", "symbols"]


@dataclass(frozen=True)
class Attempt:
    """A way to lower the model: with all sizes known, at several and compared, or with symbols for the free ones."""

    way: Way
    shapes: Shapes

    @property
    def kept(self) -> tuple[str, ...]:
        """The names of the dimensions that stay free."""
        return tuple(sorted({dim for shape in self.shapes.values() for dim in shape if isinstance(dim, str)}))


class Opened(Protocol):
    """What an edge wrote, opened: answers by the source's names."""

    def run(self, inputs: Tensors) -> Tensors: ...


@dataclass(frozen=True)
class Lowered:
    """A model lowered by an attempt: onnx2tf's ModelIR. proofs: inputs of other sizes, and the source's answers."""

    graph: Any
    notes: tuple[str, ...]
    trial: Trial
    proofs: list[tuple[Tensors, Tensors]]


def first_that_holds(signature: Signature, fed: Tensors, make: Callable[[Attempt], Made]) -> Made:
    """The first attempt that `make` does not raise on; the notes tell which sizes could not stay free, and why."""
    reasons: list[str] = []
    for attempt in _attempts(signature, fed):
        try:
            made = make(attempt)
        except Exception as error:  # whatever the trouble with a free size is, a later attempt has less of it
            if not attempt.kept or is_out_of_memory(error):
                raise
            reason = (str(error).strip() or repr(error)).splitlines()[0]
            reasons.append(f"{', '.join(attempt.kept)} cannot stay free by {attempt.way}: {reason}")
        else:
            return replace(made, notes=(*reasons, *made.notes))
    raise StepError("no attempt was made")


def _attempts(signature: Signature, fed: Tensors) -> Iterator[Attempt]:
    """Freest first: all free dimensions, the inputs' first axes' alone (the batch), none."""
    first = {spec.shape[0] for spec in signature.inputs if spec.shape}
    names = {dim for spec in signature.inputs for dim in spec.shape or () if isinstance(dim, str)}
    choices = [names, names & first, set[str]()]
    for kept in [choice for place, choice in enumerate(choices) if choice not in choices[:place]]:
        shapes = {spec.name: _settled(spec, fed[spec.name].shape, kept) for spec in signature.inputs}
        ways: tuple[Way, ...] = ("comparison", "symbols") if kept else ("known sizes",)
        yield from (Attempt(way, shapes) for way in ways)


def _settled(spec: TensorSpec, sizes: tuple[int, ...], kept: set[str]) -> tuple[Dim, ...]:
    return tuple(dim if dim in kept else size for dim, size in zip(spec.shape or sizes, sizes, strict=True))


def lowered(model: Proto, step: Step, attempt: Attempt, fed: Tensors) -> Lowered:
    """The model as the attempt says. Raises StepError where the source itself takes no other size."""
    passes = step.settings.get("passes", "none")
    trial = Trial(step.source)
    if attempt.way == "comparison":
        chosen = points(trial, attempt.shapes, fed)
        graph, notes = _compared(model, attempt, passes, chosen)
        return Lowered(graph, notes, trial, chosen.proofs)
    proofs = list(islice(trial.others(attempt.shapes, fed), 1)) if attempt.kept else []
    if attempt.kept and not proofs:
        raise StepError("the source itself takes no other size that was tried")
    prepared = _prepared(model, attempt.shapes, fed)
    return Lowered(onnx2tf_lowering.lower(prepared.model, passes), prepared.notes, trial, proofs)


def proved_answers(opened: Opened, made: Lowered, fed: Tensors, wanted: Tensors | None) -> list[Tensors]:
    """What the written file answers to the sample and to other sizes. Raises StepError where that is wrong.

    wanted: the source's answers to the sample; None: only the other sizes are compared.
    """
    answers = [_proved(opened, fed, wanted)]
    return answers + [_proved(opened, *proof) for proof in made.proofs]


def _compared(model: Proto, attempt: Attempt, passes: str, chosen: Points) -> tuple[Any, tuple[str, ...]]:
    """The model lowered at the chosen sizes, and those sizes made free."""
    follow = followers(model, (chosen.feeds[0], chosen.feeds[-1]))
    graphs: list[Any] = []
    notes: tuple[str, ...] = ()
    for feed in chosen.feeds:
        prepared = _prepared(model, {name: feed[name].shape for name in attempt.shapes}, feed, follow)
        notes = prepared.notes
        graphs.append(onnx2tf_lowering.lower(prepared.model, passes))
        tflite_free_sizes.share_weights(graphs[0], graphs[-1])
    places = {dim: (name, axis) for name, shape in attempt.shapes.items()
              for axis, dim in enumerate(shape) if isinstance(dim, str)}  # fmt: skip
    graph = tflite_free_sizes.free(graphs, chosen.sizes, places)
    for name, shape in attempt.shapes.items():  # opened without a word about sizes, the file takes the least
        graph.tensors[name].shape = [chosen.least[dim] if isinstance(dim, str) else dim for dim in shape]
    return graph, notes


def _prepared(model: Proto, shapes: Shapes, fed: Tensors, follow: Followers | None = None) -> onnx_for_tflite.Prepared:
    """The graph fit for TFLite. Raises Unsupported where a branch that the sample does not take cannot run at its
    sizes: TFLite computes both, and its kernels crash on such sizes."""
    prepared = onnx_for_tflite.prepare(model, shapes, follow)
    if prepared.merged and Trial(prepared.model.SerializeToString()).answers(fed) is None:
        raise Unsupported(
            f"the model has a condition, one branch of which does not run at {_sizes(fed)}",
            wanted="sizes at which both branches run: TFLite computes both and takes one",
            mend="give such sizes by --input NAME:SHAPE",
        )
    return prepared


def _sizes(fed: Tensors) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, array.shape)) or 'scalar'}" for name, array in fed.items())


def _proved(session: Opened, fed: Tensors, wanted: Tensors | None) -> Tensors:
    """What the file answers. Raises StepError unless names, shapes and, roughly, values are the source's."""
    got = session.run(fed)
    require_near(got, fed, wanted or {})
    return got


def outputs_of(model: Proto, signature: Signature, answers: list[Tensors]) -> tuple[TensorSpec, ...]:
    """The outputs by the source's names and in its order; an axis that differs between the answers is free.

    Raises StepError if the file lacks one, has others, or contradicts a size that the source declares.
    """
    declared = {value.name: [dim.dim_value or dim.dim_param for dim in value.type.tensor_type.shape.dim]
                for value in model.graph.output}  # fmt: skip
    if set(declared) != set(answers[0]):
        raise StepError(f"the file's outputs are {sorted(answers[0])}", wanted=f"{sorted(declared)}")
    named = {spec.name: spec for spec in signature.outputs}
    specs: list[TensorSpec] = []
    for name, dims in declared.items():
        shapes = [answer[name].shape for answer in answers]
        if dims and any(
            isinstance(dim, int) and dim and dim != size for dim, size in zip(dims, shapes[0], strict=True)
        ):
            raise StepError(
                f"the file answers {name} with {list(shapes[0])}", wanted=f"{dims}, which the source declares"
            )
        base = named.get(name, TensorSpec(name, "", None))
        known = list(base.shape or ()) or dims
        shape = tuple(
            size if len({other[axis] for other in shapes}) == 1 else _name_of(known, name, axis)
            for axis, size in enumerate(shapes[0])
        )
        specs.append(replace(base, dtype=answers[0][name].dtype.name, shape=shape))
    return tuple(specs)


def _name_of(known: list[Any], name: str, axis: int) -> str:
    told = known[axis] if axis < len(known) else ""
    return told if isinstance(told, str) and told else f"{name}.{axis}"


def fed_of(model: Proto, step: Step) -> Tensors:
    """The sample by the names of the model's inputs. Raises StepError where the two differ."""
    weights = {tensor.name for tensor in model.graph.initializer}
    names = {value.name for value in model.graph.input} - weights
    fed = {spec.name: step.sample[spec.name] for spec in step.signature.inputs if spec.name in step.sample}
    if set(fed) != names:
        raise StepError(f"the step has samples for {sorted(fed)}", wanted=f"the model's inputs: {sorted(names)}")
    return fed


def check_size(source: Path) -> None:
    """Raise Unsupported for a model that is too large for the formats that are written."""
    # External data lies beside the model.
    size_bytes = sum(file.stat().st_size for file in source.parent.iterdir() if file.name.startswith(source.name))
    if size_bytes > LIMIT_BYTES:
        raise Unsupported(f"the model has {size_bytes:,} bytes", wanted="less than 2 GB: the format ends there")
