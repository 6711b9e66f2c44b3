"""The conversion graph: edges between stages, and the pure function that finds the routes through them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from dlconv.asked.options import every_target, is_target
from dlconv.asked.precisions import PRECISIONS, Precision
from dlconv.errors import RequestError
from dlconv.formats import Format

SOURCES: Final = {
    Format.TORCHSCRIPT: "torchscript",
    Format.TORCH_EXPORT: "torch-export",
    Format.ONNX: "onnx-as-given",
    Format.SAVED_MODEL: "saved-model",
    Format.KERAS: "keras",
    Format.KERAS_H5: "keras",
    Format.FROZEN_GRAPH: "frozen-graph",
    Format.TFLITE: "tflite-as-given",
    Format.JAX: "jax",
}
"""The stage at which a file of each format enters the graph. An ONNX that dlconv has not cleaned is not yet `onnx`."""

MAX_ATTEMPTS: Final = 8
"""Routes that are tried for one target, those not counted whose first steps are known to fail: a bound on the time
that a hopeless model takes."""


@dataclass(frozen=True)
class Converter:
    """An edge: from one stage to another, by one module's `convert`, in one toolchain.

    cost orders the routes: a route's cost is the sum over its edges, the least is tried first. 1 is the usual way;
    an alternative costs more by how often it was seen to be worse, and `why` says what it is good for.
    settings are the edge's own and part of the cache's key. is_last: what it makes is converted no further.
    knows_nodes: it can keep nodes of the ONNX graph in float32. boundaries: dtypes besides float32 that it can give
    the inputs and outputs.
    for_halves: it is of use for a source that computes in float16 or bfloat16 alone.
    puts: the precision that it puts into a float32 model, "" for an edge that converts a model of one of the
    precisions `carries` and leaves it so.
    """

    source: str
    target: str
    module: str
    toolchain: str
    cost: int
    why: str
    settings: tuple[tuple[str, Any], ...] = ()
    variant: str = ""
    is_last: bool = False
    for_halves: bool = False
    puts: str = ""
    knows_nodes: bool = False
    boundaries: tuple[str, ...] = ()
    carries: tuple[str, ...] = ("fp32",)

    @property
    def name(self) -> str:
        """Unique: the module's name, and the variant's where there are several."""
        stem = self.module.rpartition(".")[2]
        return f"{stem}[{self.variant}]" if self.variant else stem


@dataclass(frozen=True)
class Route:
    """A way from a source's stage to a target: edges, end to end."""

    edges: tuple[Converter, ...]

    @property
    def cost(self) -> int:
        return sum(edge.cost for edge in self.edges)

    @property
    def toolchains(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(edge.toolchain for edge in self.edges))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the edges, in order: what `--route` says."""
        return tuple(edge.name for edge in self.edges)

    def __str__(self) -> str:
        return " -> ".join(edge.name for edge in self.edges)


@dataclass(frozen=True)
class ConversionGraph:
    """All edges there are. The same on every machine."""

    edges: tuple[Converter, ...]

    def routes(
        self,
        source: Format,
        target: str,
        via: str = "",
        edges: tuple[str, ...] = (),
        precision: Precision = "fp32",
    ) -> tuple[Route, ...]:
        """Every simple path from a format to a target at a precision, the least cost first; ties by name, so the order
        is total.

        via: a stage that it must pass on its way; edges: the names of just its edges. Raises RequestError for a format
        that is no source, a target that there is not, and where no route is so.
        """
        if not is_target(target):
            raise RequestError(f"there is no target '{target}'", wanted=f"one of {', '.join(every_target())}")
        if source not in SOURCES:
            raise RequestError(
                f"{source.value} is not a source that can be converted",
                wanted="one of " + ", ".join(known.value for known in SOURCES),
            )
        if SOURCES[source] == target:
            raise RequestError(f"the model is {source.label} already", mend="dlconv verify compares two models")
        found = [Route(path) for path in self._paths((SOURCES[source], "fp32"), (target, precision), frozenset())]
        if not found:
            raise self._unreached(SOURCES[source], target, precision)
        found.sort(key=lambda route: (route.cost, len(route.edges), str(route)))
        kept = [
            route
            for route in found
            if (not via or via in [edge.target for edge in route.edges[:-1]] or via == target)
            and (not edges or route.names == edges)
        ]
        if not kept:
            asked = f"by {','.join(edges)}" if edges else f"via {via}"
            stages = sorted({edge.target for route in found for edge in route.edges[:-1]})
            raise RequestError(
                f"no route leads from {source.value} to {target} {asked}",
                wanted="one of " + ", ".join(stages) if via and not edges else "",
                mend="dlconv plan shows every route",
                problems=tuple(f"--route {','.join(route.names)}" for route in found[:6]) if edges else (),
            )
        return tuple(kept)

    def _unreached(self, stage: str, target: str, precision: str) -> RequestError:
        known = [each for each in PRECISIONS if self._paths((stage, "fp32"), (target, each), frozenset())]
        return RequestError(
            f"no edge puts {precision} into {target}",
            wanted=f"for {target} one of {', '.join(known)}" if known else "",
            mend="choose another precision, or another target",
        )

    def _paths(self, state: _State, goal: _State, seen: frozenset[_State]) -> list[tuple[Converter, ...]]:
        if state == goal:
            return [()]
        found: list[tuple[Converter, ...]] = []
        for edge in self.edges:
            reached = _reached(edge, state)
            if reached is not None and reached not in seen and (reached == goal or not edge.is_last):
                found += [(edge, *rest) for rest in self._paths(reached, goal, seen | {state})]
        return found


_State = tuple[str, str]
"""A stage, and the precision of the model there."""


def _reached(edge: Converter, state: _State) -> _State | None:
    """Where an edge leads from a state; None where it does not start there."""
    stage, precision = state
    if edge.source != stage or precision not in (("fp32",) if edge.puts else edge.carries):
        return None
    return edge.target, edge.puts or precision
