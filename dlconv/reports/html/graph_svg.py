"""A picture's graph as SVG, narrower than it is high: stages stand below each other, each indented below what it is
made of; what else leads to a stage runs beside them, and is named in it. Lengths are inches.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dlconv.reports.html.drawing import INK, plain, svg
from dlconv.reports.table import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dlconv.reports.html.pictures import Kind, Link, Picture

_LOOKS: Final[Mapping[Kind, Mapping[str, Any]]] = {
    "missing": {"color": INK["bad"], "linestyle": "dotted", "linewidth": 1.4},
    "failed": {"color": INK["bad"], "linestyle": "dashed", "linewidth": 1.4},
    "other": {"color": INK["faint"], "linestyle": "solid", "linewidth": 1.0},
    "taken": {"color": INK["good"], "linestyle": "solid", "linewidth": 2.4},
}
"""The later is drawn over the earlier where they share a line."""

_SAID: Final[Mapping[Kind, str]] = {"taken": "taken first", "other": "other ways", "missing": "missing here"}
_LINE, _LETTER, _PAD, _GAP, _INDENT, _LANE = 0.17, 0.072, 0.1, 0.16, 0.26, 0.16
_MOST_LETTERS: Final = 40


@dataclass(frozen=True)
class Box:
    """A stage, where it stands: its left upper corner, its size, its lines; at which line each further link ends."""

    x: float
    y: float
    lines: tuple[str, ...]
    arrives: Mapping[str, int]

    @property
    def width(self) -> float:
        return max(map(len, self.lines)) * _LETTER + 2 * _PAD

    @property
    def height(self) -> float:
        return len(self.lines) * _LINE + 2 * _PAD * 0.7

    def at(self, line: int) -> float:
        """The height of a line's middle."""
        return self.y + _PAD * 0.7 + (line + 0.5) * _LINE


def picture_svg(picture: Picture, key: str) -> str:
    """The graph, its source at the top. key: unique in the page."""
    boxes = laid_out(picture)
    tree = {id(link) for link in _parents(picture).values()}
    lanes = list(dict.fromkeys(link.source for link in picture.links if id(link) not in tree))
    right = max(box.x + box.width for box in boxes.values())
    used = {link.kind for link in picture.links} | {node.kind for node in picture.nodes}
    kinds: list[Kind] = [kind for kind in _SAID if kind in used]
    foot = max(box.y + box.height for box in boxes.values()) + _GAP
    size = (right + (len(lanes) + 1) * _LANE, foot + 0.3)

    def draw(figure: Any) -> None:
        from matplotlib.lines import Line2D

        figure.set_facecolor(INK["paper"])
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(0, size[0])
        axes.set_ylim(size[1], 0)
        for link in sorted(picture.links, key=lambda link: list(_LOOKS).index(link.kind)):
            source, target = boxes[link.source], boxes[link.target]
            if id(link) in tree:
                x, y = source.x + _INDENT / 2, target.at(0)
                _arrow(axes, link, [(x, source.y + source.height), (x, y), (target.x, y)])
            else:
                x, y = right + _LANE * (lanes.index(link.source) + 1), target.at(target.arrives[link.source])
                start = source.at(0)
                _arrow(axes, link, [(source.x + source.width, start), (x, start), (x, y), (target.x + target.width, y)])
        for node in picture.nodes:
            _draw_box(axes, boxes[node.key], node.kind)
        handles = [Line2D([], [], **_LOOKS[kind], label=_SAID[kind]) for kind in kinds]
        place = {"loc": "upper left", "bbox_to_anchor": (0, foot), "bbox_transform": axes.transData}
        axes.legend(handles=handles, ncols=len(handles), borderpad=0, columnspacing=1, **place)

    return svg(draw, picture.title, picture.told, key, *size, layout=None)


def laid_out(picture: Picture) -> dict[str, Box]:
    """A box for each stage, by its key, from the top down: parents before what is made of them."""
    parents = _parents(picture)
    column = _columns(picture)
    nodes = {node.key: node for node in picture.nodes}
    boxes: dict[str, Box] = {}
    below = 0.05

    def place(key: str, depth: int) -> None:
        nonlocal below
        lines = [plain(", ".join(nodes[key].lines[:2]), _MOST_LETTERS), *_wrapped(", ".join(nodes[key].lines[2:]))]
        lines += _wrapped(_way("by", parents[key])) if key in parents else ()
        arrives = {}
        for link in picture.links:
            if link.target == key and link is not parents[key]:
                arrives[link.source] = len(lines)
                lines += _wrapped(_way("or", link))
        boxes[key] = Box(0.05 + depth * _INDENT, below, tuple(lines), arrives)
        below += boxes[key].height + _GAP
        for child in sorted((each for each in nodes if _source(parents, each) == key), key=column.__getitem__):
            place(child, depth + 1)

    for key in nodes:
        if key not in parents:
            place(key, 0)
    return boxes


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(one_line(text), _MOST_LETTERS, break_on_hyphens=False)


def _way(word: str, link: Link) -> str:
    return f"{word} {', '.join(link.lines)}"


def _parents(picture: Picture) -> dict[str, Link]:
    """The link that a stage stands below: the one that is taken, else the first."""
    found: dict[str, Link] = {}
    for link in picture.links:
        if link.target not in found or (link.kind == "taken" != found[link.target].kind):
            found[link.target] = link
    return found


def _source(parents: Mapping[str, Link], key: str) -> str:
    return parents[key].source if key in parents else ""


def _columns(picture: Picture) -> dict[str, int]:
    """The longest way from the source, in links: what others need comes before them."""
    column = {node.key: 0 for node in picture.nodes}
    for _ in picture.nodes:
        for link in picture.links:
            column[link.target] = max(column[link.target], column[link.source] + 1)
    return column


def _draw_box(axes: Any, box: Box, kind: Kind) -> None:
    from matplotlib.patches import FancyBboxPatch

    look = _LOOKS[kind]
    frame = {"edgecolor": look["color"], "linestyle": look["linestyle"], "linewidth": look["linewidth"]}
    shape = "round,pad=0,rounding_size=0.06"
    axes.add_patch(
        FancyBboxPatch((box.x, box.y), box.width, box.height, boxstyle=shape, facecolor=INK["paper"], **frame)
    )
    for number, line in enumerate(box.lines):
        weight = "bold" if number == 0 else "normal"
        axes.text(box.x + _PAD, box.at(number), plain(line, _MOST_LETTERS), weight=weight, va="center_baseline")


def _arrow(axes: Any, link: Link, points: list[tuple[float, float]]) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    arrow = {"arrowstyle": "-|>", "mutation_scale": 8, "shrinkB": 1, "fill": False}
    axes.add_patch(FancyArrowPatch(path=Path(points), **arrow, **_LOOKS[link.kind]))
