"""The first project file of a model: what is known of it is set, all else that can be said stands beside it as comment.

A comment for a person begins with "# "; a key that can be used as it stands begins with "#key".
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlconv import planning
from dlconv.asked.inputs import parse_input
from dlconv.asked.options import TARGETS, ExportOptions
from dlconv.errors import DlconvError, FormatError, RequestError
from dlconv.inspection import inspect
from dlconv.opening import identify
from dlconv.samples import examples, read_npz

if TYPE_CHECKING:
    from pathlib import Path

    from dlconv.inspection import Inspection
    from dlconv.model import TensorSpec
    from dlconv.planning import Plan

_USUAL = tuple(target for target in TARGETS if target not in ("saved-model", "tensorrt"))
"""A model goes back to its framework only when asked."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")

_TEXT = """\
# What a release has to hold: `dlconv verify` exports, judges and reports all that stands here.
# A line that begins with #key shows what else can be said: take its # away. docs/project.md explains every key.

[defaults]
# What to make of each model.
targets = {targets}
{absent}# Where the bundles go, beside this file.
#output = "dlconv-out"
#precisions = ["fp32"]
# Targets that a machine may lack; where any other cannot be judged, the run fails.
#allow_skip = [{last}]
# Targets that it may not lack, whatever the command line allows.
#require = [{first}]
# What runs the target onnxruntime, what TensorRT is told, and the sizes that it is to be fastest at.
#provider = "openvino"
#trt = ["workspace=4GiB", "level=5"]
#opt = ["image:8x3x224x224"]

[models.{key}]
{about}
path = {path}
# Real inputs: an array for each input, the first axis the sample. Without, `draws` of them are drawn from `seed`.
{samples}
#draws = 8
#seed = 0
# The class of each sample, for a bar on accuracy.
{labels}
# What is measured on them: top1, top5, map, wer or MODULE:FUNCTION; max_drop below says how much worse it may be.
#metric = "top1"
# What the inputs are: a name stands for a size that is free.
#inputs = [{inputs}]
# Of ONNX; without, each route's own.
#opset = 17
# Which entry point of a SavedModel or TFLite file, and which nodes of a frozen graph are its outputs.
#signature = "serving_default"
#outputs = ["logits"]
# Code that the source holds, such as a Lambda layer's, may run.
#trust = true
# The stage that every route must pass, and the layout of the artifacts' images: nchw or nhwc.
#via = "onnx"
#keep_layout = "nchw"
# For int8: samples to find ranges on, 32 or more; without, the samples above.
#calibration = "calibration.npz"
# Where they are pictures, how these become the input.
#preprocess = "resize=256 crop=224 channels=rgb scale=1/255 layout=nchw"
# Below fp32: a file that names the nodes of the ONNX graph that stay in float32.
#keep_list = "keep.txt"

# Without bars of yours, each output has to be within the model's own noise. `factor` is how many times that.
#[models.{key}.bars]
#factor = 40.0

# Of an output by its name, or of every output: "*". max_error takes the place of the model's own bar.
#[models.{key}.bars.outputs.{output}]
#max_error = 1e-5
#min_cosine = 0.99999
#min_sqnr_db = 60.0
#max_ulp = 4096
#min_top1 = 0.999
#min_top5 = 0.999
#max_drop = 0.001

# max_ratio: candidate / baseline, measured side by side. The others are milliseconds, and hold on one machine alone.
#[models.{key}.bars.latency]
#max_ratio = 1.1
#p50_ms = 10.0
#p90_ms = 12.0
#p95_ms = 15.0
#p99_ms = 20.0

# Bars of one target, above those of all.
#[models.{key}.target_bars.{any_target}]
#factor = 80.0
"""


@dataclass(frozen=True)
class Draft:
    """A project file to write: its text, the name of its model, the targets that it asks for, and what was noticed."""

    text: str
    model: str
    targets: tuple[str, ...]
    notes: tuple[str, ...]


def draft(model: Path, folder: Path) -> Draft:
    """The project file for the model at `model`, to lie in `folder`.

    Raises RequestError where there is no model, FormatError where dlconv does not convert from it.
    """
    found = inspect(model)
    if not found.format.is_source:
        raise FormatError(f"{model} is {found.title}", wanted="a model that dlconv converts", mend=found.advice)
    plan = planning.make(found.format, ExportOptions(_USUAL, folder))
    possible = tuple(goal.target for goal in plan.targets if goal.chosen is not None)
    targets = possible or _USUAL
    *others, last = targets
    name = found.path.name.removesuffix(found.path.suffix).replace("\\", "-")  # it names bundles
    samples, labels = _beside(found.path, "samples"), _beside(found.path, "labels")
    arrays, trouble = _arrays(samples)
    text = _TEXT.format(
        targets=_list(targets),
        absent=_absent(plan, possible),
        first=_string(targets[0]),
        last=_string(last) if others else "",
        key=name if _BARE.fullmatch(name) else _string(name),
        about=f"# {_about(found)}",
        path=_string(_relative(found.path, folder)),
        samples=_setting("samples", samples, folder, is_set=samples is not None and not trouble),
        labels=_setting("labels", labels, folder, is_set=labels is not None),
        inputs=", ".join(map(_string, _inputs(found, arrays))),
        output=_string(found.signature.outputs[0].name if found.signature and found.signature.outputs else "*"),
        any_target=last,
    )
    notes = ([f"it could not be read here: {found.trouble.met}"] if found.trouble else []) + trouble
    notes += (
        [] if samples else [f"no samples lie beside it: {found.path.with_suffix('.npz').name} would be real inputs"]
    )
    return Draft(text, name, targets, tuple(notes))


def sole_model(folder: Path) -> Path:
    """The one model in the folder that dlconv converts. RequestError where there is none, or more than one."""
    found = []
    for path in sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")):
        try:
            if identify(path).format.is_source:
                found.append(path)
        except RequestError:
            continue  # damaged, or not to be read: it is no model to begin with
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(path.name for path in found)
        raise RequestError(f"there are {len(found)} models here: {names}", mend=f"dlconv init {found[0].name}")
    raise RequestError(f"there is no model in {folder.absolute()} that dlconv converts", mend="dlconv init MODEL")


def _beside(model: Path, kind: str) -> Path | None:
    """The file of samples or labels that lies beside a model, by its usual names."""
    stem = model.name.removesuffix(model.suffix)
    names = [f"{stem}-{kind}.npz", f"{stem}.{kind}.npz", f"{kind}.npz"]
    names += [f"{stem}.npz"] if kind == "samples" else []
    return next((path for name in names if (path := model.with_name(name)).is_file()), None)


def _arrays(samples: Path | None) -> tuple[dict[str, Any], list[str]]:
    if samples is None:
        return {}, []
    try:
        return examples(read_npz(samples)), []
    except DlconvError as error:
        return {}, [error.met]


def _absent(plan: Plan, possible: tuple[str, ...]) -> str:
    lines = []
    for goal in plan.targets:
        if goal.target not in possible:
            lacks = (*goal.lacks, *goal.routes[0].lacks) if goal.routes else goal.lacks
            names = ", ".join(dict.fromkeys(lack.toolchain for lack in lacks))
            mends = "; ".join(dict.fromkeys(lack.mend for lack in lacks))
            lines.append(f"# {goal.target} cannot be made on this machine, which lacks {names}: {mends}\n")
    return "".join(lines)


def _about(found: Inspection) -> str:
    told = found.format.label[:1].upper() + found.format.label[1:]
    signature = found.signature
    if signature is not None:
        sides = (", ".join(spec.name for spec in specs) for specs in (signature.inputs, signature.outputs))
        told += ": {} to {}".format(*sides)
    return " ".join("".join(char if char.isprintable() else " " for char in f"{told}.").split())


def _setting(key: str, path: Path | None, folder: Path, *, is_set: bool) -> str:
    """The line of a path: set where the file is there, else shown."""
    return f"{'' if is_set else '#'}{key} = {_string(f'{key}.npz' if path is None else _relative(path, folder))}"


def _inputs(found: Inspection, arrays: dict[str, Any]) -> list[str]:
    """What `--input` says of the inputs: by the model itself, else by its samples, else an example."""
    if found.signature is not None:
        told = [text for spec in found.signature.inputs if (text := _input(spec))]
    else:
        told = [_flag(name, ["N", *spec["shape"][1:]], spec["dtype"]) for name, spec in arrays.items()]
    return [text for text in told if _is_understood(text)] or ["x:Nx3x224x224:float32"]


def _input(spec: TensorSpec) -> str:
    if spec.shape is None:
        return ""
    return _flag(spec.name, list(spec.shape), spec.dtype)


def _flag(name: str, shape: list[Any], dtype: str) -> str:
    words = [str(size) for size in shape]
    join = "," if len(words) > 1 and any("x" in word for word in words) else "x"
    return f"{name}:{join.join(words) or 'scalar'}:{dtype}"


def _is_understood(text: str) -> bool:
    try:
        parse_input(text)
    except RequestError:
        return False
    return True


def _relative(path: Path, folder: Path) -> str:
    return os.path.relpath(path.absolute(), folder.absolute()).replace(os.sep, "/")


def _list(names: tuple[str, ...]) -> str:
    return f"[{', '.join(map(_string, names))}]"


def _string(text: str) -> str:
    """As TOML writes a string: JSON's escapes, and DEL besides. RequestError for a file's name that is no Unicode."""
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise RequestError(f"{text!r} is no Unicode: TOML cannot name it", mend="give the file another name")
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")
