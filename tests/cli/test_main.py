from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import pytest

from dlconv import __version__
from dlconv.cli import main as door
from dlconv.making.cache import Cache
from dlconv.workers import tiny_models

HEAVY = ("click", "numpy", "torch", "onnx", "onnxruntime", "openvino", "tensorflow", "ai_edge_litert", "rich", "psutil")


def dlconv(*arguments: str | Path, **further: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dlconv", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **further)


@pytest.mark.parametrize(
    ("arguments", "loaded"),
    [
        (["--help"], []),
        (["--version"], []),
        (["export", "--help"], ["click"]),
        (["cache", "--help"], ["click"]),
        (["completion", "bash"], ["click"]),
    ],
)
def test_help_imports_nothing_heavy(arguments: list[str], loaded: list[str]) -> None:
    program = (
        "import sys\nfrom dlconv.cli.main import run\n"
        f"code = run({arguments!r})\n"
        f"print('\\nLOADED', code, [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == f"LOADED 0 {loaded}"


def test_the_version() -> None:
    done = dlconv("--version")
    assert (done.returncode, done.stdout) == (0, f"dlconv {__version__}\n")
    assert dlconv("-v", "--version").stdout == done.stdout


def called(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of a command line, in this process."""
    code = door.run([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


@pytest.mark.parametrize("name", ["export", "plan", "inspect", "doctor", "toolchain", "cache", "completion"])
def test_help_names_every_command_and_each_is_there(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert re.search(rf"^  {name} ", called(capsys, "--help")[1], re.MULTILINE)
    assert called(capsys, "-v", "--help")[1] == called(capsys, "--help")[1], "click says the same"
    code, out, err = called(capsys, name, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: dlconv {name} ")
    if name not in ("toolchain", "completion"):
        assert all(option in out for option in ("--quiet", "--verbose", "--json FILE|-"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["exprot", "x.pt"], "No such command 'exprot'. (Did you mean 'export'?)"),
        (["export", "x.pt", "--to", "onnx,opnvino"], "next: --to onnx,openvino"),
        (["export", "x.pt", "--to", "tflit"], "next: --to tflite"),
        (["export", "x.pt", "--to", "onnx", "--precison", "fp16"], "'--precision'"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_a_misspelt_word_is_told_with_the_right_one(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = called(capsys, *arguments)
    assert code == 2 and told in click.unstyle(err)


@pytest.mark.parametrize(
    "arguments",
    [["frobnicate"], ["export"], ["export", "x.pt"], ["export", "x.pt", "--to", "onnx", "--precision", "fp1"]],
)
def test_wrong_usage_is_exit_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = called(capsys, *arguments)
    assert code == 2
    assert "Usage:" in err


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "noise.pt").write_bytes(bytes(range(7, 256)) * 3)
    (tmp_path / "cut.pt").write_bytes(b"PK\x03\x04" + bytes(60))
    (tmp_path / "ort.pt").write_bytes(b"\x1c\x00\x00\x00ORTM" + bytes(64))
    tiny_models.write_onnx(str(tmp_path / "tiny.onnx"))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none.pt", "there is no file"),
        ("empty.pt", "is empty: 0 bytes"),
        ("noise.pt", "is of no kind that dlconv knows"),
        ("cut.pt", "is a truncated archive: 64 bytes"),
        ("ort.pt", "is an ONNX Runtime (.ort) model"),
    ],
)
def test_a_wrong_file_is_one_clear_error(
    files: Path, name: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place = files / "out"
    code, out, err = called(capsys, "export", files / name, "--to", "onnx", "-o", place)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and words in err
    assert "\nnext: " in err
    assert "Traceback" not in err
    assert not place.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--to", "onnx,marble"], "unknown target 'marble'"),
        (["--to", "onnx", "--input", "x:1x?"], "--input 'x:1x?'"),
        (["--to", "onnx", "--input", "x:1x3", "--input", "x:1x4"], "'x' is given 2 times"),
        (["--to", "onnx", "--draws", "0"], "draws is 0"),
        (["--to", "onnx", "--memory-limit", "lots"], "'lots' is no size"),
    ],
)
def test_a_wrong_option_is_one_clear_error(
    files: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = called(capsys, "export", files / "tiny.onnx", "-o", files / "out", *options)
    assert code == 2
    assert err.startswith("error: ") and words in err
    assert "wanted: " in err or "next: " in err


def test_an_error_is_answered_as_json_too(files: Path) -> None:
    done = dlconv("inspect", files / "empty.pt", "--json", "-")
    answer = json.loads(done.stdout)
    assert answer["schema"] == "dlconv.inspect/1"
    assert answer["exit_code"] == done.returncode == 2
    assert answer["error"]["code"] == "format"
    assert "empty" in answer["error"]["met"]
    assert "error: " in done.stderr


def test_a_report_that_cannot_be_written_is_exit_3(files: Path) -> None:
    (files / "plain").write_text("a file, and no folder")
    done = dlconv("cache", "--json", files / "plain" / "x.json", env={**os.environ, "DLCONV_HOME": str(files)})
    assert done.returncode == 3
    assert "cannot be written" in done.stderr


def test_a_fault_of_its_own_is_exit_70_and_logged(files: Path) -> None:
    program = (
        "import sys\nfrom dlconv.cli import main, root\n"
        "def broken(*args, **kwargs): raise ZeroDivisionError('planted')\n"
        "root.root.main = broken\nmain.main()"
    )
    env = {**os.environ, "DLCONV_HOME": str(files)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 70
    assert done.stderr.startswith("error: a fault of dlconv's own: ZeroDivisionError: planted\n")
    assert "Traceback" not in done.stderr
    log = Path(done.stderr.partition("\nlog: ")[2].strip())
    assert log.parent == files / "logs"
    assert "in broken" in log.read_text()


def test_where_no_log_can_be_written_the_traceback_is_shown(files: Path) -> None:
    program = "from dlconv.cli import faults; faults.told(ZeroDivisionError('planted'))"
    env = {**os.environ, "DLCONV_HOME": str(files / "empty.pt")}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env, check=False)
    assert "report it, with the lines above" in done.stderr


def test_a_closed_pipe_is_quiet(files: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "dlconv", "--help"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_the_children_too(files: Path, number: signal.Signals, code: int) -> None:
    # A command that holds a worker which never answers.
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from dlconv.cli import main, root\nfrom dlconv.workers.worker import Worker\n"
        "def wait(*args, **kwargs):\n"
        f"    with Worker(Path(sys.executable), 'w', Path({str(files / 'w.log')!r})) as worker:\n"
        "        print(worker.call('os:getpid'), flush=True)\n"
        "        worker.call('sleeper:forever')\n"
        "root.root.main = wait\nmain.main()"
    )
    (files / "sleeper.py").write_text("import time\ndef forever():\n    time.sleep(600)\n")
    env = {**os.environ, "PYTHONPATH": f"{files}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=env) as running:
        assert running.stdout is not None
        child = int(running.stdout.readline())
        time.sleep(0.3)
        running.send_signal(number)
        assert running.wait(timeout=30) == code
    for _ in range(50):
        if not Path(f"/proc/{child}").exists():
            return
        time.sleep(0.1)
    pytest.fail(f"the worker {child} lives on")


def test_completion_knows_commands_and_targets() -> None:
    def complete(*words: str) -> str:
        env = {**os.environ, "_DLCONV_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(("dlconv", *words))}
        return dlconv(env={**env, "COMP_CWORD": str(len(words))}).stdout

    assert "plain,inspect" in complete("ins")
    assert complete("export", "m.onnx", "--to", "onnx,o").split() == [
        "plain,onnx,onnxruntime",
        "plain,onnx,openvino",
    ]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = called(capsys, "completion", shell)
    assert code == 0
    assert "_DLCONV_COMPLETE" in out


def test_the_cache_is_listed_and_cleared(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLCONV_HOME", str(files))
    kept = Cache()
    folder = kept.begin()
    (folder / "model.onnx").write_bytes(bytes(2000))
    kept.put("abc123", folder, "some step")
    _, out, _ = called(capsys, "cache", "--json", files / "cache.json")
    assert "some step" in out and "2.0 kB" in out
    assert json.loads((files / "cache.json").read_text())["entries"][0]["key"] == "abc123"
    assert called(capsys, "cache", "--clear", "-q") == (0, "", "")
    assert kept.entries() == []


def test_quiet_before_and_after_the_command(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLCONV_HOME", str(files))
    assert called(capsys, "cache")[1] != ""
    assert called(capsys, "-q", "cache")[1] == called(capsys, "cache", "-q")[1] == ""
