"""The action and the GitLab job: their own shell lines are run; only what would be fetched from afar is a stand-in."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from dlconv.workers import toolchains

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
GITLAB: dict[str, Any] = yaml.safe_load((ROOT / "ci" / "gitlab.yml").read_text(encoding="utf-8"))
DEFAULTS = {name: str(told["default"]) for name, told in ACTION["inputs"].items()}
EXPRESSION = re.compile(r"\$\{\{ *([\w.-]+) *\}\}")

# A dlconv that says what it was called with and leaves with the code that it is told to.
DLCONV = """#!/usr/bin/env bash
printf '%s\\n' "$@" >>"$CALLS"
exit "${STUB_CODE:-0}"
"""
# `python -m venv FOLDER` makes a folder in which pip says what it was called with; all else is the real Python.
PYTHON = """#!/usr/bin/env bash
if [ "${1-} ${2-}" = "-m venv" ]; then
    mkdir -p "$3/bin"
    cp "$0" "$3/bin/python"
    printf '%s' "$STUB_DLCONV" >"$3/bin/dlconv"
    chmod +x "$3/bin/dlconv"
elif [ "${1-} ${2-}" = "-m pip" ]; then
    printf '%s\\n' "${@:3}" >>"$CALLS"
else
    exec "$REAL_PYTHON" "$@"
fi
"""


class Job:
    """A runner of the action's shell steps, one by one, as GitHub would: inputs and outputs put into expressions."""

    def __init__(self, folder: Path, **inputs: str) -> None:
        assert inputs.keys() <= {name.replace("-", "_") for name in DEFAULTS}
        self.folder = folder
        self.inputs = DEFAULTS | {name.replace("_", "-"): value for name, value in inputs.items()}
        self.outputs: dict[str, dict[str, str]] = {}
        self.calls = folder / "calls"
        self.summary = folder / "summary.md"
        (folder / "bin").mkdir()
        (folder / "bin" / "python").write_text(PYTHON)
        (folder / "bin" / "python").chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "RUNNER_TEMP": str(folder / "temp dir"),
            "GITHUB_ACTIONS": "true",
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "CALLS": str(self.calls),
            "REAL_PYTHON": sys.executable,
            "STUB_DLCONV": DLCONV,
        }
        Path(self.environment["RUNNER_TEMP"]).mkdir()

    def value(self, text: str) -> str:
        def found(match: re.Match[str]) -> str:
            place, *path = match[1].split(".")
            if place == "inputs":
                return self.inputs[path[0]]
            if place == "steps":
                return self.outputs.get(path[0], {}).get(path[2], "")
            assert match[1] == "github.action_path"
            return str(ROOT)

        return EXPRESSION.sub(found, text)

    def run(self, name: str, **environment: str) -> subprocess.CompletedProcess[str]:
        (step,) = [step for step in STEPS if step["name"] == name]
        output = self.folder / "output"
        output.write_text("")
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]],  # as `shell: bash` does
            env={
                **self.environment,
                "GITHUB_OUTPUT": str(output),
                **{key: self.value(value) for key, value in step.get("env", {}).items()},
                **environment,
            },
            cwd=self.folder / self.value(step.get("working-directory", ".")),
            capture_output=True,
            text=True,
            timeout=250,
        )
        if "id" in step:
            pairs = [line.partition("=") for line in output.read_text().splitlines()]
            self.outputs[step["id"]] = {key: value for key, _, value in pairs}
        return done

    def called(self) -> list[str]:
        words = self.calls.read_text().splitlines() if self.calls.exists() else []
        self.calls.unlink(missing_ok=True)
        return words

    @property
    def report(self) -> Path:
        return Path(self.environment["RUNNER_TEMP"]) / "dlconv-report"


def installed(tmp_path: Path, **inputs: str) -> Job:
    job = Job(tmp_path, **inputs)
    done = job.run("Install dlconv")
    assert done.returncode == 0, done.stderr
    return job


def test_inputs_reach_no_script_but_by_the_environment() -> None:
    for step in STEPS:
        assert "${{" not in step.get("run", ""), step["name"]
        assert ("run" in step) == (step.get("shell") == "bash")
    told = json.dumps(ACTION)
    assert set(re.findall(r"\binputs\.([\w-]+)", told)) == set(ACTION["inputs"])
    assert set(re.findall(r"\bsteps\.([\w-]+)", told)) == {step["id"] for step in STEPS if "id" in step}
    assert all(isinstance(told["default"], str) and told["description"] for told in ACTION["inputs"].values())


def test_extras_and_toolchains_that_are_named_exist() -> None:
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    for given in (DEFAULTS["extras"], GITLAB[".dlconv-verify"]["variables"]["DLCONV_EXTRAS"]):
        assert set(given.split(",")) <= extras
    assert "onnx2tf" in {toolchain.name for toolchain in toolchains.TOOLCHAINS}


@pytest.mark.parametrize(
    ("inputs", "wanted"),
    [
        ({}, [f"{ROOT}[onnx,openvino,tflite]"]),
        ({"extras": ""}, [f"{ROOT}"]),
        ({"extras": "onnx", "version": "==0.2.0"}, ["dlconv[onnx]==0.2.0"]),
        ({"extras": "", "version": "==0.2.0"}, ["dlconv==0.2.0"]),
        ({"extras": "onnx", "pip_arguments": "-c 'a b.txt'"}, ["-c", "a b.txt", f"{ROOT}[onnx]"]),
    ],
)
def test_what_is_asked_for_is_installed(inputs: dict[str, str], wanted: list[str], tmp_path: Path) -> None:
    assert installed(tmp_path, **inputs).called() == ["install", "--quiet", *wanted]


def test_toolchains_are_installed_where_asked_for(tmp_path: Path) -> None:
    job = installed(tmp_path, toolchains="onnx2tf  torch")
    job.called()
    assert job.run("Install toolchains").returncode == 0
    assert job.called() == ["toolchain", "install", "onnx2tf", "torch"]
    (step,) = [step for step in STEPS if step["name"] == "Install toolchains"]
    assert step["if"] == "inputs.toolchains != ''"
    assert job.run("Install toolchains", STUB_CODE="3").returncode == 3


@pytest.mark.parametrize(
    ("code", "verdict"), [(0, "PASS"), (1, "FAIL"), (2, "ERROR"), (3, "INCONCLUSIVE"), (4, "ERROR"), (70, "ERROR")]
)
def test_the_job_ends_with_dlconvs_exit_code(code: int, verdict: str, tmp_path: Path) -> None:
    job = installed(tmp_path)
    job.called()
    done = job.run("Verify", STUB_CODE=str(code))
    assert done.returncode == 0, "the report is uploaded first"
    assert job.outputs["verify"] == {"exit-code": str(code), "verdict": verdict, "report": str(job.report)}
    assert job.run("End with dlconv's exit code").returncode == code
    reports = ("--json", "report.json", "--junit", "junit.xml", "--markdown", "report.md", "--sarif", "report.sarif")
    assert job.called() == ["verify", *(w if w.startswith("--") else str(job.report / w) for w in reports)]
    for name in ("json", "junit", "markdown", "sarif"):
        assert job.value(ACTION["outputs"][name]["value"]) in {str(job.report / word) for word in reports}


def test_words_stay_words_and_nothing_in_them_is_run(tmp_path: Path) -> None:
    planted = "$(touch planted) `touch planted` ; touch planted"
    job = installed(tmp_path, arguments=f"'out/a b' {shlex.quote(planted)} -q", allow_skip="tflite,openvino")
    job.called()
    assert job.run("Verify").returncode == 0
    assert job.called()[:7] == ["verify", "out/a b", planted, "-q", "--allow-skip", "tflite,openvino", "--json"]
    assert not list(tmp_path.rglob("planted"))


def test_words_that_are_none_stop_the_job(tmp_path: Path) -> None:
    job = installed(tmp_path, arguments="'out")
    job.called()
    assert job.run("Verify").returncode != 0
    assert (job.called(), job.outputs["verify"]) == ([], {})
    assert job.run("End with dlconv's exit code").returncode != 0


def test_the_report_is_uploaded_whatever_the_verdict_is() -> None:
    names = [step["name"] for step in STEPS]
    upload = STEPS[names.index("Upload the report")]
    assert names.index("Verify") < names.index("Upload the report") < names.index("End with dlconv's exit code")
    assert upload["if"].startswith("always() && ") and upload["with"]["path"] == "${{ steps.verify.outputs.report }}"
    assert "if" not in STEPS[-1] and names[-1] == "End with dlconv's exit code"


def gitlab_script(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    job = GITLAB[".dlconv-verify"]
    (folder / "bin").mkdir()
    for name in ("python", "dlconv"):
        path = folder / "bin" / name
        own = "STUB_CODE=0\n" if name == "python" else ""
        path.write_text(f'#!/usr/bin/env bash\n{own}set -- {name} "$@"\n' + DLCONV.partition("\n")[2])
        path.chmod(0o755)
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", "\n".join(job["script"])],  # as GitLab's runner joins them
        env={
            **os.environ,
            **job["variables"],
            "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "CALLS": str(folder / "calls"),
            **variables,
        },
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_gitlab_job_runs_and_keeps_its_reports(tmp_path: Path) -> None:
    done = gitlab_script(
        tmp_path,
        DLCONV_VERSION="==0.2.0",
        DLCONV_TOOLCHAINS="onnx2tf",
        DLCONV_ARGUMENTS="out/a out/b",
        DLCONV_ALLOW_SKIP="tflite",
    )
    assert done.returncode == 0, done.stderr
    words = (tmp_path / "calls").read_text().splitlines()
    pip, install, verify = (" ".join(words[a:b]) for a, b in ((0, 6), (6, 10), (10, None)))
    assert pip == "python -m pip install --quiet dlconv[onnx,openvino,tflite]==0.2.0"
    assert install == "dlconv toolchain install onnx2tf"
    assert verify.startswith("dlconv verify out/a out/b --allow-skip tflite --json dlconv-report/report.json --junit")
    kept = GITLAB[".dlconv-verify"]["artifacts"]
    assert kept["when"] == "always" and kept["reports"]["junit"] in verify and kept["paths"] == ["dlconv-report"]


@pytest.mark.parametrize("code", [0, 1, 3])
def test_the_gitlab_job_ends_with_dlconvs_exit_code(code: int, tmp_path: Path) -> None:
    assert gitlab_script(tmp_path, STUB_CODE=str(code)).returncode == code
    assert len((tmp_path / "calls").read_text().splitlines()) == 16  # pip, then verify, and nothing after it


@pytest.mark.onnx
def test_a_real_bundle_is_verified_and_a_changed_one_fails(digits: Path, tmp_path: Path) -> None:
    import dlconv

    options = dlconv.ExportOptions(("onnx",), tmp_path / "out", samples=digits / "samples.npz")
    dlconv.export(digits / "digits.onnx", options)
    (bundle,) = (tmp_path / "out").iterdir()
    job = installed(tmp_path, arguments=f"out/{bundle.name}")
    real = f'#!/usr/bin/env bash\nexec {shlex.quote(sys.executable)} -m dlconv "$@"\n'
    (Path(job.environment["RUNNER_TEMP"]) / "dlconv" / "bin" / "dlconv").write_text(real)

    done = job.run("Verify")
    assert job.outputs["verify"]["verdict"] == "PASS", done.stdout + done.stderr
    assert job.run("End with dlconv's exit code").returncode == 0
    names = sorted(path.name for path in job.report.iterdir())
    assert names == ["junit.xml", "report.json", "report.md", "report.sarif"]
    assert "::error" not in done.stdout + done.stderr and "✅ PASS" in job.summary.read_text()

    (model,) = bundle.glob("*.onnx")
    content = model.read_bytes()
    model.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    done = job.run("Verify")
    assert job.outputs["verify"]["verdict"] == "FAIL"
    assert job.run("End with dlconv's exit code").returncode == 1
    assert re.search(r"^::error file=out/[^,]*/dlconv\.json,title=", done.stdout + done.stderr, re.MULTILINE)
    suites = ElementTree.parse(job.report / "junit.xml").getroot()
    assert suites.find("testsuite/testcase/failure") is not None
    assert json.loads((job.report / "report.sarif").read_text())["runs"][0]["results"]
    assert "❌ FAIL" in job.summary.read_text()
