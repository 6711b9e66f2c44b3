"""Drawing: what all plots share, by Matplotlib: figures as SVG text whose colours are the page's.

Colours go in as the stand-ins of `INK` and are written as CSS variables, so that a page in the dark is dark in its
plots too. Text stays text: it can be read out, searched and printed.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any, Final, Literal
from xml.sax.saxutils import escape

from dlconv.reports.table import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

INK: Final = {
    "ink": "#010101",
    "faint": "#020202",
    "line": "#030303",
    "good": "#040404",
    "bad": "#050505",
    "paper": "#060606",
    "first": "#070707",
    "second": "#080808",
    "third": "#090909",
    "fourth": "#0a0a0a",
}
"""The CSS variable, and the colour that stands for it until the SVG is written."""

WIDTH: Final = 3.7
"""Inches: what a phone has beside its margins. On wider screens two stand beside each other."""

SERIES: Final = ("first", "second", "third", "fourth")
MARKERS: Final = "os^v"
"""Of a series, besides its colour."""

FALLBACK: Final = {
    "ink": "#1b1c1d",
    "faint": "#5b6066",
    "line": "#c9cdd2",
    "good": "#1a6b2e",
    "bad": "#b3261e",
    "paper": "#ffffff",
    "first": "#1f5fa8",
    "second": "#b35c00",
    "third": "#6a3fa0",
    "fourth": "#00707a",
}
"""For an SVG that stands alone, where no page says better."""

_ID = re.compile(r'(\bid="|url\(#|href="#)')
_HEAD = re.compile(r"<svg [^>]*?viewBox=\"([^\"]*)\"[^>]*>", re.DOTALL)
_ANNOTATIONS = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)


def svg(
    draw: Callable[[Any], None],
    title: str,
    told: str,
    key: str,
    width: float = WIDTH,
    height: float = 2.4,
    layout: Literal["constrained"] | None = "constrained",
) -> str:
    """What `draw` draws into a Matplotlib figure, as an SVG element to stand in a page.

    title and told: its name and what it shows, for those who do not see it. key: unique in the page. width, height:
    inches. layout: "constrained" makes room for labels of any length, which takes as long as to draw; None leaves it to
    `draw`.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style: Any = _style()  # keys are names of settings, which Matplotlib lists one by one
    with mpl.rc_context(style):
        figure = Figure(figsize=(width, height), layout=layout, facecolor="none")
        draw(figure)
        written = io.StringIO()
        # The canvas itself: `savefig` would draw all of it once more, to measure what it then does not ask.
        FigureCanvasSVG(figure).print_svg(written, metadata={"Date": None, "Creator": None})
    text = written.getvalue()
    # Narrower, its 9 points would be less than 11 pixels; wider, its letters would be larger than the page's.
    sizes = f"min-width: {0.92 * width:.2f}in; max-width: {1.35 * width:.2f}in"
    text = _ANNOTATIONS.sub("", text[text.index("<svg ") :])
    text = _ID.sub(rf"\g<1>{key}-", text)
    for name, stand_in in INK.items():
        text = text.replace(stand_in, f"var(--{name}, {FALLBACK[name]})")
    head = (
        rf'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="\1" '
        rf'width="{96 * width:.0f}" height="{96 * height:.0f}" role="img" '
        rf'aria-labelledby="{key}-title {key}-told" style="{sizes}"><title id="{key}-title">'
    )
    about = f'{_text(title)}</title><desc id="{key}-told">{_text(told)}</desc>'
    return _HEAD.sub(lambda found: found.expand(head) + about, text, count=1).strip()


def _text(value: str) -> str:
    return escape(one_line(value).encode("utf-8", "replace").decode())


def plain(value: str, most: int = 48) -> str:
    """A name as a label: on one line, and not too long. Formulas are off (`text.parse_math`): a "$" is a "$"."""
    line = one_line(value).encode("utf-8", "replace").decode()
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _style() -> dict[str, Any]:
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": "dlconv",
        "font.size": 9,
        "font.sans-serif": [
            "DejaVu Sans"
        ],  # what labels are measured by; the page and a viewer have fonts of their own
        "text.color": INK["ink"],
        "text.parse_math": False,
        "axes.edgecolor": INK["line"],
        "axes.labelcolor": INK["ink"],
        "axes.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.titlesize": 9,
        "axes.titlelocation": "left",
        "grid.color": INK["line"],
        "grid.linewidth": 0.5,
        "xtick.color": INK["line"],
        "ytick.color": INK["line"],
        "xtick.labelcolor": INK["ink"],
        "ytick.labelcolor": INK["ink"],
        "legend.frameon": False,
        "legend.fontsize": 9,
    }
