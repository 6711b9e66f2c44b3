"""The plan: every route to each target, the one that is taken, and what is missing on this machine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from dlconv.convert import tensorrt_operators
from dlconv.convert.edges import whole_graph
from dlconv.convert.graph import Route
from dlconv.errors import FormatError, RequestError, ToolchainMissing
from dlconv.files import protobuf
from dlconv.formats import Format
from dlconv.hardware.here import computes_bfloat16, cpu_name
from dlconv.hardware.provided import TARGET, lacks, runtime_for
from dlconv.reference.kinds import KINDS
from dlconv.runtimes.nvidia_driver import Driver
from dlconv.workers import gates, toolchains

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from dlconv.asked.options import ExportOptions

_BFLOAT16_CAPABILITY: Final = 8.0
"""Of NVIDIA's GPUs that compute in bfloat16: Ampere and newer."""


@dataclass(frozen=True)
class Lack:
    """A toolchain that is missing here, or hardware that one needs: what for, what is wrong, and what mends it.

    is_hardware: a device or its driver, which no package brings. is_installable: `--install` brings it.
    """

    toolchain: str
    needed_for: str
    problem: str
    mend: str
    is_hardware: bool = False
    is_installable: bool = False

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class PlannedRoute:
    """A route, and what this machine lacks for it. rank: its place in the order of trial, 0 if it cannot be, and of
    one that is tried for a source in float16 or bfloat16 alone."""

    route: Route
    rank: int
    lacks: tuple[Lack, ...]

    @property
    def is_possible(self) -> bool:
        return not self.lacks

    @property
    def is_for_halves(self) -> bool:
        """Whether it is of use for a source that computes in float16 or bfloat16 alone."""
        return any(edge.for_halves for edge in self.route.edges)

    def to_dict(self) -> dict[str, Any]:
        return {
            "edges": [
                {"name": edge.name, "toolchain": edge.toolchain, "why": edge.why, "cost": edge.cost}
                for edge in self.route.edges
            ],
            "cost": self.route.cost,
            "rank": self.rank,
            "lacks": [lack.to_dict() for lack in self.lacks],
        }


@dataclass(frozen=True)
class TargetPlan:
    """The routes to one target in the order of trial. lacks: what is missing whatever the route is. toolchain: of the
    runtime that judges it. notes: what is known to stand in the way, and is not missing here."""

    target: str
    routes: tuple[PlannedRoute, ...]
    lacks: tuple[Lack, ...]
    toolchain: str
    notes: tuple[str, ...] = ()

    @property
    def chosen(self) -> PlannedRoute | None:
        """The route that would be taken first: the cheapest that lacks nothing."""
        if self.lacks:
            return None
        return next((route for route in self.routes if route.is_possible), None)

    @property
    def why(self) -> str:
        """One line on the choice."""
        if self.lacks:
            return "cannot be judged here: " + "; ".join(lack.problem for lack in self.lacks)
        if self.chosen is None:
            return "no route is possible here"
        if self.chosen is self.routes[0]:
            return "the usual way: " + self.chosen.route.edges[-1].why
        wanted = ", ".join(lack.toolchain for lack in self.routes[0].lacks)
        return f"the cheapest of those possible here; the usual way lacks {wanted}"

    @property
    def lacks_hardware(self) -> bool:
        """Whether it needs a device that is not here: the others can go on without it."""
        return any(lack.is_hardware for lack in self.needed)

    @property
    def needed(self) -> tuple[Lack, ...]:
        """What has to be installed for the usual way."""
        return (*self.lacks, *(self.routes[0].lacks if self.chosen is None and self.routes else ()))

    def to_dict(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "chosen": None if self.chosen is None else str(self.chosen.route),
            "why": self.why,
            "routes": [route.to_dict() for route in self.routes],
            "lacks": [lack.to_dict() for lack in self.lacks],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Plan:
    """How a model of some format would reach each target on this machine."""

    source: Format
    targets: tuple[TargetPlan, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"source": self.source.value, "targets": [target.to_dict() for target in self.targets]}

    def split(self, required: Iterable[str] = ()) -> tuple[Plan, dict[str, ToolchainMissing]]:
        """The plan of what can be made here, and the error of each target that lacks its hardware.

        Raises ToolchainMissing, with everything that is missing, where no target is left, one that is required is not
        left, or another lacks something.
        """
        rest = tuple(target for target in self.targets if not target.lacks_hardware)
        is_short = any(target.target in required for target in self.targets if target.lacks_hardware)
        if is_short or not rest or any(target.needed for target in rest):
            self.check()
        without = {target.target: _missing((target,)) for target in self.targets if target not in rest}
        return replace(self, targets=rest), {name: error for name, error in without.items() if error is not None}

    def check(self) -> None:
        """Raises ToolchainMissing with everything that is missing, for all targets at once."""
        error = _missing(self.targets)
        if error is not None:
            raise error


def _missing(targets: tuple[TargetPlan, ...]) -> ToolchainMissing | None:
    lacks = {lack.toolchain: lack for target in targets for lack in target.needed}
    if not lacks:
        return None
    installable = "\n(or add --install)" if all(lack.is_installable for lack in lacks.values()) else ""
    return ToolchainMissing(
        f"this machine lacks what is needed for {', '.join(t.target for t in targets if t.needed)}",
        mend="\n".join(dict.fromkeys(lack.mend for lack in lacks.values())) + installable,
        problems=(
            *(f"{lack.toolchain} ({lack.needed_for}): {lack.problem}" for lack in lacks.values()),
            *(f"besides, for {target.target}: {note}" for target in targets if target.needed for note in target.notes),
        ),
    )


def make(source: Format, options: ExportOptions, model: Path | None = None) -> Plan:
    """The plan for a format. The routes are the same everywhere; what they lack is this machine's. model: the source,
    of which more is told where it is known without work.

    Raises RequestError for a format that is no source, and where no route is as it was asked for.
    """
    absent = cache(_absent)  # each toolchain is looked for once a plan, and there may be a hundred routes
    goals = (_target_plan(source, target, options, absent) for target in options.targets)
    if model is None or source is not Format.ONNX or options.tensorrt.plugins:
        return Plan(source, tuple(goals))
    return Plan(
        source, tuple(replace(goal, notes=notes_on(model)) if goal.target == "tensorrt" else goal for goal in goals)
    )


def notes_on(model: Path) -> tuple[str, ...]:
    """What TensorRT would not take of an ONNX file, by the table of the release that is here, or of the newest."""
    located = toolchains.locate(toolchains.get("tensorrt"))
    version = "" if isinstance(located, toolchains.Missing) else located.versions.get("tensorrt", "")
    try:
        return tensorrt_operators.troubles(model, version)
    except protobuf.Malformed as error:
        raise FormatError(f"{model} is damaged: {error}", wanted="an ONNX model", mend="export it again") from error


def _target_plan(
    source: Format, target: str, options: ExportOptions, absent: Callable[[str], tuple[Lack, ...]]
) -> TargetPlan:
    def lacks_of(toolchain: str, needed_for: str) -> tuple[Lack, ...]:
        return tuple(replace(lack, needed_for=needed_for) for lack in absent(toolchain))

    # Inputs are turned in the ONNX graph, where it is plain from the operators which layout they have.
    via = options.via or ("onnx" if options.layout else "")
    routes = whole_graph().routes(source, target, via, options.edges, options.precision)
    if options.keep or options.search:
        routes = tuple(route for route in routes if any(edge.knows_nodes for edge in route.edges))
        if not routes:
            raise RequestError(
                f"what puts {options.precision} into {target} knows no nodes of the ONNX graph: it can keep none",
                mend=f"leave {target} out, or export it without a keep-list",
            )
    if dtypes := options.boundary.dtypes:
        routes = tuple(route for route in routes if any(dtypes <= set(edge.boundaries) for edge in route.edges))
        if not routes or target == "tensorrt":
            raise RequestError(
                f"nothing puts {options.precision} with inputs or outputs in {', '.join(sorted(dtypes))} into {target}",
                wanted="float16 with --fp16; uint8 with --int8, and for tflite int8",
                mend=f"leave {target} out, or --io-precision",
            )
    toolchain = runtime_for(target, options.provider).toolchain
    always = (
        *lacks_of(KINDS[source].toolchain, "reading the source and its reference"),
        *lacks_of(toolchain, f"running the {target} artifact"),
        *_without_bfloat16(target, options.precision),
        *(_lacks_of_provider(options.provider) if target == TARGET else ()),
    )
    planned: list[PlannedRoute] = []
    rank = 0
    for route in routes:
        lacks = tuple(
            lack for name in route.toolchains for lack in lacks_of(name, f"converting by {_edge_in(route, name)}")
        )
        is_usual = not lacks and not any(edge.for_halves for edge in route.edges)
        rank += is_usual
        planned.append(PlannedRoute(route, rank if is_usual else 0, lacks))
    return TargetPlan(target, tuple(planned), always, toolchain)


def _lacks_of_provider(provider: str) -> tuple[Lack, ...]:
    # No hardware that a target may be skipped for: it was asked for by name.
    return tuple(Lack(gap.name, f"the provider {provider}", gap.problem, gap.mend) for gap in lacks(provider))


def _without_bfloat16(target: str, precision: str) -> tuple[Lack, ...]:
    if target == "tensorrt":
        return _gpu_without_bfloat16() if precision == "bf16" else ()
    if precision != "bf16" or computes_bfloat16():
        return ()
    problem = f"{cpu_name()} has no bfloat16: what is made for it could not be judged here"
    mend = "run it on a CPU with AVX512-BF16, AMX or Arm's BF16; or --fp16"
    return (Lack("bfloat16", f"running the {target} artifact in bfloat16", problem, mend, is_hardware=True),)


def _gpu_without_bfloat16() -> tuple[Lack, ...]:
    driver = gates.nvidia()
    if not isinstance(driver, Driver) or float(driver.gpus[0].compute_capability) >= _BFLOAT16_CAPABILITY:
        return ()
    problem = f"{driver.gpus[0]} has no bfloat16"
    mend = f"run it on a GPU of compute capability {_BFLOAT16_CAPABILITY} or higher; or --fp16"
    return (Lack("bfloat16", "running the tensorrt artifact in bfloat16", problem, mend, is_hardware=True),)


def _edge_in(route: Route, toolchain: str) -> str:
    return next(edge.name for edge in route.edges if edge.toolchain == toolchain)


def _absent(toolchain: str) -> tuple[Lack, ...]:
    """What a toolchain lacks here: its hardware, and its packages. What for is not known yet."""
    wanted = toolchains.get(toolchain)
    lacks = tuple(Lack(gap.name, "", gap.problem, gap.mend, is_hardware=True) for gap in gates.gaps(wanted.gate))
    located = toolchains.locate(wanted)
    if isinstance(located, toolchains.Missing):
        problem = "; ".join(located.problems)
        lacks += (Lack(toolchain, "", problem, located.mend, is_installable=bool(wanted.lock)),)
    return lacks
