"""Pages in a real Chromium: nothing is asked of the network, nothing is complained of, and all can use them.

With DLCONV_SCREENSHOTS=DIR the pictures that are taken stay there, to be looked at.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.browser

NAMES = ("release", "two releases", "one of each", "ugly", "skipped", "strict", "nothing", "latency", "model", "tuned")


def pixels(taken: bytes) -> Any:
    """A picture as height x width x RGB, uint8."""
    import numpy as np
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(taken)).convert("RGB"))


def kept(page: Any, name: str) -> None:
    """The whole page as a picture, where it is asked for: too large a surface for a busy machine to be had always."""
    if folder := os.environ.get("DLCONV_SCREENSHOTS"):
        page.screenshot(full_page=True, path=Path(folder) / f"{name}.png")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", NAMES)
def test_it_is_drawn_in_light_and_dark(opened: Callable[..., Any], name: str, scheme: str) -> None:
    page = opened(name, scheme)
    page.evaluate(OPEN)
    kept(page, f"{name.replace(' ', '-')}-{scheme}")
    corner = pixels(page.screenshot())[2, 2].mean()
    assert corner > 240 if scheme == "light" else corner < 50
    for drawn in page.locator("svg").all():
        box = drawn.bounding_box()
        assert box is not None and box["width"] > 150 and box["height"] > 30
        assert pixels(drawn.screenshot()).std() > 5, "something is drawn, and it can be seen on its ground"


@pytest.mark.parametrize(
    ("name", "scheme", "width"),
    [
        *((name, "light", 1200) for name in NAMES),
        *((name, "dark", 1200) for name in ("release", "one of each", "tuned")),
        *((name, "light", 390) for name in ("release", "latency", "tuned")),
    ],
)
def test_axe_finds_nothing(opened: Callable[..., Any], name: str, scheme: str, width: int) -> None:
    """axe-core: names, roles, structure, contrast by WCAG 2.1 AA, and its best practices."""
    from axe_playwright_python.sync_playwright import Axe

    results = Axe().run(opened(name, scheme, width, bypass_csp=True))
    assert not results.response["violations"], results.generate_report()
    passed = {rule["id"] for rule in results.response["passes"]}
    assert {"color-contrast", "document-title", "html-has-lang", "landmark-one-main", "page-has-heading-one"} <= passed


def test_axe_would_have_found_something(opened: Callable[..., Any]) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = opened("release", bypass_csp=True)
    page.evaluate(
        "document.querySelector('svg').removeAttribute('aria-labelledby');"
        "document.querySelector('svg title').remove();"
        "document.querySelector('p').style.color = '#ddd'"
    )
    found = {rule["id"] for rule in Axe().run(page).response["violations"]}
    assert {"svg-img-alt", "color-contrast"} <= found


def test_a_request_would_have_been_seen_and_refused(opened: Callable[..., Any], files: dict[str, Path]) -> None:
    planted = files["release"].read_text(encoding="utf-8").replace("<main", '<img src="leak.png" alt=""><main', 1)
    files["planted"] = files["release"].with_name("planted.html")
    files["planted"].write_text(planted, encoding="utf-8")
    said: list[str] = []
    page = opened("release").context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.goto(files["planted"].as_uri())
    assert any("Content Security Policy" in each for each in said)


def test_the_matrix_and_the_plots_are_there(opened: Callable[..., Any]) -> None:
    page = opened("release")
    assert page.title() == "dlconv: not passed"
    matrix = page.locator("table.matrix")
    assert matrix.locator("th[scope=col]").all_inner_texts() == ["model", "precision", "openvino", "tflite"]
    assert [text.split()[-1] for text in matrix.locator("tbody a").all_inner_texts()] == ["PASS", "FAIL"]
    assert page.locator("svg").count() == 6
    labels = page.locator("svg text").all_text_contents()
    assert "bar" in labels and "noise floor" in labels


def test_the_routes_are_a_tree_that_tells_what_was_taken(opened: Callable[..., Any]) -> None:
    tree = opened("release").locator(".tree").first
    taken = tree.locator(".step.taken code").all_inner_texts()
    assert taken == ["torchscript_to_onnx", "onnx_to_onnx[plain]", "onnx_to_openvino"]
    assert len(tree.locator(".step.failed").all()) == 2
    lefts = [each.bounding_box()["x"] for each in tree.locator(".step.taken").all()]
    assert lefts == sorted(set(lefts)), "each stands below and to the right of what it was made of"


def test_it_can_be_used_by_keyboard_alone(opened: Callable[..., Any]) -> None:
    page = opened("release")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    box = page.locator(".skip").bounding_box()
    assert box is not None and box["x"] >= 0, "it is seen once it has the focus"
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        focused = page.evaluate("[document.activeElement.tagName, document.activeElement.getAttribute('href')]")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        if focused[0] == "BODY":
            break
        assert outline != "none", f"{focused}: who has the focus is seen"
        seen.append(tuple(focused))
    assert ("A", "#o0") in seen and ("A", "#o1") in seen, "verdicts lead to their sections"
    assert any(tag == "SUMMARY" for tag, _ in seen)
    folded = page.locator("details").first
    folded.locator("summary").focus()
    page.keyboard.press("Enter")
    assert folded.evaluate("each => each.open")
    link = page.locator("table.matrix a[href='#o1']")
    link.focus()
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#o1"
    assert page.evaluate("document.getElementById('o1').getBoundingClientRect().top") < 900


LETTERS = """() => [...document.querySelectorAll('svg text, td, th, p, li, .about')]
    .filter(each => each.textContent.trim() && each.getClientRects().length)
    .map(each => {
        const drawn = each.getScreenCTM ? each.getScreenCTM() : {a: 1, b: 0};  // a label may be turned
        return parseFloat(getComputedStyle(each).fontSize) * Math.hypot(drawn.a, drawn.b);
    })"""


WIDTHS = (390, 768, 1280)

OPEN = "document.querySelectorAll('details').forEach(each => { each.open = true; })"


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", NAMES)
def test_no_letter_is_smaller_than_eleven_pixels(opened: Callable[..., Any], name: str, width: int) -> None:
    page = opened(name, width=width)
    page.evaluate(OPEN)
    assert min(page.evaluate(LETTERS)) > (11.9 if width == 390 else 11)


TOO_WIDE = """() => [...document.querySelectorAll('figure, .scroll, pre, body')]
    .filter(each => each.scrollWidth > each.clientWidth)
    .map(each => `${each.tagName} ${each.getAttribute('aria-label')}: ${each.scrollWidth} > ${each.clientWidth}`)"""

CUT = """() => [...document.querySelectorAll('svg')].flatMap(drawn => {
    const whole = drawn.getBoundingClientRect();
    return [...drawn.querySelectorAll('text')].filter(each => {
        const box = each.getBoundingClientRect();
        return box.left < whole.left - 1 || box.right > whole.right + 1
            || box.top < whole.top - 1 || box.bottom > whole.bottom + 1;
    }).map(each => each.textContent);
})"""


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", NAMES)
def test_nothing_scrolls_sideways_and_nothing_is_cut(opened: Callable[..., Any], name: str, width: int) -> None:
    page = opened(name, width=width)
    page.evaluate(OPEN)
    assert page.evaluate(TOO_WIDE) == []
    assert page.evaluate(CUT) == []


def test_a_plot_that_is_too_wide_would_have_been_seen(opened: Callable[..., Any]) -> None:
    page = opened("release", width=390)
    page.evaluate("document.querySelector('svg').style.minWidth = '7.2in'")
    page.evaluate("document.querySelectorAll('svg')[1].querySelector('text').textContent = 'W'.repeat(99)")
    assert [each.split()[0] for each in page.evaluate(TOO_WIDE)] == ["FIGURE"]
    assert page.evaluate(CUT) == ["W" * 99]


def test_a_table_on_a_phone_says_what_each_figure_is(opened: Callable[..., Any]) -> None:
    """Its heads are not seen there: each cell has its own."""
    for name in NAMES:
        page = opened(name, width=390)
        assert not page.evaluate("document.querySelectorAll('.stack td:not([data-head]):not([colspan])').length"), name
        room = "[...document.querySelectorAll('.stack td')].map(each => parseFloat(getComputedStyle(each).paddingLeft))"
        assert min(page.evaluate(room), default=999) > 136, f"{name}: the head stands beside the figure"
    head = opened("release", width=390).locator("table.matrix td").nth(1)
    assert head.evaluate("each => getComputedStyle(each, '::before').content") == '"openvino"'


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_cut_off_on_paper(opened: Callable[..., Any], name: str) -> None:
    page = opened(name, width=718)  # A4 at 96 dots an inch, without a centimetre at each side
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 718


@pytest.mark.parametrize("width", [360, 1200])
def test_nothing_is_wider_than_the_window(opened: Callable[..., Any], width: int) -> None:
    page = opened("release", width=width)
    kept(page, f"release-{width}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_it_prints_dark_on_white_with_nothing_folded(opened: Callable[..., Any]) -> None:
    page = opened("release", "dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    printed = page.pdf(format="A4")
    assert printed.startswith(b"%PDF") and len(printed) > 20_000
    if folder := os.environ.get("DLCONV_SCREENSHOTS"):
        (Path(folder) / "release.pdf").write_bytes(printed)
    assert page.locator("details dl dd").first.is_visible(), "what is folded on the screen is printed"
