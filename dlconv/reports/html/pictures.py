"""Pictures of routes: stages as nodes, converters as links; as DOT and Mermaid here, as SVG in `graph_svg`."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from dlconv.reports.table import duration, one_line, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dlconv.planning import Plan, PlannedRoute

Kind = Literal["taken", "failed", "other", "missing"]


@dataclass(frozen=True)
class Node:
    """A stage that a model is in. lines: its label, the first line its name."""

    key: str
    lines: tuple[str, ...]
    kind: Kind = "other"


@dataclass(frozen=True)
class Link:
    """A conversion from one stage to another; lines: its label."""

    source: str
    target: str
    lines: tuple[str, ...]
    kind: Kind = "other"


@dataclass(frozen=True)
class Picture:
    """A graph without circles. told: the same in a sentence, for those who do not see it."""

    title: str
    told: str
    nodes: tuple[Node, ...]
    links: tuple[Link, ...]


def of_routes(receipt: Mapping[str, Any]) -> Picture | None:
    """The routes that were tried, as a tree: each step with its time, its memory and its share of the error."""
    routes = [route for route in receipt.get("routes", ()) if route["outcome"] != "not-tried"]
    if not routes:
        return None
    nodes = {(): Node("", (receipt["source"]["format"],), "taken")}
    links: dict[tuple[str, ...], Link] = {}
    for route in sorted(routes, key=lambda route: route["outcome"] != "taken"):
        kind: Kind = "taken" if route["outcome"] == "taken" else "failed"
        for depth, edge in enumerate(route["edges"], 1):
            path = tuple(route["edges"][:depth])
            if path not in nodes:
                lines = (stages_of(edge)[1], *_step_lines(route, depth - 1))
                nodes[path] = Node("/".join(path), lines, kind)
                links[path] = Link("/".join(path[:-1]), "/".join(path), (edge,), kind)
    told = "; ".join(f"{' then '.join(route['edges'])}: {_outcome_of(route)}" for route in routes)
    return Picture("The routes that were tried", told, tuple(nodes.values()), tuple(links.values()))


def stages_of(edge: str) -> tuple[str, str]:
    """The stages that a converter's name tells of: "onnx_to_openvino[x]" leads from onnx to openvino."""
    source, _, target = edge.partition("[")[0].partition("_to_")
    return source.replace("_", "-"), target.replace("_", "-")


def _outcome_of(route: Mapping[str, Any]) -> str:
    return "taken" if route["outcome"] == "taken" else f"failed: {route['reason']}"


def _step_lines(route: Mapping[str, Any], index: int) -> Iterator[str]:
    if index < len(route["steps"]):
        step = route["steps"][index]
        cached = ", cached" if step["cached"] else ""
        yield f"{duration(step['seconds'])}, {size(step['peak_memory_bytes'])}{cached}"
    blame = route.get("blame") or []
    if index < len(blame) and isinstance(blame[index].get("share"), (int, float)):
        yield f"{100 * blame[index]['share']:.0f}% of the error"
    if route["outcome"] == "failed" and index == len(route["edges"]) - 1:
        yield "failed"


def of_plan(plan: Plan) -> Picture:
    """Every route of the plan on this machine: what would be taken, what else there is, what is missing."""
    from dlconv.convert.graph import SOURCES

    chosen = {edge.name for goal in plan.targets if goal.chosen for edge in goal.chosen.route.edges}
    here = {edge.name for goal in plan.targets for way in goal.routes if way.is_possible for edge in way.route.edges}
    bundles: dict[tuple[str, str], list[str]] = {}
    toolchains: dict[str, str] = {}
    for edge in (edge for goal in plan.targets for way in goal.routes for edge in way.route.edges):
        names = bundles.setdefault((edge.source, edge.target), [])
        names += [edge.name] if edge.name not in names else []
        toolchains[edge.name] = edge.toolchain
    lacking = _lacking([way for goal in plan.targets for way in goal.routes])
    links = tuple(
        Link(source, target, _link_lines(names, chosen, toolchains, lacking), _kind_of(names, chosen, here))
        for (source, target), names in bundles.items()
    )
    goals = {goal.target: goal for goal in plan.targets}
    stages = dict.fromkeys([SOURCES[plan.source], *(stage for pair in bundles for stage in pair)])
    nodes = []
    for stage in stages:
        goal = goals.get(stage)
        reached: Kind = (
            "taken" if any(link.kind == "taken" and stage in (link.source, link.target) for link in links) else "other"
        )
        if goal is not None and goal.chosen is None:
            lacks = ", ".join(lack.toolchain for lack in goal.lacks)
            nodes.append(Node(stage, (stage, "out of reach", *([f"lacks {lacks}"] if lacks else [])), "missing"))
        else:
            nodes.append(Node(stage, (stage, "target") if goal else (stage,), reached))
    told = "; ".join(f"{goal.target}: {goal.chosen.route if goal.chosen else goal.why}" for goal in plan.targets)
    return Picture(f"From {plan.source} to {', '.join(goals)}", told, tuple(nodes), links)


def _lacking(ways: Sequence[PlannedRoute]) -> frozenset[str]:
    """The toolchains that some route lacks."""
    return frozenset(lack.toolchain for way in ways for lack in way.lacks)


def _link_lines(
    names: Sequence[str], chosen: set[str], toolchains: Mapping[str, str], lacking: frozenset[str]
) -> tuple[str, ...]:
    """The converter that would be taken, or the first, by name; how many others lead the same way; what they lack."""
    ranked = sorted(names, key=lambda name: name not in chosen)
    others = [f"and {len(names) - 1} more"] if len(names) > 1 else []
    lacks = dict.fromkeys(toolchains[name] for name in names if toolchains[name] in lacking)
    return (ranked[0], *others, *([f"lacks {', '.join(lacks)}"] if lacks else []))


def _kind_of(names: Sequence[str], chosen: set[str], here: set[str]) -> Kind:
    if chosen & set(names):
        return "taken"
    return "other" if here & set(names) else "missing"


_DOT = {"taken": "style=bold", "failed": 'style=dashed color="#b3261e"', "other": "", "missing": "style=dashed"}
_MERMAID = {"taken": "==>", "failed": "-.->", "other": "-->", "missing": "-.->"}


def _label(link: Link) -> tuple[str, ...]:
    """A link's label, short, or the drawing is too wide to be read: of a converter that is named for the two stages,
    its variant alone."""
    name, _, variant = link.lines[0].partition("[")
    is_plain = name == f"{link.source}_to_{link.target}".replace("-", "_").replace("_as_given", "")
    told = ((f"[{variant}",) * bool(variant) if is_plain else link.lines[:1]) + link.lines[1:]
    return tuple(line for each in told for line in textwrap.wrap(one_line(each), 22, break_on_hyphens=False))


def as_dot(picture: Picture) -> str:
    """In Graphviz' language."""

    def quoted(lines: Sequence[str]) -> str:
        texts = (one_line(line).replace("\\", "\\\\").replace('"', '\\"') for line in lines)
        return '"' + "\\n".join(texts) + '"'

    names = {node.key: f"n{number}" for number, node in enumerate(picture.nodes)}
    lines = [f"digraph {quoted([picture.title])} {{", "  node [shape=box fontname=sans];", "  edge [fontname=sans];"]
    lines += [f"  {names[node.key]} [label={quoted(node.lines)} {_DOT[node.kind]}];" for node in picture.nodes]
    lines += [
        f"  {names[link.source]} -> {names[link.target]} [label={quoted(_label(link))} {_DOT[link.kind]}];"
        for link in picture.links
    ]
    return "\n".join([*lines, "}"])


def as_mermaid(picture: Picture) -> str:
    """In Mermaid's language, which Markdown pages of code forges draw. What leads no further stands two in a row, by
    links that are not seen: Mermaid would put all of it side by side, and shrink the letters."""

    def quoted(lines: Sequence[str]) -> str:
        # "#35;" is its escape of a "#"; quotes and angle brackets have the like.
        texts = (re.sub(r'[#"<>&`]', lambda found: f"#{ord(found[0])};", one_line(line)) for line in lines)
        return '"' + "<br>".join(texts) + '"'

    names = {node.key: f"n{number}" for number, node in enumerate(picture.nodes)}
    lines = ['%%{init: {"flowchart": {"nodeSpacing": 15, "rankSpacing": 35, "padding": 8}}}%%', "flowchart TD"]
    lines += [f"  {names[node.key]}[{quoted(node.lines)}]:::{node.kind}" for node in picture.nodes]
    for link in picture.links:
        told = _label(link)
        label = f"|{quoted(told)}|" if told else ""
        lines.append(f"  {names[link.source]} {_MERMAID[link.kind]}{label} {names[link.target]}")
    ends = [name for key, name in names.items() if all(link.source != key for link in picture.links)]
    lines += [f"  {one} ~~~ {other}" for one, other in zip(ends, ends[2:], strict=False)]
    styles = {"taken": "stroke-width:3px", "missing": "stroke-dasharray:5 5", "failed": "stroke:#b3261e"}
    used = {node.kind for node in picture.nodes}
    return "\n".join([*lines, *(f"  classDef {kind} {style}" for kind, style in styles.items() if kind in used)])
