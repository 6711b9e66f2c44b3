"""What a test needs is said by its markers; what is absent here is skipped with the reason, and fails in CI."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dlconv.workers import gates, toolchains
from dlconv.workers.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[1]
TOOLCHAIN_MARKERS = {
    each.name.replace("-", "_"): each.name for each in toolchains.TOOLCHAINS if each.name != "torch-openvino"
}
OPTIONAL = {"litert-torch"}
"""Toolchains too large for every machine that runs the tests, CI's too: 1.8 GB for one edge."""


@cache
def absence(toolchain: str) -> str:
    """Why the toolchain is not here, with the command that mends it; "" where it is."""
    found = toolchains.locate(toolchains.get(toolchain))
    if isinstance(found, toolchains.Located):
        return ""
    return f"{'; '.join(found.problems)}; mend: {found.mend}"


def chromium() -> str:
    """The system's Chromium, "" where there is none. Playwright's own browsers are not asked for."""
    named = os.environ.get("DLCONV_CHROMIUM")
    return named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")


def absence_of_browser() -> str:
    """Why no test can look at a page, with what mends it; "" where one can."""
    if not chromium():
        return "there is no Chromium; mend: apt-get install chromium, or set DLCONV_CHROMIUM"
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed; mend: make setup"
    return ""


def absence_of_trackers() -> str:
    """Which tracker's client is not here, with what mends it; "" where all are."""
    clients = ("mlflow", "wandb", "tensorboard", "sqlalchemy", "alembic")
    missing = [name for name in clients if importlib.util.find_spec(name) is None]
    return f"{', '.join(missing)} not installed; mend: make setup" if missing else ""


@cache
def absence_of_gpu() -> str:
    """Why no test can use TensorRT on an NVIDIA GPU in this interpreter, with what mends it; "" where one can."""
    gaps = gates.gaps("nvidia")
    if gaps:
        return "; ".join(f"{gap.name}: {gap.problem}; mend: {gap.mend}" for gap in gaps)
    found = importlib.util.find_spec("tensorrt")
    return "" if found else "tensorrt is not in this interpreter; mend: pip install 'dlconv[tensorrt]'"


def shared_folder() -> Path:
    """The collection of real models, which lies beside the checkout."""
    return ROOT.parent / "shared" / "models"


def pytest_runtest_setup(item: pytest.Item) -> None:
    absent = {
        name: reason
        for marker, name in TOOLCHAIN_MARKERS.items()
        if item.get_closest_marker(marker) and (reason := absence(name))
    }
    if absent.keys() & OPTIONAL:
        pytest.skip(" and ".join(absent.values()))
    reasons = list(absent.values())
    for marker, lack in (("browser", absence_of_browser), ("trackers", absence_of_trackers)):
        if item.get_closest_marker(marker) and (reason := lack()):
            reasons.append(reason)
    if reasons and os.environ.get("CI") == "true":
        pytest.fail("CI has every toolchain, a browser and the trackers, but " + " and ".join(reasons), pytrace=False)
    if reasons:
        pytest.skip(" and ".join(reasons))
    if item.get_closest_marker("gpu") and (reason := absence_of_gpu()):
        pytest.skip(reason)
    if item.get_closest_marker("shared") and not shared_folder().is_dir():
        pytest.skip("the collection of real models, shared/models beside the checkout, is not here")


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """The folder of real models; the test is skipped where it is absent."""
    folder = shared_folder()
    if not folder.is_dir():
        pytest.skip("the collection of real models, shared/models beside the checkout, is not here")
    return folder


@pytest.fixture(scope="session")
def digits() -> Path:
    """The folder of the trained sample model: digits.pt, digits.pt2, digits.onnx, samples.npz, labels.npz."""
    return ROOT / "models" / "digits"


@pytest.fixture(scope="session", autouse=True)
def private_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No test reads or fills the user's own cache of steps; the managed toolchains are the user's."""
    home = tmp_path_factory.mktemp("home")
    (home / "toolchains").symlink_to(toolchains.home(), target_is_directory=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DLCONV_HOME", str(home))
        yield home


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """`plant("libcuda.c", "libcuda.so.1", WAY=3)` compiles a file of tests/planted, and every process that is started
    after it finds the library before all others; the library's path. Skips where there is no C compiler."""

    def made(source: str, library: str, **defines: int) -> Path:
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("there is no C compiler `cc` to make a broken library with")
        path = tmp_path / "planted" / library
        path.parent.mkdir(exist_ok=True)
        words = [f"-D{name}={value}" for name, value in defines.items()]
        told = [compiler, "-shared", "-fPIC", *words, "-o", str(path), str(ROOT / "tests" / "planted" / source)]
        subprocess.run(told, check=True, timeout=60)
        monkeypatch.setenv("LD_LIBRARY_PATH", str(path.parent))
        return path

    return made


@pytest.fixture(scope="session")
def tensorflow_worker(private_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One worker with TensorFlow for all tests that ask it: its import takes seconds."""
    located = toolchains.locate(toolchains.get("tensorflow"))
    assert isinstance(located, toolchains.Located)
    log = tmp_path_factory.mktemp("logs") / "tensorflow.log"
    with Worker(located.interpreter, "tensorflow", log, timeout_s=120) as made:
        yield made


@pytest.fixture(scope="session")
def tensorflow_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small SavedModels, frozen graphs and Keras files, made once by tests/convert/tensorflow_models.py."""
    located = toolchains.locate(toolchains.get("tensorflow"))
    assert isinstance(located, toolchains.Located)
    folder = tmp_path_factory.mktemp("tensorflow")
    script = ROOT / "tests" / "convert" / "tensorflow_models.py"
    done = subprocess.run([located.interpreter, script, folder], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def jax_worker(private_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One worker with JAX for all tests that ask it."""
    located = toolchains.locate(toolchains.get("jax"))
    assert isinstance(located, toolchains.Located)
    with Worker(located.interpreter, "jax", tmp_path_factory.mktemp("logs") / "jax.log", timeout_s=120) as made:
        yield made


@pytest.fixture(scope="session")
def jax_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small exported JAX programs, made once by tests/convert/jax_models.py."""
    located = toolchains.locate(toolchains.get("jax"))
    assert isinstance(located, toolchains.Located)
    folder = tmp_path_factory.mktemp("jax")
    script = ROOT / "tests" / "convert" / "jax_models.py"
    done = subprocess.run([located.interpreter, script, folder], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def digits_bundle(digits: Path, private_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A bundle of digits.onnx for the target that is asked for, made once: to be read, and copied before it is changed.

    Its reference are 12 of the held-out images, one by one, and two other batches.
    """
    import numpy as np

    from dlconv.asked.options import ExportOptions
    from dlconv.pipeline import export

    folder = tmp_path_factory.mktemp("bundles")
    with np.load(digits / "samples.npz") as images:
        np.savez(folder / "samples.npz", image=images["image"][:12])

    @cache
    def bundle(target: str) -> Path:
        options = ExportOptions((target,), folder, samples=folder / "samples.npz")
        (outcome,) = export(digits / "digits.onnx", options).outcomes
        assert outcome.word == "PASS" and outcome.path is not None, outcome
        return outcome.path

    return bundle
