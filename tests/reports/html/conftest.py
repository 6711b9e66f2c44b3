"""Pages in a real Chromium: what is made of records, opened, and photographed.

With DLCONV_SCREENSHOTS=DIR the pictures that are taken stay there, to be looked at.
"""

from __future__ import annotations

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
    strict = write(
        folder, "net-onnx-fp32", {**receipt("onnx"), "bars": {"outputs": {"*": {"max_error": 1e-9}}}}
    )  # below the noise floor
    rich, timed = read([good, bad, bench]), read([bench])
    texts = {
        "release": pages.document(rich.report, rich.timings),
        "two releases": pages.document(rich.report, baseline=read([old]).report),
        "one of each": pages.document(MADE["REPORTS"]["one of each"][0]),
        "ugly": pages.document(MADE["REPORTS"]["ugly"][0]),
        "skipped": pages.document(MADE["REPORTS"]["one may be lacking"][0]),
        "nothing": pages.document(MADE["REPORTS"]["nothing at all"][0]),
        "strict": pages.document(read([strict]).report),
        "latency": pages.document(timed.report, timed.timings),
        "tuned": tuning.document(RECORDS["tuned"](), "dlconv tune net.onnx"),
        "model": pages.inspection(inspect(HERE.parents[1] / "models" / "digits" / "digits.onnx", timed=True)),
    }
    found = {name: folder / f"{name.replace(' ', '-')}.html" for name in texts}
    for name, text in texts.items():
        found[name].write_text(text, encoding="utf-8")
    return found


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
