"""Toolchains: the packages that an edge or a runtime needs, and where they are on this machine.

`TOOLCHAINS` is closed and the same everywhere. `locate` asks the machine: the interpreter that the user named for it
(`dlconv.workers.adopted`); else the present one, if its installed distributions satisfy the requirements; else a
managed environment that was installed to its end. No framework is imported to find out; that a toolchain works is
proved by the runtimes' `probe()`.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dlconv import plugins
from dlconv.errors import RequestError, ToolchainMissing
from dlconv.workers import adopted
from dlconv.workers.requirements import installed_here, judged

if TYPE_CHECKING:
    from collections.abc import Mapping

LOCKS = Path(__file__).with_name("locks")
MARKER = "dlconv-toolchain.json"
"""Written last into a managed environment: its presence says that the installation came to its end."""

ADOPTED = "named by you"
"""Where a toolchain is that an interpreter of the user's own serves."""
_PYTHON = ">=3.11,<3.14"
_CURRENT = ("3.12", "3.11", "3.13")


@dataclass(frozen=True)
class Toolchain:
    """A set of packages that live in one interpreter.

    requirements are tested ranges, as pip writes them, and those of pyproject.toml's extras; "A | B" is satisfied by
    either, and A is installed.
    python is the range of interpreters that the managed environment may have; python_wanted is tried first.
    extra is dlconv's own extra that installs it beside dlconv ("" if it cannot live there).
    lock is the name of a file in `locks/` that pins a managed environment, "" if it can have none; is_complete says
    that the lock names every package, so that nothing else is resolved (tf-keras asks for `tensorflow` where
    `tensorflow-cpu` does).
    or_else names the toolchain that serves where this one is not here.
    gate names the hardware that it needs besides (`dlconv.workers.gates`), "" where any machine does.
    """

    name: str
    purpose: str
    requirements: tuple[str, ...]
    python: str = _PYTHON
    python_wanted: tuple[str, ...] = _CURRENT
    extra: str = ""
    lock: str = ""
    is_complete: bool = True
    or_else: str = ""
    gate: str = ""

    @property
    def lock_path(self) -> Path:
        return LOCKS / self.lock

    @property
    def lock_digest(self) -> str:
        """SHA-256 of the lock's pins (its comments and blank lines left out), in hex."""
        return hashlib.sha256("\n".join(pins_of(self.lock_path)).encode()).hexdigest()


@dataclass(frozen=True)
class Located:
    """Where a toolchain is. origin is "this interpreter", "managed" or ADOPTED; versions are of its requirements."""

    interpreter: Path
    origin: str
    versions: dict[str, str]


@dataclass(frozen=True)
class Missing:
    """A toolchain that is not here: what is missing, one line each, and the command that mends it."""

    toolchain: str
    problems: tuple[str, ...]
    mend: str

    def error(self) -> ToolchainMissing:
        """The same as an error to raise."""
        return ToolchainMissing(
            f"the toolchain {self.toolchain} is not installed", mend=self.mend, problems=self.problems
        )


@dataclass(frozen=True)
class Marker:
    """What a whole environment says of itself: the lock's digest, the requirements' versions, and its size."""

    lock: str
    versions: dict[str, str]
    size_bytes: int


_TORCH = ("torch>=2.6,<2.14", "onnx>=1.19,<1.24", "onnxscript>=0.5.4,<0.8")
_ORT = " | ".join(
    f"onnxruntime{kind}>=1.22,<1.32" for kind in ("", "-gpu", "-openvino", "-directml", "-migraphx", "-rocm", "-qnn")
)
_TENSORRT = "tensorrt>=8.5,<12 | tensorrt-cu13>=10,<12 | tensorrt-cu12>=10,<12"
_ORT_GPU, _BY_ORT = "onnxruntime-gpu>=1.22,<1.32", "runs ONNX models with ONNX Runtime, by its TensorRT provider"
_BY_TORCH = "builds TensorRT plans of torch.export models, by Torch-TensorRT"
_OPENVINO = "openvino>=2025.4,<2026.5"
_TENSORFLOW = "tensorflow>=2.21,<2.22 | tensorflow-cpu>=2.21,<2.22"
_KERAS = "keras>=3.15,<3.16"

TOOLCHAINS: tuple[Toolchain, ...] = (
    Toolchain(
        name="torch",
        purpose="reads TorchScript and torch.export models, exports them to ONNX, computes their reference",
        requirements=_TORCH,
        extra="torch",
        lock="torch.txt",
        is_complete=False,
    ),
    Toolchain(
        name="onnx",
        purpose="checks, simplifies and optimises ONNX models and runs them with ONNX Runtime",
        requirements=("onnx>=1.19,<1.24", _ORT, "onnxsim>=0.6.2,<0.9", "onnxslim>=0.1.70,<0.2"),
        extra="onnx",
        lock="onnx.txt",
    ),
    Toolchain(
        name="onnxruntime-openvino",
        purpose="runs ONNX models with ONNX Runtime, by its OpenVINO provider",
        requirements=("onnxruntime-openvino>=1.22,<1.32", "onnx>=1.19,<1.24"),
        lock="onnxruntime-openvino.txt",
    ),
    Toolchain(
        name="openvino",
        purpose="converts ONNX, TensorFlow and TFLite models to OpenVINO's IR and runs it",
        requirements=(_OPENVINO,),
        extra="openvino",
        lock="openvino.txt",
    ),
    Toolchain("nncf", "puts int8 into OpenVINO's IR", (_OPENVINO, "nncf>=3,<4"), extra="nncf", lock="nncf.txt"),
    Toolchain(
        name="torch-openvino",
        purpose="converts TorchScript to OpenVINO's IR by OpenVINO's own frontend",
        requirements=(_TORCH[0], _OPENVINO),
        extra="torch,openvino",
        lock="torch-openvino.txt",
        is_complete=False,
    ),
    Toolchain(
        name="tflite",
        purpose="runs TFLite models",
        requirements=("ai-edge-litert>=2.1,<2.4",),
        extra="tflite",
        lock="tflite.txt",
        or_else="tflite-runtime",
    ),
    Toolchain(
        name="tflite-runtime",
        purpose="runs TFLite models where ai-edge-litert cannot be had: its predecessor, for small devices",
        requirements=("tflite-runtime>=2.14,<2.15", "numpy>=1.26,<2"),
        python=">=3.11,<3.12",
        python_wanted=("3.11",),
        extra="tflite-runtime",
        lock="tflite-runtime.txt",
    ),
    Toolchain(
        name="ai-edge-quantizer",
        purpose="puts float16 and int8 into TFLite models",
        requirements=("ai-edge-quantizer>=0.10,<0.11",),
        extra="quantizer",
        lock="ai-edge-quantizer.txt",
    ),
    Toolchain(
        name="tensorrt",
        purpose="builds TensorRT plans of ONNX models for this machine's NVIDIA GPU and runs them",
        requirements=(_TENSORRT, "onnx>=1.19,<1.24"),
        extra="tensorrt",
        gate="nvidia",
    ),
    Toolchain("onnxruntime-tensorrt", _BY_ORT, (_ORT_GPU, _TENSORRT, "onnx>=1.19,<1.24"), gate="nvidia"),
    Toolchain("torch-tensorrt", _BY_TORCH, ("torch-tensorrt>=2.6,<2.15", _TORCH[0], _TENSORRT), gate="nvidia"),
    Toolchain(
        name="onnx2tf",
        purpose="converts ONNX to TFLite",
        requirements=("onnx2tf==2.6.9",),
        python=">=3.12,<3.13",
        python_wanted=("3.12",),
        lock="onnx2tf.txt",
    ),
    Toolchain(
        name="tensorflow",
        purpose="reads TensorFlow and Keras models, converts them, computes their reference; reads TFLite into ONNX",
        requirements=(_TENSORFLOW, _KERAS, "tf-keras>=2.21,<2.22", "tf2onnx>=1.17,<1.18", "onnx>=1.19,<1.24"),
        extra="tensorflow",
        lock="tensorflow.txt",
    ),
    Toolchain(
        name="torch-keras",
        purpose="exports Keras models to ONNX through Keras' PyTorch backend",
        requirements=(*_TORCH, _KERAS),
        extra="torch,keras",
        lock="torch-keras.txt",
        is_complete=False,
    ),
    Toolchain(
        name="jax",
        purpose="reads exported JAX programs, converts them, computes their reference; exports Keras models to ONNX",
        requirements=(
            "jax>=0.10,<0.11",
            "jax2onnx>=0.17,<0.18",
            _TENSORFLOW,
            _KERAS,
            "tf2onnx>=1.17,<1.18",
            "onnx>=1.19,<1.24",
        ),
        extra="jax",
        lock="jax.txt",
    ),
    Toolchain(
        name="onnx2tf-tensorflow",
        purpose="converts ONNX to SavedModel",
        requirements=("onnx2tf==2.6.9", _TENSORFLOW, "tf-keras>=2.21,<2.22"),
        python=">=3.12,<3.13",
        python_wanted=("3.12",),
        lock="onnx2tf-tensorflow.txt",
    ),
    Toolchain(
        name="litert-torch",
        purpose="converts torch.export models straight to TFLite",
        requirements=(_TORCH[0], "litert-torch>=0.10,<0.11"),
        python=">=3.11,<3.12",
        python_wanted=("3.11",),
        lock="litert-torch.txt",
        is_complete=False,
    ),
)


def every() -> tuple[Toolchain, ...]:
    """dlconv's own toolchains and those of the plugins that are installed."""
    return (*TOOLCHAINS, *plugins.toolchains())


def get(name: str) -> Toolchain:
    """The toolchain of that name. Raises RequestError for an unknown one."""
    for toolchain in every():
        if toolchain.name == name:
            return toolchain
    raise RequestError(
        f"there is no toolchain {name!r}", wanted="one of " + ", ".join(toolchain.name for toolchain in TOOLCHAINS)
    )


def locate(toolchain: Toolchain) -> Located | Missing:
    """Where the toolchain is: in this interpreter, in a complete managed environment, or missing and why.

    Where it is missing and another serves in its place, where that is.
    """
    own = _locate(toolchain)
    if isinstance(own, Located) or not toolchain.or_else:
        return own
    other = _locate(get(toolchain.or_else))
    return other if isinstance(other, Located) else own


def _locate(toolchain: Toolchain) -> Located | Missing:
    named = adopted.read(home(), toolchain.name)
    if named is not None:  # that was said: no other is taken where it fails
        found = adopted.judge(named, toolchain.requirements)
        if found.problems:
            mend = f"dlconv toolchain remove {toolchain.name}   (it is used no more), or: {mend_of(toolchain)}"
            return Missing(toolchain.name, found.problems, mend)
        return Located(named, ADOPTED, found.versions)
    versions, problems = satisfied(toolchain, installed_here(toolchain.requirements))
    if not problems:
        return Located(Path(sys.executable), "this interpreter", versions)
    if not toolchain.lock:  # a plugin's: it lives where its package is
        return Missing(toolchain.name, tuple(problems), mend_of(toolchain))
    managed = locate_managed(toolchain)
    if managed is not None:
        return managed
    path = environment_path(toolchain)
    if path.exists():
        problems.append(f"its managed environment was not installed to its end: {path}")
    return Missing(toolchain.name, tuple(problems), mend_of(toolchain))


def locate_managed(toolchain: Toolchain) -> Located | None:
    """The managed environment, if it is whole and of today's lock, and its interpreter still is there."""
    path = environment_path(toolchain)
    marker = read_marker(path)
    if marker is None or marker.lock != toolchain.lock_digest or not interpreter_of(path).exists():
        return None
    return Located(interpreter_of(path), "managed", marker.versions)


def mend_of(toolchain: Toolchain) -> str:
    """The command, or the two, that makes a missing toolchain present."""
    if not toolchain.lock:
        return "pip install " + " ".join(repr(each.partition("|")[0].strip()) for each in toolchain.requirements)
    command = f"dlconv toolchain install {toolchain.name}"
    return f"{command}   (or: pip install 'dlconv[{toolchain.extra}]')" if toolchain.extra else command


def home() -> Path:
    """The folder of the managed environments: $DLCONV_HOME/toolchains, else in the user's data folder."""
    base = os.environ.get("DLCONV_HOME")
    if base:
        return Path(base).expanduser().resolve() / "toolchains"
    from platformdirs import user_data_path

    return user_data_path("dlconv") / "toolchains"


def environment_path(toolchain: Toolchain) -> Path:
    """Where the managed environment is, or would be. Another lock means another path."""
    return home() / f"{toolchain.name}-{toolchain.lock_digest[:12]}"


def interpreter_of(environment: Path) -> Path:
    """The interpreter of a virtual environment."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def read_marker(environment: Path) -> Marker | None:
    """The marker of a whole environment; None without one."""
    try:
        return Marker(**json.loads((environment / MARKER).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def pins_of(lock: Path) -> list[str]:
    """The lines of a lock that say something to pip: neither comments nor blank ones."""
    lines = (line.split(" #", 1)[0].rstrip() for line in lock.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.lstrip().startswith("#")]


def satisfied(toolchain: Toolchain, installed: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The versions that satisfy the requirements, of all that are installed (name: version), and what is missing."""
    return judged(toolchain.requirements, installed)
