"""The project file: which models a release has, for which targets, and what each has to hold.

`dlconv.toml`, or `[tool.dlconv]` in `pyproject.toml`. It is typed and closed: a key that is not understood is an error,
for a misspelt bar would judge nothing. All that is wrong is told at once, with the line and what there is instead.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from dlconv.asked.bars import Bars
from dlconv.asked.keeplist import read_keep_list
from dlconv.asked.options import TARGETS, ExportOptions
from dlconv.asked.precisions import CALIBRATED, Precision
from dlconv.asked.tensorrt_options import TensorRTOptions
from dlconv.errors import RequestError
from dlconv.project.keys import ROOT_KEYS, Problem, line_of, merged, read_table, strangers

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from dlconv.asked.inputs import Constant
    from dlconv.model import TensorSpec

NAME = "dlconv.toml"
OUTPUT = "dlconv-out"
"""The folder of the bundles, beside the project file, where it names no other."""
_IN_PYPROJECT = ("tool", "dlconv")
_NEXT = "dlconv init MODEL writes one"
_OF_A_TARGET = {"provider": "onnxruntime", "trt": "tensorrt", "opt": "tensorrt"}


@dataclass(frozen=True)
class ProjectModel:
    """A model of the project, and what is asked of it. Paths are absolute.

    path: the source model. samples: an .npz of inputs, labels: what is right of them; None where there are none.
    inputs, constants: as `--input` says them. bars hold for every target; target_bars lie above them, by target.
    output: the folder of the bundles. allow_skip: targets that a machine may lack; require: targets that it may not,
    whatever else allows it. draws, seed: of random samples. opset: of ONNX, None for each route's own. signature,
    outputs, metric, trust, via, keep_layout, calibration, preprocess, keep_list, provider, trt and opt: as the options
    of `dlconv export` of these names.
    """

    name: str
    path: Path
    targets: tuple[str, ...]
    output: Path
    precisions: tuple[Precision, ...] = ("fp32",)
    samples: Path | None = None
    labels: Path | None = None
    metric: str = ""
    inputs: tuple[TensorSpec, ...] = ()
    constants: tuple[tuple[str, Constant], ...] = ()
    bars: Bars = field(default_factory=Bars)
    target_bars: Mapping[str, Bars] = field(default_factory=dict)
    draws: int = 8
    seed: int = 0
    opset: int | None = None
    signature: str = ""
    outputs: tuple[str, ...] = ()
    trust: bool = False
    via: str = ""
    keep_layout: Literal["", "nchw", "nhwc"] = ""
    calibration: str = ""
    preprocess: str = ""
    keep_list: Path | None = None
    provider: str = ""
    trt: TensorRTOptions = field(default_factory=TensorRTOptions)
    opt: tuple[TensorSpec, ...] = ()
    allow_skip: frozenset[str] = frozenset()
    require: frozenset[str] = frozenset()

    def bars_of(self, target: str) -> Bars:
        """The bars of a target: its own figures, and those of every target where it has none."""
        return self.target_bars.get(target, self.bars)

    def bundle(self, target: str, precision: Precision = "fp32") -> Path:
        """Where the bundle for a target lies, once it is exported."""
        by = f"-{self.provider}" if target == "onnxruntime" and self.provider not in ("", "cpu") else ""
        return self.output / f"{self.name}-{target}{by}-{precision}"

    def options(
        self, targets: tuple[str, ...] | None = None, precision: Precision = "fp32"
    ) -> tuple[ExportOptions, ...]:
        """What `dlconv export` is asked for, to make the bundles of all targets or of some: a request for each set of
        targets that have the same bars."""
        groups: list[tuple[Bars, list[str]]] = []
        for target in self.targets if targets is None else targets:
            alike = [names for bars, names in groups if bars == self.bars_of(target)]
            if alike:
                alike[0].append(target)
            else:
                groups.append((self.bars_of(target), [target]))
        return tuple(
            ExportOptions(
                targets=tuple(names),
                output_dir=self.output,
                inputs=self.inputs,
                constants=self.constants,
                samples=self.samples,
                draws=self.draws,
                seed=self.seed,
                precision=precision,
                opset=self.opset,
                name=self.name,
                bars=bars,
                entry=self.signature,
                outputs=self.outputs,
                trust=self.trust,
                via=self.via,
                layout=self.keep_layout,
                calibration=self.calibration if precision in CALIBRATED else "",
                preprocess=self.preprocess if precision in CALIBRATED else "",
                keep=read_keep_list(self.keep_list) if self.keep_list and precision != "fp32" else (),
                provider=self.provider if "onnxruntime" in names else "",
                tensorrt=self.trt if "tensorrt" in names else TensorRTOptions(),
                optima=self.opt if "tensorrt" in names else (),
            )
            for bars, names in groups
        )


@dataclass(frozen=True)
class Project:
    """What a project file says. root: its folder, from which its paths start. file: the file itself."""

    root: Path
    file: Path
    models: tuple[ProjectModel, ...]

    def allowed(self, besides: Iterable[str] = ()) -> frozenset[str]:
        """The targets that a machine may lack: those that every model with such a target allows, and those of the
        command line; never one that a model requires."""
        asked = frozenset(besides)
        required = {target for model in self.models for target in model.require}
        targets = {target for model in self.models for target in model.targets} - required
        return frozenset(
            target
            for target in targets
            if target in asked or all(target in model.allow_skip for model in self.models if target in model.targets)
        )


def find(start: Path) -> Path:
    """The project file of a folder: the nearest, in it or above it.

    Raises RequestError where there is none, and where one folder has two.
    """
    folder = start.absolute()
    for place in (folder, *folder.parents):
        own, pyproject = place / NAME, place / "pyproject.toml"
        in_pyproject = pyproject.is_file() and _section(_parsed(pyproject)[0]) is not None
        if own.is_file() and in_pyproject:
            raise RequestError(
                f"{place} has both {NAME} and [tool.dlconv] in pyproject.toml", wanted="one", mend="remove one of them"
            )
        if own.is_file() or in_pyproject:
            return own if own.is_file() else pyproject
    raise RequestError(f"there is no {NAME} in {folder} or above it", wanted=f"{NAME}, or [tool.dlconv]", mend=_NEXT)


def read(path: Path) -> Project:
    """What the project file says. Raises RequestError with everything that is wrong in it."""
    data, text = _parsed(path)
    section = data
    if path.name == "pyproject.toml":
        found = _section(data)
        if found is None:
            raise RequestError(f"{path} has no table [tool.dlconv]", wanted=f"it, or a {NAME}", mend=_NEXT)
        section = found
    root = path.absolute().parent
    models, problems = _models(section, root)
    if problems:
        prefix = _IN_PYPROJECT if section is not data else ()
        raise RequestError(
            f"{path} cannot be understood",
            wanted="what docs/project.md says, as `dlconv init` writes it",
            problems=tuple(dict.fromkeys(_told(problem, path, text, prefix) for problem in problems)),
        )
    return Project(root, path.absolute(), models)


def _parsed(path: Path) -> tuple[dict[str, Any], str]:
    try:
        text = path.read_text(encoding="utf-8")
        return tomllib.loads(text), text
    except FileNotFoundError as error:
        raise RequestError(f"there is no project file {path}", mend=_NEXT) from error
    except tomllib.TOMLDecodeError as error:
        raise RequestError(f"{path} is not TOML: {error}", wanted="TOML 1.0") from error
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"the project file {path} cannot be read: {error}") from error


def _section(data: dict[str, Any]) -> dict[str, Any] | None:
    found: Any = data
    for name in _IN_PYPROJECT:
        found = found.get(name) if isinstance(found, dict) else None
    return found or None


def _told(problem: Problem, path: Path, text: str, prefix: tuple[str, ...]) -> str:
    table = (*prefix, *problem.table)
    line = line_of(text, (*table, problem.key) if problem.key else table)
    where = f"{path.name}:{line}" if line else path.name
    head = ".".join(word if word.replace("-", "_").isidentifier() else f'"{word}"' for word in table)
    told = f"{problem.key}: {problem.text}" if problem.key and "unknown key" not in problem.text else problem.text
    return f"{where}: [{head}] {told}" if head else f"{where}: {told}"


def _models(data: Mapping[str, Any], root: Path) -> tuple[tuple[ProjectModel, ...], list[Problem]]:
    problems = list(strangers(data, ROOT_KEYS, ()))
    tables: dict[str, Any] = {key: data.get(key, {}) for key in ROOT_KEYS}
    for key in [key for key, table in tables.items() if not isinstance(table, dict)]:
        problems.append(Problem((), key, f"{key} is {tables[key]!r}, wanted a table"))
        tables[key] = {}
    defaults, wrong = read_table(tables["defaults"], ("defaults",), root, without=("path",))
    problems += wrong
    if not tables["models"] and not problems:
        problems.append(Problem((), "models", "there is no model: wanted a table [models.NAME] for each"))
    models: list[ProjectModel] = []
    for name, table in tables["models"].items():
        at = ("models", name)
        if not isinstance(table, dict):
            problems.append(Problem(("models",), name, f"the model {name!r} is {table!r}, wanted a table"))
            continue
        own, wrong = read_table(table, at, root)
        wrong += _missing({**defaults, **own}, {**tables["defaults"], **table}, at)
        wrong += _not_asked(own, own.get("targets", defaults.get("targets", ())), at)
        if name in ("", ".", "..") or "/" in name or "\\" in name:
            wrong.append(Problem(("models",), name, f"{name!r} names bundles: it must be a plain file name"))
        problems += wrong
        if not problems:
            models.append(_model(name, merged(defaults, own), root))
    return tuple(models), problems


def _missing(values: Mapping[str, Any], written: Mapping[str, Any], at: tuple[str, ...]) -> list[Problem]:
    found = [
        Problem(at, "", f"{name!r} is missing: wanted {what}")
        for name, what in (("path", "the model's file"), ("targets", "what to make of it"))
        if name not in written
    ]
    both = set(values.get("allow_skip", ())) & set(values.get("require", ()))
    if both:
        found.append(Problem(at, "require", f"{', '.join(sorted(both))} is in allow_skip too"))
    return found


def _not_asked(own: Mapping[str, Any], targets: tuple[str, ...], at: tuple[str, ...]) -> list[Problem]:
    """What the model's own table says of targets that are none of its."""
    return [
        Problem(at, key, f"{target!r} is not among the model's targets ({', '.join(targets)})")
        for key in ("target_bars", "allow_skip", "require")
        for target in own.get(key, ())
        if targets and target in TARGETS and target not in targets
    ] + [
        Problem(at, key, f"it is of {target}, which is not among the model's targets ({', '.join(targets)})")
        for key, target in _OF_A_TARGET.items()
        if key in own and targets and target not in targets
    ]


def _model(name: str, values: dict[str, Any], root: Path) -> ProjectModel:
    inputs, constants = values.pop("inputs", ((), ()))
    bars, by_target = values.pop("bars", {}), values.pop("target_bars", {})
    return ProjectModel(
        name=name,
        inputs=inputs,
        constants=constants,
        bars=Bars.from_dict(bars),
        target_bars={target: Bars.from_dict(merged(bars, own)) for target, own in by_target.items()},
        allow_skip=frozenset(values.pop("allow_skip", ())),
        require=frozenset(values.pop("require", ())),
        output=values.pop("output", root / OUTPUT),
        **values,
    )
