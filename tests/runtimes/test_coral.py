"""The Coral Edge TPU: what is missing is told with the way to get it. Few machines have one, so a library of the same C
interface (edgetpu_c.h, and TFLite's for delegates) is compiled, with as many devices as a test wants."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from dlconv.errors import MachineError, Unsupported
from dlconv.runtimes import coral, tflite_foreign
from dlconv.runtimes.tflite_flatbuffer import FlatGraph, FlatModel, FlatOperator

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIBRARY = """
#include <stdlib.h>
struct edgetpu_device { int type; const char *path; };
struct edgetpu_device *edgetpu_list_devices(size_t *count) {
    *count = DEVICES;
    if (!DEVICES) return NULL;
    struct edgetpu_device *all = calloc(DEVICES, sizeof *all);
    for (int i = 0; i < DEVICES; ++i) { all[i].type = i % 2; all[i].path = i % 2 ? "/sys/bus/usb/1" : "/dev/apex_0"; }
    return all;
}
void edgetpu_free_devices(struct edgetpu_device *all) { free(all); }
const char *edgetpu_version(void) { return "BuildLabel(test), RuntimeVersion(14)"; }
#ifdef DELEGATE
void *tflite_plugin_create_delegate(char **keys, char **values, size_t count, void (*report)(const char *)) {
    if (DELEGATE) return calloc(1, 256);
    report("the device does not answer");
    return NULL;
}
void tflite_plugin_destroy_delegate(void *delegate) { free(delegate); }
#endif
"""


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Compiles the library, and has it found under the platform's name."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")

    def made(devices: int, *macros: str) -> None:
        source, built = tmp_path / "edgetpu.c", tmp_path / "libedgetpu.so"
        source.write_text(LIBRARY)
        subprocess.run(
            [compiler, "-shared", "-fPIC", f"-DDEVICES={devices}", *macros, "-o", built, source], check=True, timeout=60
        )
        monkeypatch.setitem(coral.LIBRARIES, sys.platform, str(built))

    return made


def test_a_library_that_is_not_here_is_told_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(coral.LIBRARIES, sys.platform, "libedgetpu-none.so.1")
    with pytest.raises(MachineError, match=r"not here: libedgetpu-none.so.1 cannot be loaded") as caught:
        coral.probe()
    assert "libedgetpu1-std" in caught.value.mend and caught.value.exit_code == 3


def test_a_library_of_something_else_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(coral.LIBRARIES, sys.platform, None)  # this program itself, which has no such functions
    with pytest.raises(MachineError, match="not here"):
        coral.probe()


def test_a_library_without_a_device(library: Callable[..., None]) -> None:
    library(0, "-DDELEGATE=1")
    with pytest.raises(MachineError, match=r"RuntimeVersion\(14\) sees no device") as caught:
        coral.probe()
    assert "plug the device in" in caught.value.mend


@pytest.mark.tflite
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # litert's, of a delegate half made
@pytest.mark.parametrize(("macros", "why"), [(("-DDELEGATE=0",), "does not answer"), ((), "undefined symbol")])
def test_devices_without_a_delegate_are_broken(library: Callable[..., None], macros: tuple[str], why: str) -> None:
    library(1, *macros)
    told = rf"broken: .* sees PCI /dev/apex_0, but ai-edge-litert .* gets no delegate: .*{why}"
    with pytest.raises(MachineError, match=told):
        coral.probe()


@pytest.mark.tflite
def test_devices_are_told_by_kind_and_place(library: Callable[..., None]) -> None:
    library(2, "-DDELEGATE=1")
    told = coral.probe()
    assert told["devices"] == ["PCI /dev/apex_0", "USB /sys/bus/usb/1"]
    assert "RuntimeVersion(14)" in told["version"]


def test_the_compiler_is_found_or_told_how_to_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match="no edgetpu_compiler on the PATH") as caught:
        coral.probe_compiler()
    assert "Debian package edgetpu-compiler" in caught.value.mend
    found = tmp_path / coral.COMPILER
    found.write_text("#!/bin/sh\n")
    with pytest.raises(MachineError):  # a file that cannot be run is no compiler
        coral.probe_compiler()
    found.chmod(0o755)
    assert coral.probe_compiler()["version"] == str(found)


def test_a_file_compiled_for_it_is_refused_with_what_to_give_instead() -> None:
    graph = FlatGraph((), (), (), (FlatOperator("custom.edgetpu-custom-op", (), ()),))
    compiled = FlatModel(3, "", (graph,), (), (), ())
    with pytest.raises(Unsupported, match="compiled for the Coral Edge TPU") as caught:
        tflite_foreign.refuse(compiled)
    assert caught.value.mend == "give the file that edgetpu_compiler was given"
