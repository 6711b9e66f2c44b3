"""Toolchains are found without importing anything, and a managed environment is whole or it is not there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from dlconv.cli.main import run
from dlconv.errors import MachineError, RequestError
from dlconv.workers import adopted, install, interpreters, toolchains
from dlconv.workers.pip_settings import for_uv, pip_settings
from dlconv.workers.toolchains import TOOLCHAINS, Located, Missing, Toolchain

NAME = "dlconv-test-brick"


def write_wheel(folder: Path, version: str) -> None:
    """A package of one empty module, as a wheel."""
    info = f"dlconv_test_brick-{version}.dist-info"
    with zipfile.ZipFile(folder / f"dlconv_test_brick-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("dlconv_test_brick.py", "")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {version}\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(
            f"{info}/RECORD", f"dlconv_test_brick.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n"
        )


@pytest.fixture
def brick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toolchain:
    """A toolchain of one local package, an empty home, and no index but a folder of wheels."""
    wheels, locks = tmp_path / "wheels", tmp_path / "locks"
    wheels.mkdir()
    locks.mkdir()
    write_wheel(wheels, "1.0")
    (locks / "brick.txt").write_text(f"# made by hand\n{NAME}==1.0\n")
    made = Toolchain("brick", "tests", (f"{NAME}>=1,<2",), ">=3.10", ("3.11",), "", "brick.txt")
    monkeypatch.setattr(toolchains, "LOCKS", locks)
    monkeypatch.setattr(toolchains, "TOOLCHAINS", (made,))
    monkeypatch.setenv("DLCONV_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return made


def quiet(line: str) -> None:
    """Takes a line and says nothing."""


def test_locks_pin_what_the_ranges_allow() -> None:
    for toolchain in (each for each in TOOLCHAINS if each.lock):
        pins = [Requirement(pin) for pin in toolchains.pins_of(toolchain.lock_path)]
        for pin in pins:
            assert [part.operator for part in pin.specifier] == ["=="], f"{toolchain.name}: {pin} is no pin"
        exact = {pin.name: next(iter(pin.specifier)).version for pin in pins}
        _, problems = toolchains.satisfied(toolchain, exact)
        assert not problems


def test_locks_name_no_index() -> None:
    for file in toolchains.LOCKS.iterdir():
        text = file.read_text()
        assert "://" not in text and "--index" not in text and "--find-links" not in text, file.name


def test_an_unknown_toolchain_is_a_wrong_request() -> None:
    with pytest.raises(RequestError, match="no toolchain 'tensorrt9'"):
        toolchains.get("tensorrt9")


def test_each_requirement_is_judged_and_alternatives_serve() -> None:
    onnx = {"onnx": "1.23.2", "onnxsim": "0.8.1", "onnxslim": "0.1.98", "onnxruntime-gpu": "1.31.1"}
    assert toolchains.satisfied(toolchains.get("onnx"), onnx) == (onnx, [])
    _, problems = toolchains.satisfied(toolchains.get("tflite"), {"ai-edge-litert": "0.9"})
    assert "ai-edge-litert 0.9 is here" in problems[0]
    _, problems = toolchains.satisfied(toolchains.get("torch"), {"torch": "2.13.0+cpu", "onnx": "1.23.2"})
    assert len(problems) == 1 and problems[0].startswith("onnxscript")


def test_locating_imports_no_framework() -> None:
    code = (
        "import sys; from dlconv.workers.toolchains import TOOLCHAINS, locate; [locate(each) for each in TOOLCHAINS];"
        "print([name for name in ('torch', 'onnx', 'onnxruntime', 'openvino', 'numpy', 'ai_edge_litert')"
        " if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_what_is_here_is_used(brick: Toolchain) -> None:
    here = replace(brick, requirements=("packaging>=1", "no-such-one>=1 | click>=8"))
    found = toolchains.locate(here)
    assert isinstance(found, Located)
    assert (found.origin, found.interpreter) == ("this interpreter", Path(sys.executable))
    assert set(found.versions) == {"packaging", "click"} and Version(found.versions["click"]) >= Version("8")


def test_a_toolchain_is_installed_located_listed_and_removed(brick: Toolchain) -> None:
    missing = toolchains.locate(brick)
    assert isinstance(missing, Missing)
    assert missing.problems == (f"{NAME}<2,>=1 is needed; it is not installed here",)
    assert missing.mend == "dlconv toolchain install brick"
    made = install.install(brick, quiet)
    assert toolchains.locate(brick) == made
    assert (made.origin, made.versions) == ("managed", {NAME: "1.0"})
    subprocess.run([str(made.interpreter), "-c", "import dlconv_test_brick"], check=True)
    [listed] = install.managed()
    assert listed.is_whole and listed.is_current and listed.size_bytes > 1000
    assert install.remove("brick") == listed.size_bytes
    assert install.managed() == [] and isinstance(toolchains.locate(brick), Missing)


def test_another_toolchain_serves_in_its_place(brick: Toolchain, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = replace(brick, name="absent", requirements=("no-such-one>=1",), lock="absent.txt", or_else="brick")
    (toolchains.LOCKS / "absent.txt").write_text("no-such-one==1\n")
    monkeypatch.setattr(toolchains, "TOOLCHAINS", (absent, brick))
    missing = toolchains.locate(absent)
    assert isinstance(missing, Missing) and missing.mend == "dlconv toolchain install absent"
    made = install.install(brick, quiet)
    assert toolchains.locate(absent) == made
    assert isinstance(toolchains.locate(replace(absent, or_else="")), Missing)


@pytest.mark.slow
def test_venv_and_pip_serve_where_there_is_no_uv(brick: Toolchain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "_uv", lambda: None)
    assert install.install(brick, quiet).versions == {NAME: "1.0"}


def test_another_lock_is_another_environment(brick: Toolchain, tmp_path: Path) -> None:
    install.install(brick, quiet)
    write_wheel(tmp_path / "wheels", "1.1")
    brick.lock_path.write_text(f"{NAME}==1.1\n")
    assert isinstance(toolchains.locate(brick), Missing)
    assert install.install(brick, quiet).versions == {NAME: "1.1"}
    assert sorted(each.is_current for each in install.managed()) == [False, True]
    install.remove("brick")
    assert install.managed() == []


def test_comments_of_a_lock_are_no_part_of_its_digest(brick: Toolchain) -> None:
    before = brick.lock_digest
    brick.lock_path.write_text(f"# another comment\n\n{NAME}==1.0  # why\n")
    assert brick.lock_digest == before


def test_an_environment_without_its_marker_is_not_whole(brick: Toolchain) -> None:
    made = install.install(brick, quiet)
    (toolchains.environment_path(brick) / toolchains.MARKER).unlink()
    missing = toolchains.locate(brick)
    assert isinstance(missing, Missing) and "not installed to its end" in missing.problems[-1]
    assert install.install(brick, quiet) == made


def test_a_marker_of_another_lock_is_not_believed(brick: Toolchain) -> None:
    install.install(brick, quiet)
    marker = toolchains.environment_path(brick) / toolchains.MARKER
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "lock": "0" * 64}))
    assert isinstance(toolchains.locate(brick), Missing)


def test_an_interrupted_installation_leaves_nothing(brick: Toolchain) -> None:
    def interrupt(line: str) -> None:
        if "Creating" in line or "Installed" in line or "virtual environment" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        install.install(brick, interrupt)
    assert sorted(path.name for path in toolchains.home().iterdir()) == [".brick.lock", "brick.log"]


def test_a_killed_installer_leaves_nothing_that_counts(brick: Toolchain) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from dlconv.workers import install, toolchains;"
        "toolchains.LOCKS = Path(sys.argv[1]); toolchain = toolchains.Toolchain(*eval(sys.argv[2]));"
        "install.install(toolchain, lambda line: 'irtual environment' in line and os.kill(os.getpid(), signal.SIGKILL))"
    )
    fields = repr(tuple(vars(brick).values()))
    killed = subprocess.run([sys.executable, "-c", code, str(toolchains.LOCKS), fields], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [path.name for path in toolchains.home().glob(".unfinished-*")], "the kill came too early to show anything"
    assert isinstance(toolchains.locate(brick), Missing)
    install.install(brick, quiet)
    assert isinstance(toolchains.locate(brick), Located)
    time.sleep(0.2)  # the killed installer's child may still write into its own folder
    install.remove("brick")
    assert sorted(path.name for path in toolchains.home().iterdir()) == [".brick.lock", "brick.log"]


def test_two_installations_at_once_make_one_environment(brick: Toolchain) -> None:
    lines: dict[int, list[str]] = {0: [], 1: []}
    threads = [threading.Thread(target=install.install, args=(brick, lines[number].append)) for number in lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = [any("is there already" in line for line in heard) for heard in lines.values()]
    assert sorted(told) == [False, True]


def test_a_failure_names_its_log(brick: Toolchain) -> None:
    brick.lock_path.write_text(f"{NAME}==9.9\n")
    with pytest.raises(MachineError, match="could not be installed") as caught:
        install.install(brick, quiet)
    assert "9.9" in Path(caught.value.log).read_text()
    assert install.managed() == []


def test_a_shim_without_a_python_behind_it_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shim = tmp_path / "python3.99"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    found, met = interpreters.find(">=3.99", ("3.99",))
    assert found is None
    assert f"{shim} does not run: exit code 127" in met
    found, _ = interpreters.find(">=3.10", ("3.99",))
    assert found is not None and found.version.startswith(f"3.{sys.version_info.minor}.")


def test_pyenvs_versions_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "versions" / "3.77.12" / "bin"
    folder.mkdir(parents=True)
    fake = folder / "python3.77"
    fake.write_text(f'#!/bin/sh\necho \'["{fake}", "3.77.12", "cpython", true]\'\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    found, _ = interpreters.find(">=3.77", ("3.77",))
    assert found is not None and (found.path, found.version) == (fake, "3.77.12")


def test_pips_settings_are_passed_on_to_uv(tmp_path: Path) -> None:
    config = tmp_path / "pip.conf"
    config.write_text("[global]\nextra-index-url = a b\nfind-links = /x /y\ncert = /c\n[install]\nfind-links = /z\n")
    environment = {"PIP_CONFIG_FILE": str(config), "PIP_INDEX_URL": "i", "XDG_CONFIG_HOME": str(tmp_path)}
    assert pip_settings(environment)["find-links"] == "/z"
    assert for_uv(environment)["UV_FIND_LINKS"] == "/z"
    assert for_uv({**environment, "PIP_FIND_LINKS": "/p /q"})["UV_FIND_LINKS"] == "/p,/q"
    told = for_uv({**environment, "UV_DEFAULT_INDEX": "mine"})
    assert "UV_DEFAULT_INDEX" not in told
    assert (told["UV_INDEX"], told["UV_INDEX_STRATEGY"], told["SSL_CERT_FILE"]) == ("a b", "unsafe-best-match", "/c")
    assert for_uv(environment)["UV_DEFAULT_INDEX"] == "i"


def test_the_command_tells_installs_and_removes(brick: Toolchain, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["toolchain", "list", "--json", "-"]) == 0
    [before] = json.loads(capsys.readouterr().out)["toolchains"]
    assert (before["is_here"], before["mend"]) == (False, "dlconv toolchain install brick")
    assert run(["toolchain", "install", "brick", "--json", "-"]) == 0
    [made] = json.loads(capsys.readouterr().out)["toolchains"]
    assert (made["origin"], made["versions"]) == ("managed", {NAME: "1.0"})
    assert run(["toolchain", "list"]) == 0
    assert "in use" in capsys.readouterr().out
    assert run(["toolchain", "remove", "brick"]) == 0
    assert "removed brick" in capsys.readouterr().out
    assert run(["toolchain", "remove", "nonsense"]) == 2


def python_with_brick(folder: Path, version: str) -> Path:
    """An environment of the user's own that has the package, and what a worker needs."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    [site] = folder.glob("lib/python*/site-packages")
    (site / "numpy-2.0.dist-info").mkdir()
    (site / "numpy-2.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 2.0\n")
    put_brick(folder, version)
    return folder / "bin" / "python"


def put_brick(folder: Path, version: str) -> None:
    [site] = folder.glob("lib/python*/site-packages")
    for old in site.glob("dlconv_test_brick-*"):
        shutil.rmtree(old)
    info = site / f"dlconv_test_brick-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {version}\n")


def test_a_python_that_the_user_names_serves_before_any_other(brick: Toolchain, tmp_path: Path) -> None:
    managed = install.install(brick, quiet)
    python = python_with_brick(tmp_path / "own", "1.5")
    assert install.use(brick, str(python)) == Located(python, "named by you", {NAME: "1.5"})
    assert toolchains.locate(brick) == Located(python, "named by you", {NAME: "1.5"})

    adopted._asked.cache_clear()  # another run
    put_brick(tmp_path / "own", "2.0")
    lost = toolchains.locate(brick)  # and the managed one is not taken in its place
    assert isinstance(lost, Missing) and "dlconv-test-brick 2.0 is here" in lost.problems[0], lost
    assert lost.mend.startswith("dlconv toolchain remove brick")

    adopted.forget(toolchains.home(), "brick")
    assert toolchains.locate(brick) == managed
    install.use(replace(brick, requirements=(f"{NAME}>=2",)), str(python))
    install.remove("brick")
    assert python.exists() and isinstance(toolchains.locate(brick), Missing)


def test_a_python_that_does_not_serve_is_refused_with_all_that_it_lacks(brick: Toolchain, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    with pytest.raises(RequestError) as refused:
        install.use(brick, str(bare / "bin" / "python"))
    assert [problem.rpartition(": ")[2].partition(" is needed")[0] for problem in refused.value.problems] == [
        f"{NAME}<2,>=1",
        "numpy",
    ]
    for no_python in ("/bin/false", "/bin/true"):
        with pytest.raises(RequestError) as refused:
            install.use(brick, no_python)
        assert "does not run" in refused.value.problems[0]
    with pytest.raises(RequestError, match="is no program"):
        install.use(brick, str(tmp_path / "nowhere"))
    assert adopted.read(toolchains.home(), "brick") is None
