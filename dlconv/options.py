"""What the user asks for: typed and closed. A word that is not understood is an error, never dropped."""

from __future__ import annotations

import difflib
import hashlib
import json
import keyword
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dlconv import plugins, providers
from dlconv.bars import Bars
from dlconv.errors import RequestError
from dlconv.model import Dim, TensorSpec, digest_of
from dlconv.precisions import CALIBRATED, PRECISIONS, Precision
from dlconv.sizes import RangedDim
from dlconv.tensorrt_options import TensorRTOptions

Constant = int | float | bool | str | None
"""An argument of the source model that is no tensor."""

TARGETS = ("onnx", "onnxruntime", "openvino", "tflite", "saved-model", "tensorrt")
"""What can be asked for with `--to`."""

DTYPES = (
    "float32", "float64", "float16", "bfloat16",
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "bool", "string", "complex64", "complex128",
)  # fmt: skip
"""NumPy's names of dtypes, and those besides that models have."""

_GRAMMAR = (
    "NAME:SHAPE[:DTYPE], sizes or names joined by x or by commas: x:1x3x224x224, ids:1xS:int64, x:N,3,max_px; "
    "a range: x:1..32x3 or x:N=1..32,3; a scalar: t:scalar:int64; an argument that is no tensor: NAME=VALUE, sr=16000"
)
_SCALARS = ("", "scalar")


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
    bars: what has to hold besides the model's own bar. labels: an .npz of right classes by output.
    entry: which of the source's signatures, "" for the only or the usual one. outputs: names of a graph's outputs,
    where they are not found or not wanted as they are. trust: code that the source holds may run.
    via: a stage of the graph that every route must pass; edges: the very route, by the edges' names.
    layout: of the artifacts' image-like inputs, "" for the source's own.
    precision: see `precisions`. keep: nodes of the ONNX graph that stay in float32, by name. calibration: samples to
    find ranges on, as `calibration.read` takes it, "" for the samples, if they are the user's;
    allow_random_calibration: drawn ones will do. search: find what has to be kept, in at most search_s seconds.
    provider: what runs the onnxruntime target, out of `dlconv.providers.NAMES`, "" for the CPU.
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
    allow_random_calibration: bool = False
    search: bool = False
    search_s: float = 600
    opset: int | None = None
    name: str | None = None
    bars: Bars = field(default_factory=Bars)
    labels: Path | None = None
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
            **({"calibration": self.calibration} if self.calibration else {}),
            **({"provider": self.provider} if self.provider else {}),  # absent: digests of before it was known hold
            **self._of_tensorrt(),
        }
        return "sha256:" + hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

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
        if "tensorrt" not in self.targets and (self.optima or self.tensorrt != TensorRTOptions()):
            found.append("options of TensorRT are given, and tensorrt is no target")
        if not self.timeout_s > 0:
            found.append(f"timeout_s is {self.timeout_s}: it must be more than 0")
        if self.name is not None and (self.name in ("", ".", "..") or "/" in self.name or "\\" in self.name):
            found.append(f"name is {self.name!r}: it must be a plain file name")
        return found


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
        raise RequestError(met, wanted=f"of {', '.join(every_target())}, joined by commas", mend="--to onnx,openvino")
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


def parse_input(text: str) -> TensorSpec | tuple[str, Constant]:
    """What one `--input` says: a tensor (dtype "" where it leaves that open) or the value of another argument.

    Names may hold ":" themselves ("serving_default_x:0:1x28x28"): the text is read from the right.
    Raises RequestError, with the grammar.
    """
    name, equals, value = text.partition("=")
    if equals and name and ":" not in name:
        return name, _constant(value)
    head, _, last = text.rpartition(":")
    if not head:
        raise _refusal(text, "has no name" if text.startswith(":") else "has no shape")
    if last.lower() in DTYPES or last == "":
        name, colon, shape = head.rpartition(":")
        if colon:
            return TensorSpec(_named(name, text), last.lower(), _shape(shape, text))
        if last:
            raise _refusal(text, "has no shape")
    if _looks_like_dtype(last) or ("x" in (before := head.rpartition(":")[2]) and _is_sized(before)):
        raise _refusal(text, f"has an unknown dtype {last!r}: there are {', '.join(DTYPES)}")
    return TensorSpec(_named(head, text), "", _shape(last, text))


def parse_optima(texts: tuple[str, ...]) -> tuple[TensorSpec, ...]:
    """What all `--opt`s say. Raises RequestError for what is no name with sizes."""
    found: list[TensorSpec] = []
    for text in texts:
        spec = parse_input(text)
        if not isinstance(spec, TensorSpec) or spec.dtype or spec.is_dynamic:
            raise RequestError(f"--opt {text!r} is no shape", wanted="NAME:SHAPE in sizes", mend="--opt x:8x3x224x224")
        found.append(spec)
    return tuple(found)


def ranges_of(inputs: tuple[TensorSpec, ...]) -> dict[str, tuple[int, int]]:
    """The least and the most of the free sizes that were given a range, by name."""
    dims = [dim for spec in inputs for dim in spec.shape or () if isinstance(dim, RangedDim)]
    return {str(dim): (dim.least, dim.most) for dim in dims}


def parse_inputs(texts: tuple[str, ...]) -> tuple[tuple[TensorSpec, ...], tuple[tuple[str, Constant], ...]]:
    """All `--input`s, as tensors and constants. Raises RequestError for the first that is wrong."""
    parsed = [parse_input(text) for text in texts]
    tensors = tuple(spec for spec in parsed if isinstance(spec, TensorSpec))
    return tensors, tuple(pair for pair in parsed if not isinstance(pair, TensorSpec))


def _named(name: str, text: str) -> str:
    if not name:
        raise _refusal(text, "has no name")
    return name


def _shape(shape: str, text: str) -> tuple[Dim, ...]:
    if shape.lower() in _SCALARS:
        return ()
    return tuple(_dim(word.strip(), text) for word in shape.split("," if "," in shape else "x"))


def _is_sized(text: str) -> bool:
    words = text.split("x")
    return any(word.isdigit() for word in words) and all(word.isidentifier() or word.isdigit() for word in words)


def _looks_like_dtype(word: str) -> bool:
    return "x" not in word and bool(difflib.get_close_matches(word.lower(), DTYPES, n=1, cutoff=0.75))


def _dim(word: str, text: str) -> Dim:
    try:
        ranged = RangedDim.of(word)
    except ValueError as error:
        raise _refusal(text, f"has a size that cannot be: {error}") from error
    if ranged is not None:
        return ranged
    if word.isascii() and word.isdigit():
        return int(word)
    if word.isascii() and word.isidentifier() and not keyword.iskeyword(word):
        return word
    what = f"has {word!r}, which is no size and no name" if word else "has an empty size"
    raise _refusal(text, f"{what} (x joins sizes: where a name holds an x, join them by commas)")


def _constant(value: str) -> Constant:
    words: dict[str, Constant] = {"true": True, "false": False, "none": None}
    if value.lower() in words:
        return words[value.lower()]
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def _refusal(text: str, trouble: str) -> RequestError:
    return RequestError(f"--input {text!r} {trouble}", wanted=_GRAMMAR, mend=f"write it as --input '{_example(text)}'")


def _example(text: str) -> str:
    return f"{text.partition(':')[0].partition('=')[0] or 'x'}:1x3x224x224"
