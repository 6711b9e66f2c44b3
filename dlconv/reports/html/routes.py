"""The routes of a receipt, as a page shows them: those tried as a tree, their steps with figures, and the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlconv.reports.html.pictures import of_routes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dlconv.reports.html.pictures import Kind, Picture


@dataclass(frozen=True)
class Branch:
    """A stage of the tree, by which converter it came about ("" for the source), and all that was made of it."""

    lines: tuple[str, ...]
    edge: str
    kind: Kind
    branches: tuple[Branch, ...]


def of_body(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """What is shown of a receipt's routes; None where it tells of none that was tried."""
    picture = of_routes(body)
    if picture is None:
        return None
    tried = [route for route in body["routes"] if route["outcome"] != "not-tried"]
    told: set[tuple[str, ...]] = set()
    return {
        "tree": tree(picture),
        "tried": [
            {"title": _title(route), "steps": list(_steps(route, told))}
            for route in sorted(tried, key=lambda route: route["outcome"] != "taken")
        ],
        "is_blamed": any(route.get("blame") for route in tried),
        "untried": _by_reason([route for route in body["routes"] if route["outcome"] == "not-tried"]),
    }


def tree(picture: Picture) -> Branch:
    """The picture of routes as nested branches: what is taken first, then in the order in which it was tried."""
    nodes = {node.key: node for node in picture.nodes}

    def branch(key: str, edge: str) -> Branch:
        links = [link for link in picture.links if link.source == key]
        below = tuple(branch(link.target, link.lines[0]) for link in links)
        return Branch(nodes[key].lines, edge, nodes[key].kind, below)

    return branch(picture.nodes[0].key, "")


def _title(route: Mapping[str, Any]) -> str:
    way = " → ".join(route["edges"])
    return f"Taken: {way}" if route["outcome"] == "taken" else f"Failed: {way}: {route['reason']}"


def _steps(route: Mapping[str, Any], told: set[tuple[str, ...]]) -> Iterator[dict[str, Any]]:
    """The route's steps that were not told before, each with what the error was after it, where that was asked."""
    blame = {each["edge"]: each for each in route.get("blame") or ()}
    for depth, step in enumerate(route["steps"], 1):
        way = tuple(route["edges"][:depth])
        if way not in told:
            told.add(way)
            yield {**step, "blame": blame.get(step["edge"])}


def _by_reason(routes: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for route in routes:
        found.setdefault(route["reason"], []).append(" → ".join(route["edges"]))
    return found
