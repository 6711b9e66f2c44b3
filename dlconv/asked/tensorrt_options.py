"""What can be asked of TensorRT besides, by `--trt KEY=VALUE`: typed and closed."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dlconv.asked.sizes import parse_size
from dlconv.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True)
class TensorRTOptions:
    """Options of the builder; what a version of TensorRT does not have is refused when it is used.

    workspace_bytes: the most memory that a kernel may need. level: of optimisation, 0 to 5. tf32: float32 may be
    computed in TF32. timing_cache: timings of earlier builds are used, and these kept. version_compatible: the plan
    carries a runtime for newer versions. hardware: other GPUs that it is for, "" for this one alone. refit: its weights
    can be exchanged. strip: it is saved without its weights. weight_streaming: weights stay in the host's memory where
    the GPU's is too small. external_tactics: kernels of cuBLAS and cuDNN may be chosen. cuda_graph: it is run as a CUDA
    graph. dla: a core of a DLA to run on; gpu_fallback: what that cannot do, the GPU does. plugins: libraries to load.
    """

    workspace_bytes: int | None = None
    level: int | None = None
    tf32: bool = False
    timing_cache: bool = True
    version_compatible: bool = False
    hardware: str = ""
    refit: bool = False
    strip: bool = False
    weight_streaming: bool = False
    external_tactics: bool = True
    cuda_graph: bool = False
    dla: int | None = None
    gpu_fallback: bool = False
    plugins: tuple[Path, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """What is not as it is without being asked, as JSON-able data; plugins by their files' names."""
        said = {
            spec.name: getattr(self, spec.name) for spec in fields(self) if getattr(self, spec.name) != spec.default
        }
        return said | ({"plugins": [path.name for path in self.plugins]} if self.plugins else {})


def _on(value: str) -> bool:
    words = {"on": True, "true": True, "yes": True, "off": False, "false": False, "no": False}
    if value.lower() not in words:
        raise ValueError("on or off")
    return words[value.lower()]


def _number(least: int, most: int) -> Callable[[str], int]:
    def read(value: str) -> int:
        if not value.isascii() or not value.isdigit() or not least <= int(value) <= most:
            raise ValueError(f"a number from {least} to {most}")
        return int(value)

    return read


def _size(value: str) -> int:
    try:
        return parse_size(value)
    except RequestError as error:
        raise ValueError("a size: 4G, 512MiB") from error


def _hardware(value: str) -> str:
    known = ("ampere-plus", "same-compute-capability")
    if value not in known:
        raise ValueError(" or ".join(known))
    return value


def _file(value: str) -> Path:
    if not Path(value).is_file():
        raise ValueError("a file that is there")
    return Path(value).absolute()  # workers have a directory of their own


KEYS: Final[Mapping[str, tuple[str, Callable[[str], Any]]]] = {
    "workspace": ("workspace_bytes", _size),
    "level": ("level", _number(0, 5)),
    "tf32": ("tf32", _on),
    "timing-cache": ("timing_cache", _on),
    "version-compatible": ("version_compatible", _on),
    "hardware": ("hardware", _hardware),
    "refit": ("refit", _on),
    "strip": ("strip", _on),
    "weight-streaming": ("weight_streaming", _on),
    "external-tactics": ("external_tactics", _on),
    "cuda-graph": ("cuda_graph", _on),
    "dla": ("dla", _number(0, 15)),
    "gpu-fallback": ("gpu_fallback", _on),
    "plugin": ("plugins", _file),
}
"""Each key: the field that it says, and what reads its value, or tells by a ValueError what would be one."""


def parse_options(texts: tuple[str, ...]) -> TensorRTOptions:
    """All `--trt`s together; "plugin" may be said several times. Raises RequestError with all that is wrong at once."""
    said: dict[str, Any] = {}
    problems: list[str] = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or key not in KEYS:
            near = difflib.get_close_matches(key.lower().replace("_", "-"), KEYS, n=1)
            meant = f" (did you mean {near[0]}?)" if near and equals else ""
            problems.append(f"--trt {text!r} is no KEY=VALUE that there is{meant}")
            continue
        name, read = KEYS[key]
        try:
            found = read(value)
        except ValueError as error:
            problems.append(f"--trt {text!r}: wanted {error}")
            continue
        if name in said and name != "plugins":
            problems.append(f"--trt {key} is said twice")
        said[name] = (*said.get(name, ()), found) if name == "plugins" else found
    if said.get("gpu_fallback") and "dla" not in said:
        problems.append("--trt gpu-fallback=on is said of a DLA: --trt dla=0 names its core")
    if problems:
        raise RequestError(
            "the options of TensorRT cannot be read", wanted=f"of {', '.join(KEYS)}", problems=tuple(problems)
        )
    return TensorRTOptions(**said)
