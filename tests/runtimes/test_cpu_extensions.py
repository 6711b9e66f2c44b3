"""An extension of the CPU is proved by an instruction of it; one that is only listed ends the process, not ours."""

from __future__ import annotations

import dataclasses
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dlconv.errors import HardwareMissing, MachineError
from dlconv.runtimes import cpu_extensions
from dlconv.runtimes.cpu_extensions import EXTENSIONS, cpuinfo, probe

IS_X86 = platform.machine() == "x86_64" and sys.platform == "linux"
pytestmark = pytest.mark.skipif(not IS_X86, reason="x86-64 on Linux is asked")
FLAGS = set(cpuinfo("flags").split())


@pytest.mark.parametrize("name", EXTENSIONS)
def test_what_the_cpu_has_is_proved_and_the_rest_is_not_here(name: str) -> None:
    if FLAGS.issuperset(EXTENSIONS[name].flags):
        code = f"from dlconv.runtimes.cpu_extensions import probe; print(probe({name!r})['devices'])"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and EXTENSIONS[name].flags[0] in done.stdout, done.stderr
    else:
        with pytest.raises(HardwareMissing, match="does not list"):
            probe(name)


@pytest.mark.parametrize("name", [name for name, each in EXTENSIONS.items() if not each.needs_tiles])
def test_what_is_listed_and_not_there_ends_the_process_that_asks(name: str, tmp_path: Path) -> None:
    if FLAGS.issuperset(EXTENSIONS[name].flags):
        pytest.skip(f"this CPU has {name}")
    listed = tmp_path / "cpuinfo"
    listed.write_text(f"model name : Boaster\nflags : {' '.join(EXTENSIONS[name].flags)}\n")
    code = (
        "import pathlib, dlconv.runtimes.cpu_extensions as asked\n"
        f"asked._CPUINFO = pathlib.Path({str(listed)!r})\n"
        f"asked.probe({name!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGILL


@pytest.mark.skipif("avx2" not in FLAGS, reason="this CPU lacks AVX2")
def test_a_wrong_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = dataclasses.replace(EXTENSIONS["avx2"], answer=7)
    monkeypatch.setitem(cpu_extensions.EXTENSIONS, "avx2", wrong)
    with pytest.raises(MachineError, match="answers 264196") as met:
        probe("avx2")
    assert type(met.value) is MachineError


def test_tiles_that_the_kernel_withholds_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "amx_tile" in FLAGS:
        pytest.skip("this CPU has AMX")
    listed = tmp_path / "cpuinfo"
    listed.write_text("model name : Boaster\nflags : amx_tile amx_int8 amx_bf16\n")
    monkeypatch.setattr(cpu_extensions, "_CPUINFO", listed)
    with pytest.raises(MachineError, match="the kernel does not give its registers"):
        probe("amx")
