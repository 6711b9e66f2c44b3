"""What is written to a real terminal: a pseudo-terminal, its width and its environment."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import runpy
import struct
import sys
import termios
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RECORDS: dict[str, Any] = runpy.run_path(str(Path(__file__).with_name("records.py")))
ESCAPE = "\x1b"
SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
RUN = """
import time
from dlconv.events import Event
from dlconv.reports.console import progress
with progress(0) as listener:
    listener.on(Event("step-started", "openvino", "a step with a name that is longer than a narrow terminal is wide"))
    time.sleep(0.4)
    {ends}
"""


def on_terminal(
    words: list[str], columns: int = 80, environment: dict[str, str] | None = None, folder: Path | None = None
) -> str:
    """What Python writes when it runs on a terminal of so many columns, in a folder. Its end is waited for."""
    known = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "CI", "COLUMNS", "LINES")}
    known |= {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT), **(environment or {})}
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder or ".")
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        os.execve(sys.executable, [sys.executable, *words], known)
    written = b""
    while True:
        try:
            part = os.read(terminal, 1 << 16)
        except OSError:  # Linux says so of a terminal that nobody writes to any more
            break
        if not part:
            break
        written += part
    os.waitpid(child, 0)
    os.close(terminal)
    return written.decode()


PLAIN = [{"TERM": "dumb"}, {"NO_COLOR": "1"}, {"CI": "true"}]


def test_errors_have_colours_on_a_terminal(tmp_path: Path) -> None:
    told = on_terminal(["-m", "dlconv", "inspect", str(tmp_path / "nothing.onnx")])
    assert f"{ESCAPE}[31m" in told and "error: " in SEQUENCE.sub("", told)


@pytest.mark.parametrize("environment", PLAIN, ids=str)
def test_a_plain_terminal_gets_plain_errors(environment: dict[str, str], tmp_path: Path) -> None:
    told = on_terminal(["-m", "dlconv", "inspect", str(tmp_path / "nothing.onnx")], environment=environment)
    assert ESCAPE not in told and "error: " in told


@pytest.mark.parametrize("columns", [40, 80])
def test_what_runs_fits_the_terminal_and_is_taken_away(columns: int) -> None:
    told = on_terminal(["-c", RUN.format(ends="pass")], columns)
    drawn = [line for line in re.split(r"[\r\n]+", SEQUENCE.sub("", told)) if "openvino" in line]
    assert len(drawn) > 1, "it moves"
    assert max(map(len, drawn)) <= columns
    assert told.count(f"{ESCAPE}[?25l") == told.count(f"{ESCAPE}[?25h") == 1, "the cursor is back"
    assert told.rstrip().endswith(f"{ESCAPE}[2K"), "the lines are gone"


def test_the_cursor_is_back_after_ctrl_c() -> None:
    told = on_terminal(["-c", RUN.format(ends="raise KeyboardInterrupt")])
    assert told.count(f"{ESCAPE}[?25l") == told.count(f"{ESCAPE}[?25h") == 1


@pytest.mark.parametrize("environment", PLAIN, ids=str)
def test_nothing_moves_on_a_plain_terminal(environment: dict[str, str]) -> None:
    told = on_terminal(
        ["-c", RUN.format(ends='listener.on(Event("judged", "openvino", "PASS"))')], environment=environment
    )
    assert ESCAPE not in told
    assert re.fullmatch(r" +[\d.]+ s  openvino     PASS", told.strip("\r\n"))


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_verdicts_fit_the_terminal_and_nothing_is_left_out(columns: int, tmp_path: Path) -> None:
    for target, wrong_by in (("openvino", 0.0), ("tflite", 2e-3)):
        RECORDS["write"](tmp_path / "out", f"net-{target}-fp32", RECORDS["receipt"](target, wrong_by=wrong_by))
    told = on_terminal(["-m", "dlconv", "report", "out", "-o", "page.html"], columns, folder=tmp_path)
    lines = SEQUENCE.sub("", told).replace("\r", "").split("\n")
    assert [line for line in lines if len(line) > columns and "again: " not in line] == []
    table = " ".join(lines[: lines.index("net-openvino-fp32: FAIL")])
    figures = ("FAIL", "openvino", "tflite", "7.1e-08", "2.0e-03", "4.8e-06", "12.0 kB", "7.5 s")
    for word in (*figures, "out/net-openvino-fp32", "out/net-tflite-fp32"):
        assert word in table, word
    first = [line for line in lines if line.startswith(("model", "net.", "FAIL"))]
    assert len(first) == (3 if first[0].startswith("model") else 2), "a head and a row of each, or a block of each"


def test_what_goes_on_fits_a_narrow_terminal() -> None:
    ends = 'listener.on(Event("told", "", "64 samples were answered, and this sentence is a long one"))'
    told = on_terminal(["-c", RUN.format(ends=ends)], 40)
    lines = [line for line in re.split(r"[\r\n]+", SEQUENCE.sub("", told)) if line.strip() and "openvino" not in line]
    assert max(map(len, lines)) <= 40
    assert "64 samples" in lines[0] and all(line.startswith(" " * 11) for line in lines[1:]), "hung below the seconds"
