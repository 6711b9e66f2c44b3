"""The conversion graph: an explicit tuple of edges, and the pure function that finds the routes through it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from dlconv.errors import RequestError
from dlconv.formats import Format
from dlconv.options import TARGETS

SOURCES: Final = {
    Format.TORCHSCRIPT: "torchscript",
    Format.TORCH_EXPORT: "torch-export",
    Format.ONNX: "onnx-as-given",
}
"""The stage at which a file of each format enters the graph. An ONNX that dlconv has not cleaned is not yet `onnx`."""

MAX_ROUTES: Final = 8
"""Routes that are tried for one target: a bound on the time that a hopeless model takes."""


@dataclass(frozen=True)
class Converter:
    """An edge: from one stage to another, by one module's `convert`, in one toolchain.

    cost orders the routes: a route's cost is the sum over its edges, the least is tried first. 1 is the usual way;
    an alternative costs more by how often it was seen to be worse, and `why` says what it is good for.
    settings are the edge's own and part of the cache's key. is_static: free dimensions do not survive the edge.
    """

    source: str
    target: str
    module: str
    toolchain: str
    cost: int
    why: str
    settings: tuple[tuple[str, Any], ...] = ()
    variant: str = ""
    is_static: bool = False

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
    def is_static(self) -> bool:
        return any(edge.is_static for edge in self.edges)

    def __str__(self) -> str:
        return " -> ".join(edge.name for edge in self.edges)


@dataclass(frozen=True)
class ConversionGraph:
    """All edges there are. The same on every machine."""

    edges: tuple[Converter, ...]

    def routes(self, source: Format, target: str) -> tuple[Route, ...]:
        """Every simple path from a format to a target, the least cost first; ties by name, so the order is total.

        Raises RequestError for a format that is no source, or a target that there is not.
        """
        if target not in TARGETS:
            raise RequestError(f"there is no target '{target}'", wanted="one of " + ", ".join(TARGETS))
        if source not in SOURCES:
            raise RequestError(
                f"{source.value} is not a source that can be converted",
                wanted="one of " + ", ".join(known.value for known in SOURCES),
            )
        found = [Route(path) for path in self._paths(SOURCES[source], target, frozenset())]
        return tuple(sorted(found, key=lambda route: (route.cost, len(route.edges), str(route))))

    def _paths(self, stage: str, target: str, seen: frozenset[str]) -> list[tuple[Converter, ...]]:
        if stage == target:
            return [()]
        return [
            (edge, *rest)
            for edge in self.edges
            if edge.source == stage and edge.target not in seen
            for rest in self._paths(edge.target, target, seen | {stage})
        ]


def _edge(
    source: str, target: str, stem: str, toolchain: str, cost: int, why: str, variant: str = "", **settings: Any
) -> Converter:
    return Converter(
        source, target, f"dlconv.convert.{stem}", toolchain, cost, why, tuple(sorted(settings.items())), variant
    )


GRAPH: Final = ConversionGraph(
    (
        _edge("torchscript", "onnx-as-given", "torchscript_to_onnx", "torch", 1, "the exporter made for archives"),
        _edge(
            "torchscript",
            "torch-export",
            "torchscript_to_torch_export",
            "torch",
            4,
            "another exporter: for operators that the archive's one lacks",
        ),
        _edge("torch-export", "onnx-as-given", "torch_export_to_onnx", "torch", 1, "the exporter made for .pt2"),
        _edge(
            "onnx-as-given",
            "onnx",
            "onnx_to_onnx",
            "onnx",
            1,
            "simplified and checked",
            "onnxsim",
            simplifier="onnxsim",
        ),
        _edge(
            "onnx-as-given",
            "onnx",
            "onnx_to_onnx",
            "onnx",
            2,
            "another simplifier: where the first fails or changes the model",
            "onnxslim",
            simplifier="onnxslim",
        ),
        _edge(
            "onnx-as-given",
            "onnx",
            "onnx_to_onnx",
            "onnx",
            3,
            "checked only: no simplifier",
            "plain",
            simplifier="none",
        ),
        _edge(
            "onnx",
            "onnxruntime",
            "onnx_to_onnxruntime",
            "onnx",
            1,
            "all optimisations for this CPU",
            "all",
            level="all",
        ),
        _edge(
            "onnx",
            "onnxruntime",
            "onnx_to_onnxruntime",
            "onnx",
            2,
            "without layout changes: where those fail",
            "extended",
            level="extended",
        ),
        _edge("onnx", "onnxruntime", "onnx_to_onnxruntime", "onnx", 3, "constants folded only", "basic", level="basic"),
        _edge("onnx", "openvino", "onnx_to_openvino", "openvino", 1, "OpenVINO's ONNX frontend"),
        _edge(
            "torchscript",
            "openvino",
            "torchscript_to_openvino",
            "torch-openvino",
            6,
            "OpenVINO's own PyTorch frontend: no ONNX in between",
        ),
        _edge(
            "torch-export",
            "openvino",
            "torch_export_to_openvino",
            "torch-openvino",
            6,
            "OpenVINO's own PyTorch frontend: no ONNX in between",
        ),
        _edge("onnx", "tflite", "onnx_to_tflite", "onnx2tf", 1, "onnx2tf without TensorFlow"),
    )
)
