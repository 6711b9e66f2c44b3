"""The guides, followed: every command of docs/guides is run in its order, and ends as the guide says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from dlconv.hardware.here import cpu_features

ROOT = Path(__file__).parents[1]
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
FILE = re.compile(r'^```python title="([^"]+)"\n(.*?)^```', re.MULTILINE | re.DOTALL)
SESSION = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
VERDICT = re.compile(r"^\S+ +(\S+) +(\S+) +(PASS|FAIL|INCONCLUSIVE|SKIPPED|ERROR) ", re.MULTILINE)
CODE = re.compile(r"exit code (\d+)$", re.MULTILINE)

pytestmark = [
    pytest.mark.slow,
    *(getattr(pytest.mark, name) for name in ("torch", "onnx", "openvino", "nncf", "tflite", "onnx2tf", "tensorflow")),
]


@dataclass(frozen=True)
class Shown:
    """A command of a guide, and what the guide shows of its answer."""

    command: str
    answer: str

    @property
    def code(self) -> int:
        return int(found[-1]) if (found := CODE.findall(self.answer)) else 0


def sessions(text: str) -> list[Shown]:
    """What stands in the fences `console`: a line that begins with "$ " is a command, the others are its answer."""
    joined = "".join(SESSION.findall(text)).replace("\\\n", "")
    parts = re.split(r"^\$ ", joined, flags=re.MULTILINE)
    return [Shown(*part.partition("\n")[::2]) for part in parts[1:]]


def script(shown: list[Shown], place: Path) -> str:
    """All of it in one shell, so that `cd` holds; each command's answer and exit code are kept."""
    python = shlex.quote(sys.executable)
    lines = [f'dlconv() {{ {python} -m dlconv "$@"; }}', f'python() {{ {python} "$@"; }}']
    for number, each in enumerate(shown):
        lines += [f"{{ {each.command}\n}} >{place}/{number}.out 2>&1; echo $? >{place}/{number}.code"]
    return "\n".join(lines)


@pytest.mark.timeout(900)  # a guide is a dozen commands, and the machine may do other work
@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_a_guide_can_be_followed_from_start_to_end(guide: Path, tmp_path: Path) -> None:
    if guide.stem == "int8" and not {"avx_vnni", "avx512_vnni", "asimddp"} & set(cpu_features()):
        pytest.skip("the guide's verdicts are of a CPU that sums products of int8 whole")
    text = guide.read_text(encoding="utf-8")
    shown = sessions(text)
    assert any(each.code == 1 for each in shown) and any(VERDICT.search(each.answer) for each in shown)
    here, kept = tmp_path / "here", tmp_path / "kept"
    here.mkdir()
    kept.mkdir()
    (here / "models").symlink_to(ROOT / "models")
    for name, content in FILE.findall(text):
        (here / name).write_text(content, encoding="utf-8")
    subprocess.run(
        ["bash", "-c", script(shown, kept)], cwd=here, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    for number, each in enumerate(shown):
        answer = (kept / f"{number}.out").read_text(encoding="utf-8")
        assert int((kept / f"{number}.code").read_text()) == each.code, f"{each.command}\n{answer}"
        told, given = (set(VERDICT.findall(part)) for part in (each.answer, answer))
        assert told <= given, f"{each.command}\n{answer}"
        assert each.code or not told or told == given, f"{each.command}\n{answer}"
