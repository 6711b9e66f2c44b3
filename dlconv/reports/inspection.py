"""An inspection as lines for a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlconv.reports.table import size, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlconv.inspection import Inspection
    from dlconv.model import TensorSpec

_MOST_OPERATORS = 12
ESTIMATED_BY = "by each operator's arithmetic or its bytes, whichever takes a CPU longer, free sizes at 1"


def lines(found: Inspection, *, all_operators: bool = False) -> Iterator[str]:
    """The lines, in order; of operators the most frequent, or all."""
    yield f"{found.path}: {found.title}"
    yield f"  format      {found.format}" + ("" if found.format.is_source else " (dlconv does not convert from it)")
    files = f" in {len(found.files)} files" if len(found.files) > 1 else ""
    yield f"  size        {size(found.size_bytes)}{files}"
    yield f"  digest      {found.digest}"
    if found.opset is not None:
        opset = found.opset
        yield f"  opset       {_pairs(opset) if isinstance(opset, dict) else opset}"
    if found.parameters is not None:
        by_dtype = found.parameters.get("by_dtype") or {}
        kinds = f" ({_pairs(by_dtype)})" if by_dtype else ""
        stored = size(found.parameters["size_bytes"])
        yield f"  parameters  {found.parameters['count']:,} in {stored}{kinds}"
    if schema := found.further.get("schema"):
        yield f"  forward     {schema}"
    if state := found.further.get("state"):
        yield f"  state       {', '.join(state)}: changes from call to call"
    if found.signature is not None:
        yield from _tensors("inputs", found.signature.inputs)
        yield from _tensors("outputs", found.signature.outputs)
    if found.operators:
        yield from _operators(found.operators, all_operators)
    if found.time is not None:
        yield from _time(found.time)
    for note in found.notes:
        yield f"  note        {note}"
    if found.advice:
        yield f"  to convert  {found.advice}"


def _tensors(head: str, specs: tuple[TensorSpec, ...]) -> Iterator[str]:
    for index, spec in enumerate(specs):
        shape = "of unknown rank" if spec.shape is None else f"[{', '.join(str(dim) for dim in spec.shape)}]"
        yield f"  {head if index == 0 else '':10}  {spec.name}  {spec.dtype or 'dtype unknown'} {shape}"


def _operators(operators: dict[str, int], show_all: bool) -> Iterator[str]:
    ranked = sorted(operators.items(), key=lambda pair: (-pair[1], pair[0]))
    shown = ranked if show_all else ranked[:_MOST_OPERATORS]
    yield f"  operators   {sum(operators.values())} of {len(operators)} kinds"
    for line in table(("operator", "count"), [(name, str(count)) for name, count in shown], right=("count",)):
        yield f"    {line}"
    if len(shown) < len(ranked):
        yield f"    and {len(ranked) - len(shown)} kinds more: -v shows them"


@dataclass(frozen=True)
class Share:
    """What the nodes of one operator take of a run: of its time from 0 to 1, and in milliseconds, None where it
    is an estimate."""

    operator: str
    nodes: int
    share: float
    run_ms: float | None


def shares(time: dict[str, Any]) -> list[Share]:
    """Of `Inspection.time`, by operator, the longest first: measured, or else estimated; [] where it is not known."""
    is_measured = "nodes" in time
    told = time["nodes"] if is_measured else time.get("estimate", [])
    whole = sum(figure for _, _, figure in told) or 1.0
    by_operator: dict[str, list[float]] = {}
    for operator, _, figure in told:
        by_operator.setdefault(operator, []).append(figure)
    found = [
        Share(name, len(each), sum(each) / whole, sum(each) if is_measured else None)
        for name, each in by_operator.items()
    ]
    return sorted(found, key=lambda one: (-one.share, one.operator))


def measured_by(time: dict[str, Any]) -> str:
    """How the shares were measured, in a sentence's words."""
    sizes = f", free sizes ({', '.join(time['sizes'])}) at 1" if time["sizes"] else ""
    return f"by {time['runtime']}'s own clock, {time['runs']} runs of a drawn sample on the CPU{sizes}"


def _time(time: dict[str, Any]) -> Iterator[str]:
    if "reason" in time:
        yield f"  time        not measured: {time['reason']}"
        if "estimate" in time:
            yield f"              estimated {ESTIMATED_BY}"
    else:
        yield f"  time        {measured_by(time)}"
    rows = [
        (
            one.operator,
            str(one.nodes),
            f"{100 * one.share:.1f}%",
            "not timed" if one.run_ms is None else f"{one.run_ms:.3f} ms",
        )
        for one in shares(time)[:_MOST_OPERATORS]
    ]
    if not rows:
        return
    for line in table(("operator", "nodes", "share", "a run"), rows, right=("nodes", "share", "a run")):
        yield f"    {line}"


def _pairs(values: dict[str, object]) -> str:
    return ", ".join(f"{name or 'ai.onnx'} {value}" for name, value in values.items())
