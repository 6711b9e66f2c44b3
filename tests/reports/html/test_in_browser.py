"""Pages in a real Chromium: nothing is asked of the network, nothing is complained of, and all can use them.

With DLCONV_SCREENSHOTS=DIR the pictures that are taken stay there, to be looked at.
"""

from __future__ import annotations

import io
import os
import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dlconv.inspection import inspect
from dlconv.records.recorded import read
from dlconv.reports.html import page as pages
from dlconv.reports.html import tuning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.browser

HERE = Path(__file__).parents[1]
MADE: dict[str, Any] = runpy.run_path(str(HERE / "made.py"))
RECORDS: dict[str, Any] = runpy.run_path(str(HERE / "records.py"))
CHROMIUM: Callable[[], str] = runpy.run_path(str(HERE.parent / "conftest.py"))["chromium"]

FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages: a release with all that can be recorded, two releases, one of each word, latency, a model."""
    folder = tmp_path_factory.mktemp("pages")
    write, receipt = RECORDS["write"], RECORDS["receipt"]
    good = write(folder, "net-openvino-fp32", receipt())
    bad = write(folder, "net-tflite-fp32", receipt("tflite", wrong_by=2e-3))
    old = write(folder / "old", "net-openvino-fp32", receipt(version="2025.4.0"))
    bench = RECORDS["bench"](folder)
    rich, timed = read([good, bad, bench]), read([bench])
    texts = {
        "release": pages.document(rich.report, rich.timings),
        "two releases": pages.document(rich.report, baseline=read([old]).report),
        "one of each": pages.document(MADE["REPORTS"]["one of each"][0]),
        "ugly": pages.document(MADE["REPORTS"]["ugly"][0]),
        "skipped": pages.document(MADE["REPORTS"]["one may be lacking"][0]),
        "nothing": pages.document(MADE["REPORTS"]["nothing at all"][0]),
        "latency": pages.document(timed.report, timed.timings),
        "tuned": tuning.document(RECORDS["tuned"](), "dlconv tune net.onnx"),
        "model": pages.inspection(inspect(HERE.parents[1] / "models" / "digits" / "digits.onnx", timed=True)),
    }
    found = {name: folder / f"{name.replace(' ', '-')}.html" for name in texts}
    for name, text in texts.items():
        found[name].write_text(text, encoding="utf-8")
    return found


NAMES = ("release", "two releases", "one of each", "ugly", "skipped", "nothing", "latency", "model", "tuned")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM(), args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def opened(browser: Any, files: dict[str, Path]) -> Iterator[Callable[..., Any]]:
    """Opens a page; at the end nothing may have been said on its console, asked of the network, or gone wrong."""
    said: list[str] = []
    asked: list[str] = []
    contexts: list[Any] = []

    def load(name: str, scheme: str = "light", width: int = 1200, **further: Any) -> Any:
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900}, **further)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        address = files[name].as_uri()
        page.goto(address)
        asked.remove(address)
        return page

    yield load
    for context in contexts:
        context.close()
    assert not said
    assert not asked


def shown(page: Any, name: str) -> Any:
    """The whole page as pixels: height x width x RGB, uint8."""
    import numpy as np
    from PIL import Image

    taken = page.screenshot(full_page=True)
    if folder := os.environ.get("DLCONV_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{name}.png").write_bytes(taken)
    return np.asarray(Image.open(io.BytesIO(taken)).convert("RGB"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", NAMES)
def test_it_is_drawn_in_light_and_dark(opened: Callable[..., Any], name: str, scheme: str) -> None:
    page = opened(name, scheme)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    pixels = shown(page, f"{name.replace(' ', '-')}-{scheme}")
    corner = pixels[2, 2].mean()
    assert corner > 240 if scheme == "light" else corner < 50
    for drawn in page.locator("svg").all():
        box = drawn.bounding_box()
        assert box is not None and box["width"] > 150 and box["height"] > 30
        part = pixels[int(box["y"]) : int(box["y"] + box["height"]), int(box["x"]) : int(box["x"] + box["width"])]
        assert part.std() > 5, "something is drawn, and it can be seen on its ground"


@pytest.mark.parametrize(
    ("name", "scheme"), [*((name, "light") for name in NAMES), ("release", "dark"), ("one of each", "dark")]
)
def test_axe_finds_nothing(opened: Callable[..., Any], name: str, scheme: str) -> None:
    """axe-core: names, roles, structure, contrast by WCAG 2.1 AA, and its best practices."""
    from axe_playwright_python.sync_playwright import Axe

    results = Axe().run(opened(name, scheme, bypass_csp=True))
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
    assert page.locator("svg").count() == 8
    labels = page.locator("svg text").all_text_contents()
    assert "bar" in labels and "floor" in labels and "onnx_to_onnx[plain]" in labels


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


@pytest.mark.parametrize("width", [360, 1200])
def test_nothing_is_wider_than_the_window(opened: Callable[..., Any], width: int) -> None:
    page = opened("release", width=width)
    shown(page, f"release-{width}")
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
