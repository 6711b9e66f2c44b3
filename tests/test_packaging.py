"""What is shipped, and that the extras and the toolchains speak of the same releases."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from dlconv import __version__
from dlconv.workers import toolchains

ROOT = Path(__file__).parents[1]


def metadata(wheel: Path) -> str:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(f"dlconv-{__version__}.dist-info/METADATA").decode()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as a release would build it."""
    pytest.importorskip("hatchling", reason="the build backend is in the group `test`")
    out = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_holds_all_that_the_package_reads(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    here = {path.relative_to(ROOT).as_posix() for path in (ROOT / "dlconv").rglob("*") if path.is_file()}
    wanted = {name for name in here if "__pycache__" not in name}
    assert {"dlconv/py.typed", "dlconv/receipt.schema.json", "dlconv/workers/locks/onnx2tf.txt"} <= wanted <= names
    others = {name for name in names - wanted if not name.startswith(f"dlconv-{__version__}.dist-info/")}
    assert not others
    assert f"dlconv-{__version__}.dist-info/licenses/LICENSE" in names


def test_the_wheel_names_its_script_and_its_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        scripts = archive.read(f"dlconv-{__version__}.dist-info/entry_points.txt").decode()
    assert "dlconv = dlconv.cli.main:main" in scripts
    told = metadata(wheel)
    assert "License-Expression: Apache-2.0" in told
    assert "Requires-Python: >=3.10" in told


def ranges(wheel: Path) -> dict[str, dict[str, Requirement]]:
    """The requirements of each extra, by package."""
    found: dict[str, dict[str, Requirement]] = {}
    for line in re.findall(r"^Requires-Dist: (.*)$", metadata(wheel), re.MULTILINE):
        requirement = Requirement(line)
        for extra in re.findall(r"extra == '([\w-]+)'", str(requirement.marker or "").replace('"', "'")):
            found.setdefault(extra, {})[requirement.name] = requirement
    return found


def ends(requirement: Requirement) -> tuple[Version, Version]:
    """The first release that is allowed and the first that is not."""
    bounds = {spec.operator: Version(spec.version) for spec in requirement.specifier}
    return bounds[">="], bounds["<"]


@pytest.mark.parametrize(
    "toolchain", [each for each in toolchains.TOOLCHAINS if each.extra], ids=lambda each: each.name
)
def test_an_extra_and_its_toolchain_allow_the_same_releases(wheel: Path, toolchain: toolchains.Toolchain) -> None:
    extras = ranges(wheel)
    for text in toolchain.requirements:
        wanted = Requirement(text.split("|", 1)[0].strip())
        offered = next(extras[name][wanted.name] for name in toolchain.extra.split(",") if wanted.name in extras[name])
        assert ends(wanted) == ends(offered), f"dlconv[{toolchain.extra}] allows {offered}, the toolchain {wanted}"


def test_what_is_imported_is_what_is_declared(wheel: Path) -> None:
    required = [Requirement(line) for line in re.findall(r"^Requires-Dist: (.*)$", metadata(wheel), re.MULTILINE)]
    declared = {each.name for each in required if "extra" not in str(each.marker or "")}
    frameworks = {name for extra in ranges(wheel).values() for name in extra} | {"dlconv"}
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "dlconv").rglob("*.py"))
    imported = set(re.findall(r"^\s*(?:from|import) (\w+)", sources, re.MULTILINE)) - sys.stdlib_module_names
    assert declared, "the metadata names the dependencies"
    assert declared <= imported, f"declared and not imported: {declared - imported}"
    # Modules of the frameworks themselves, and what they bring and dlconv reads with them.
    known = {name.replace("-", "_") for name in frameworks} | {
        "PIL",  # of pillow
        "google",
        "flatbuffers",
        "jaxlib",
        "litert_torch",  # of a toolchain that cannot live beside
        "ml_dtypes",
        "mlflow",  # of mlflow-skinny
        "onnx2tf",
        "tflite_runtime",
        "tomllib",  # of the standard library from Python 3.11 on
    }
    assert imported <= declared | known, f"imported and not declared: {imported - declared - known}"
