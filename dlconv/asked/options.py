"""What the user asks for: typed and closed. A word that is not understood is an error, never dropped."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from dlconv import plugins
from dlconv.asked import metric, preprocess, providers
from dlconv.asked.bars import EVERY, Bars
from dlconv.asked.boundary import Boundary
from dlconv.asked.inputs import Constant, ranges_of
from dlconv.asked.precisions import CALIBRATED, PRECISIONS, Precision
from dlconv.asked.tensorrt_options import TensorRTOptions
from dlconv.errors import RequestError
from dlconv.model import TensorSpec, digest_of

TARGETS = ("onnx", "onnxruntime", "openvino", "tflite", "saved-model", "tensorrt")
"""What can be asked for with `--to`."""


@dataclass(frozen=True)
class SourceOptions:
    """What is said of a source model and its samples: the fields of ExportOptions that bear its answers."""

    inputs: tuple[TensorSpec, ...] = ()
    constants: tuple[tuple[str, Constant], ...] = ()
    samples: Path | None = None
    draws: int = 8
    seed: int = 0
    use_cache: bool = True
    entry: str = ""
    outputs: tuple[str, ...] = ()
    trust: bool = False


@dataclass(frozen=True)
class ExportOptions:
    """What `dlconv export` was asked for.

    targets: names out of TARGETS, or of plugins' targets. inputs: what the user says of the model's inputs, dtype ""
    where the model's own holds. constants: values of arguments that are no tensors. samples: an .npz of inputs or a
    directory of them (`samples.read_samples`), first axis of each the sample. draws: number of random samples where
    none are given. memory_limit_bytes: of each worker, None for a share of the machine's. timeout_s: of each step, in
    seconds. jobs: workers side by side, None for as many as fit. opset: of ONNX, None for the route's own. name: of the
    bundles, None for the file's.
    bars: what has to hold besides the model's own bar. labels: what is right of the samples: an .npz of classes by
    output, or what the metric asks. metric: of the task, as `metric.parse` reads it; bars say what drop is allowed.
    entry: which of the source's signatures, "" for the only or the usual one. outputs: names of a graph's outputs,
    where they are not found or not wanted as they are. trust: code that the source holds may run.
    via: a stage of the graph that every route must pass; edges: the very route, by the edges' names.
    layout: of the artifacts' image-like inputs, "" for the source's own.
    precision: see `precisions`. keep: nodes of the ONNX graph that stay in float32, by name. calibration: samples to
    find ranges on, as `calibration.read` takes it, "" for the samples, if they are the user's; preprocess: of
    pictures, as `preprocess.parse` reads it; allow_random_calibration: drawn ones will do. boundary: dtypes of inputs
    and outputs. search: find what has to be kept, in at most search_s seconds.
    provider: what runs the onnxruntime target, out of `dlconv.asked.providers.NAMES`, "" for the CPU.
    require: of the targets and the provider, those that may not be left out where their hardware is not here.
    tensorrt: what is asked of TensorRT besides. optima: shapes of inputs that it shall be fastest at; several of one
    input are several profiles.
    command: the command line that asked for it, for the receipt; "" where it was a program.
    """

    targets: tuple[str, ...]
    output_dir: Path
    inputs: tuple[TensorSpec, ...] = ()
    constants: tuple[tuple[str, Constant], ...] = ()
    samples: Path | None = None
    draws: int = 8
    seed: int = 0
    use_cache: bool = True
    install: bool = False
    memory_limit_bytes: int | None = None
    timeout_s: float = 1800
    jobs: int | None = None
    precision: Precision = "fp32"
    keep: tuple[str, ...] = ()
    calibration: str = ""
    preprocess: str = ""
    allow_random_calibration: bool = False
    boundary: Boundary = field(default_factory=Boundary)
    search: bool = False
    search_s: float = 600
    opset: int | None = None
    name: str | None = None
    bars: Bars = field(default_factory=Bars)
    labels: Path | None = None
    metric: str = ""
    entry: str = ""
    outputs: tuple[str, ...] = ()
    trust: bool = False
    via: str = ""
    edges: tuple[str, ...] = ()
    layout: Literal["", "nchw", "nhwc"] = ""
    provider: str = ""
    require: frozenset[str] = frozenset()
    tensorrt: TensorRTOptions = field(default_factory=TensorRTOptions)
    optima: tuple[TensorSpec, ...] = ()
    command: str = ""

    @property
    def of_source(self) -> SourceOptions:
        return SourceOptions(
            self.inputs,
            self.constants,
            self.samples,
            self.draws,
            self.seed,
            self.use_cache,
            self.entry,
            self.outputs,
            self.trust,
        )

    def request_digest(self) -> str:
        """Digest of all that the artifacts and the reference's answers depend on besides the source: two exports of a
        model with one digest make the same. Raises RequestError where the samples are not there."""
        if self.samples is not None and not self.samples.exists():
            raise RequestError(f"there is no samples file {self.samples}")
        asked = {
            "inputs": [spec.to_dict() for spec in self.inputs],
            "constants": [list(pair) for pair in self.constants],
            "samples": None if self.samples is None else digest_of(self.samples),
            "draws": self.draws,
            "seed": self.seed,
            "opset": self.opset,
            "precision": self.precision,
            "entry": self.entry,
            "outputs": list(self.outputs),
            "via": self.via,
            "edges": list(self.edges),
            "layout": self.layout,
            **({"keep": sorted(self.keep)} if self.keep else {}),
            **({"search": self.bars.to_dict()} if self.search else {}),
            **({"metric": self.task_digest()} if self.search and self.metric else {}),
            **({"calibration": _content_of(self.calibration)} if self.calibration else {}),
            **({"boundary": self.boundary.to_dict()} if self.boundary.dtypes else {}),
            **({"preprocess": str(preprocess.parse(self.preprocess))} if self.preprocess else {}),
            **({"provider": self.provider} if self.provider else {}),  # absent: digests of before it was known hold
            **self._of_tensorrt(),
        }
        return "sha256:" + hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

    def task_digest(self) -> list[str]:
        """What a search by a task metric depends on besides: the metric's words, and the labels."""
        return [self.metric, "" if self.labels is None else digest_of(self.labels)]

    def _of_tensorrt(self) -> dict[str, Any]:
        """What is in the digest only where it was said: other targets have no such words."""
        told = {
            "ranges": ranges_of(self.inputs),
            "tensorrt": self.tensorrt.to_dict(),
            "plugins": [digest_of(path) for path in self.tensorrt.plugins],
            "optima": [spec.to_dict() for spec in self.optima],
        }
        return {name: value for name, value in told.items() if value}

    def __post_init__(self) -> None:
        """Raises RequestError, with all that is wrong at once."""
        problems = tuple(self._problems())
        if problems:
            raise RequestError("the options cannot be served", problems=problems, mend="see dlconv export --help")

    def _problems(self) -> list[str]:
        found = [
            f"unknown target {name!r}: there are {', '.join(every_target())}"
            for name in self.targets
            if not is_target(name)
        ]
        if not self.targets:
            found.append(f"no target: choose of {', '.join(TARGETS)}")
        if self.provider and self.provider not in providers.NAMES:
            found.append(f"unknown provider {self.provider!r}: there are {', '.join(providers.NAMES)}")
        elif self.provider and "onnxruntime" not in self.targets:
            found.append(f"a provider ({self.provider}) runs the target onnxruntime, which is not among the targets")
        found += [
            f"{name} is required and not asked for: it is neither a target nor the provider"
            for name in sorted(self.require - {*self.targets, self.provider})
        ]
        names = [spec.name for spec in self.inputs] + [name for name, _ in self.constants]
        found += [
            f"{name!r} is given {names.count(name)} times" for name in dict.fromkeys(names) if names.count(name) > 1
        ]
        found += [
            f"{what} is {value}: it must be {least} or more"
            for what, value, least in (
                ("draws", self.draws, 1),
                ("seed", self.seed, 0),
                ("jobs", self.jobs, 1),
                ("opset", self.opset, 7),
                ("memory_limit_bytes", self.memory_limit_bytes, 1),
            )
            if value is not None and value < least
        ]
        if self.precision not in PRECISIONS:
            found.append(f"unknown precision {self.precision!r}: there are {', '.join(PRECISIONS)}")
        if self.search and self.keep:
            found.append("a keep-list is given: there is nothing to search for")
        if self.precision == "fp32" and (self.keep or self.search):
            found.append("a keep-list says what stays in float32 beside a lower precision, and none is asked for")
        if self.precision not in CALIBRATED and (self.calibration or self.allow_random_calibration):
            found.append(f"calibration is for int8: {self.precision} needs none")
        if self.preprocess:
            found += [] if self.calibration else ["a preprocessing is of --calibration's pictures, and none are given"]
            found += preprocess.problems_of(self.preprocess)
        found += self.boundary.problems(self.precision)
        found += metric_problems(self.metric, self.labels, self.bars)
        if "tensorrt" not in self.targets and (self.optima or self.tensorrt != TensorRTOptions()):
            found.append("options of TensorRT are given, and tensorrt is no target")
        if not self.timeout_s > 0:
            found.append(f"timeout_s is {self.timeout_s}: it must be more than 0")
        if self.name is not None and (self.name in ("", ".", "..") or "/" in self.name or "\\" in self.name):
            found.append(f"name is {self.name!r}: it must be a plain file name")
        return found


def metric_problems(text: str, labels: Path | None, bars: Bars) -> list[str]:
    """What a metric lacks to be judged by, a line each."""
    if not text:
        return []
    try:
        metric.parse(text)
    except RequestError as error:
        return [error.met, *error.problems]
    found = [] if labels is not None else ["a metric needs labels of the samples: --labels FILE"]
    if bars.of(EVERY).max_drop is None:
        found.append("a metric needs a bar: how much worse it may become: --max-drop 0.5%")
    return found


def _content_of(calibration: str) -> str:
    """The digest of what lies at the path; a MODULE:FUNCTION as it is named: nothing is run to know it."""
    path = Path(calibration)
    return digest_of(path) if path.exists() else calibration


def every_target() -> tuple[str, ...]:
    """dlconv's own targets and those of the plugins that are installed."""
    return (*TARGETS, *plugins.runtimes())


def is_target(name: str) -> bool:
    """Whether it can be asked for with `--to`. Plugins are looked for only where it is none of dlconv's own."""
    return name in TARGETS or name in plugins.runtimes()


def parse_targets(text: str) -> tuple[str, ...]:
    """The targets in a list joined by commas, each once. Raises RequestError for an unknown one."""
    names = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    unknown = [name for name in names if not is_target(name)]
    if unknown or not names:
        met = f"unknown target {', '.join(map(repr, unknown))}" if unknown else "no target is named"
        near = [*(name if is_target(name) else "".join(get_close_matches(name, every_target(), n=1)) for name in names)]
        mend = f"--to {','.join(dict.fromkeys(near))}" if near and all(near) else "--to onnx,openvino"
        raise RequestError(met, wanted=f"of {', '.join(every_target())}, joined by commas", mend=mend)
    return names


def parse_required(text: str) -> frozenset[str]:
    """The targets and providers in a list joined by commas. Raises RequestError for what is neither."""
    names = frozenset(word.strip() for word in text.split(",") if word.strip())
    unknown = sorted(name for name in names if not is_target(name) and name not in providers.NAMES)
    if unknown:
        raise RequestError(
            f"{', '.join(map(repr, unknown))} is no target and no provider",
            wanted=f"of {', '.join((*every_target(), *providers.NAMES))}, joined by commas",
            mend="--require tensorrt",
        )
    return names
