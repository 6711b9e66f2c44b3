"""A picture's graph as SVG: columns by how far a node is from the source, links that pass a column have a row in it.

This is the layered drawing of Sugiyama, Tagawa and Toda (1981) in its simplest form: the barycentre once, left to
right. Lengths are inches.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from dlconv.reports.html.drawing import INK, plain, svg

if TYPE_CHECKING:
    from dlconv.reports.html.pictures import Link, Node, Picture

_LOOKS: Final = {
    "taken": {"color": "good", "style": "solid", "width": 2.0},
    "failed": {"color": "bad", "style": "dashed", "width": 1.4},
    "other": {"color": "faint", "style": "solid", "width": 1.0},
    "missing": {"color": "bad", "style": "dotted", "width": 1.4},
}
_LINE, _LETTER, _PAD = 0.16, 0.078, 0.12
_MOST_LETTERS: Final = 34


@dataclass(frozen=True)
class _Layout:
    """Where all is: the columns of nodes and of what links pass through, a row of each, the columns' middles."""

    column: dict[str, int]
    row: dict[str, float]
    ways: tuple[tuple[str, ...], ...]
    middle: tuple[float, ...]
    pitch: float
    size: tuple[float, float]

    def place(self, key: str) -> tuple[float, float]:
        return self.middle[self.column[key]], (self.row[key] + 0.6) * self.pitch


def picture_svg(picture: Picture, key: str) -> str:
    """The graph, its source to the left. key: unique in the page."""
    layout = _layout(picture)
    sizes = {node.key: _size(node) for node in picture.nodes}

    def draw(figure: Any) -> None:
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(0, layout.size[0])
        axes.set_ylim(layout.size[1], 0)
        for link, way in zip(picture.links, layout.ways, strict=True):
            _draw_link(axes, link, way, layout, sizes)
        for node in picture.nodes:
            _draw_node(axes, node, layout.place(node.key), sizes[node.key])

    return svg(draw, picture.title, picture.told, key, *layout.size, layout=None)


def _size(node: Node) -> tuple[float, float]:
    letters = max(min(len(line), _MOST_LETTERS) for line in node.lines)
    return letters * _LETTER + 2 * _PAD, len(node.lines) * _LINE + 2 * _PAD * 0.6


def _draw_node(axes: Any, node: Node, place: tuple[float, float], size: tuple[float, float]) -> None:
    from matplotlib.patches import FancyBboxPatch

    look = _LOOKS[node.kind]
    corner = (place[0] - size[0] / 2, place[1] - size[1] / 2)
    frame: dict[str, Any] = {
        "facecolor": INK["paper"],
        "edgecolor": INK[str(look["color"])],
        "linestyle": look["style"],
    }
    box = FancyBboxPatch(corner, *size, boxstyle="round,pad=0,rounding_size=0.06", linewidth=look["width"], **frame)
    axes.add_patch(box)
    label = "\n".join(plain(line, _MOST_LETTERS) for line in node.lines)
    axes.text(*place, label, ha="center", va="center", linespacing=1.25)


def _draw_link(
    axes: Any, link: Link, way: tuple[str, ...], layout: _Layout, sizes: dict[str, tuple[float, float]]
) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    points = [layout.place(key) for key in way]
    points[0] = (points[0][0] + sizes[way[0]][0] / 2, points[0][1])
    points[-1] = (points[-1][0] - sizes[way[-1]][0] / 2 - 0.03, points[-1][1])
    vertices, codes = [points[0]], [Path.MOVETO]
    for (x0, y0), (x1, y1) in pairwise(points):
        half = (x1 - x0) / 2
        vertices += [(x0 + half, y0), (x1 - half, y1), (x1, y1)]
        codes += [Path.CURVE4] * 3
    look = _LOOKS[link.kind]
    style: dict[str, Any] = {"color": INK[str(look["color"])], "linestyle": look["style"], "linewidth": look["width"]}
    arrow: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 9, "fill": False}
    axes.add_patch(FancyArrowPatch(path=Path(vertices, codes), **arrow, **style))
    middle = points[1] if len(points) > 2 else tuple((a + b) / 2 for a, b in zip(*points, strict=True))
    label = "\n".join(plain(line, 30) for line in link.lines)
    above = {"xytext": (0, 2), "textcoords": "offset points", "ha": "center", "va": "bottom", "fontsize": 9}
    ground = {"boxstyle": "square,pad=0.05", "facecolor": INK["paper"], "edgecolor": "none"}
    axes.annotate(label, middle, bbox=ground, zorder=3, **above)


def _layout(picture: Picture) -> _Layout:
    column = _columns(picture)
    before: dict[str, list[str]] = {node.key: [] for node in picture.nodes}
    is_taken = {node.key: node.kind == "taken" for node in picture.nodes}
    ways = []
    for number, link in enumerate(picture.links):
        passed = [f"\0{number}:{at}" for at in range(column[link.source] + 1, column[link.target])]
        way = (link.source, *passed, link.target)
        for at, key in enumerate(passed, column[link.source] + 1):
            column[key], is_taken[key] = at, link.kind == "taken"
        for one, two in pairwise(way):
            before.setdefault(two, []).append(one)
        ways.append(way)
    row = _rows(column, before, is_taken)
    width, middle = 0.05, []
    for at in range(1 + max(column.values())):
        widest = max(_size(node)[0] for node in picture.nodes if column[node.key] == at)
        middle.append(width + widest / 2)
        labels = [len(line) for link in picture.links if column[link.source] == at for line in link.lines]
        width += widest + 0.35 + _LETTER * max([min(length, 30) for length in labels], default=0)
    label = _LINE * max([len(link.lines) for link in picture.links], default=0)  # it stands above its link
    pitch = 0.2 + max([_size(node)[1] for node in picture.nodes]) + label / 2
    height = (max(row.values()) + 1.2) * pitch
    return _Layout(column, row, tuple(ways), tuple(middle), pitch, (width - 0.3, height))


def _columns(picture: Picture) -> dict[str, int]:
    """The longest way from the source, in links."""
    before: dict[str, list[str]] = {node.key: [] for node in picture.nodes}
    for link in picture.links:
        before[link.target].append(link.source)
    column: dict[str, int] = {}

    def place(key: str) -> int:
        if key not in column:
            column[key] = 1 + max((place(source) for source in before[key]), default=-1)
        return column[key]

    for key in before:
        place(key)
    return column


def _rows(column: dict[str, int], before: dict[str, list[str]], is_taken: dict[str, bool]) -> dict[str, float]:
    """Rows keep the order of what is to the left; what is taken comes first."""
    row: dict[str, float] = {}
    for at in range(1 + max(column.values())):
        wanted = {}
        for key in (key for key in column if column[key] == at):
            known = [row[source] for source in before[key]]
            wanted[key] = sum(known) / len(known) if known else 0.0
        next_row = 0.0
        for key in sorted(wanted, key=lambda key: (not is_taken[key], wanted[key])):
            row[key] = max(next_row, 0.0 if is_taken[key] else wanted[key])
            next_row = row[key] + (1.0 if "\0" not in key else 0.8)
    return row
