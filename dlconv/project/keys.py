"""The keys of a project file: what each may hold, and what is said of one that holds something else."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from dlconv.asked.bars import Bars, LatencyBars, OutputBars
from dlconv.asked.inputs import parse_inputs, parse_optima
from dlconv.asked.metric import parse as parse_metric
from dlconv.asked.options import TARGETS
from dlconv.asked.precisions import PRECISIONS
from dlconv.asked.preprocess import parse
from dlconv.asked.providers import NAMES
from dlconv.asked.tensorrt_options import parse_options
from dlconv.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

ROOT_KEYS: Final = ("defaults", "models")
_BARS = tuple(spec.name for spec in fields(Bars))
_OUTPUT_BARS = tuple(spec.name for spec in fields(OutputBars))
_LATENCY_BARS = tuple(spec.name for spec in fields(LatencyBars))
_WORD = re.compile(r""""[^"]*"|'[^']*'|[^.\s]+""")
_HEAD = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?$")
_KEY = re.compile(r"""\s*((?:"[^"]*"|'[^']*'|[\w.\s-])+?)\s*=""")


@dataclass(frozen=True)
class Problem:
    """Something wrong: the table that it stands in, the key ("" for the table itself), and what it is."""

    table: tuple[str, ...]
    key: str
    text: str


def read_table(
    data: Mapping[str, Any], table: tuple[str, ...], root: Path, *, without: Sequence[str] = ()
) -> tuple[dict[str, Any], list[Problem]]:
    """The values of `[defaults]` or of one model, read, and all that is wrong with them. Bars stay as they are written.

    root: the folder that paths start from. without: keys that have no place in this table.
    """
    names = [name for name in KEYS if name not in without]
    problems = list(strangers(data, names, table))
    values: dict[str, Any] = {}
    for name in names:
        if name not in data:
            continue
        if name in ("bars", "target_bars"):
            values[name] = data[name]
            problems += _bars_problems(data[name], (*table, name), by_target=name == "target_bars")
            continue
        try:
            values[name] = KEYS[name](data[name], root)
        except ValueError as error:
            problems.append(Problem(table, name, str(error)))
        except RequestError as error:
            problems += [Problem(table, name, text) for text in (error.met, *error.problems)]
    return values, problems


def strangers(data: Mapping[str, Any], names: Iterable[str], table: tuple[str, ...]) -> Iterator[Problem]:
    """A problem for each key that is none of `names`, with the nearest that is."""
    known = tuple(names)
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(key.lower().replace("-", "_"), known, n=1)
            meant = f" (did you mean {near[0]!r}?)" if near else ""
            yield Problem(table, key, f"unknown key {key!r}{meant}: there are {', '.join(known)}")


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both tables as one: tables in them are joined, and of all else what is above holds."""
    both = {**below, **above}
    for key in below.keys() & above.keys():
        if isinstance(below[key], Mapping) and isinstance(above[key], Mapping):
            both[key] = merged(below[key], above[key])
    return both


def line_of(text: str, path: tuple[str, ...]) -> int | None:
    """The number of the line that sets the key, or that begins the table, at `path`; None where none is found."""
    table: tuple[str, ...] = ()
    nearest: tuple[int, int] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if head := _HEAD.match(line):
            table = found = _words(head[1])
        elif key := _KEY.match(line):
            found = (*table, *_words(key[1]))
        else:
            continue
        if found[: len(path)] == path:  # the table of a key, and of a table in it, begins here
            return number
        # An inline table is set on the line of a key above it.
        if found == path[: len(found)] and (nearest is None or len(found) > nearest[0]):
            nearest = (len(found), number)
    return None if nearest is None else nearest[1]


def _words(dotted: str) -> tuple[str, ...]:
    return tuple(word.strip("\"'") for word in _WORD.findall(dotted))


def _bars_problems(data: Any, table: tuple[str, ...], *, by_target: bool = False) -> list[Problem]:
    """All that is wrong in a table of bars, or in the tables of the targets."""
    if not isinstance(data, Mapping):
        return [Problem(table[:-1], table[-1], f"{table[-1]} is {_shown(data)}, wanted a table")]
    if by_target:
        found = list(strangers(data, TARGETS, table))
        for target in data.keys() & set(TARGETS):
            found += _bars_problems(data[target], (*table, target))
        return found
    found = list(strangers(data, _BARS, table))
    tables = [((*table, "latency"), data.get("latency", {}), _LATENCY_BARS)]
    outputs = data.get("outputs", {})
    if isinstance(outputs, Mapping):
        tables += [((*table, "outputs", name), bars, _OUTPUT_BARS) for name, bars in outputs.items()]
    else:
        found.append(Problem(table, "outputs", f"outputs is {_shown(outputs)}, wanted a table for each output"))
    for where, bars, names in tables:
        if isinstance(bars, Mapping):
            found += strangers(bars, names, where)
        else:
            found.append(Problem(where[:-1], where[-1], f"{where[-1]} is {_shown(bars)}, wanted a table"))
    known = {
        "factor": data.get("factor"),
        "outputs": {where[-1]: _only(bars, names) for where, bars, names in tables[1:]},
        "latency": _only(tables[0][1], _LATENCY_BARS),
    }
    try:
        Bars.from_dict(known)
    except RequestError as error:
        found += [Problem(table, "", f"{text}, wanted a number, {error.wanted}") for text in error.problems]
    return found


def _only(bars: Any, names: Sequence[str]) -> dict[str, Any]:
    return {key: bars[key] for key in names if key in bars} if isinstance(bars, Mapping) else {}


def _path(value: Any, root: Path) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"{_shown(value)} is no path, wanted one relative to the file")
    return root / value


def _strings(value: Any, what: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{_shown(value)} is no list of {what} in quotes")
    return tuple(value)


def _among(known: Sequence[str], what: str, *, least: int) -> Callable[[Any, Path], tuple[str, ...]]:
    def read(value: Any, root: Path) -> tuple[str, ...]:
        names = _strings(value, what)
        unknown = [name for name in names if name not in known]
        if unknown:
            near = difflib.get_close_matches(unknown[0].lower(), known, n=1)
            meant = f" (did you mean {near[0]!r}?)" if near else ""
            raise ValueError(f"unknown {what}: {', '.join(map(repr, unknown))}{meant}; there are {', '.join(known)}")
        if len(set(names)) < len(names):
            raise ValueError(f"{_shown(value)} names one twice")
        if len(names) < least:
            raise ValueError(f"it is empty, wanted some of {', '.join(known)}")
        return names

    return read


def _whole(least: int) -> Callable[[Any, Path], int]:
    def read(value: Any, root: Path) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"{_shown(value)} is no whole number of {least} or more")
        return value

    return read


def _word(value: Any, root: Path) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{_shown(value)} is no text")
    return value


def _names(value: Any, root: Path) -> tuple[str, ...]:
    return _strings(value, "names")


def _truth(value: Any, root: Path) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{_shown(value)} is neither true nor false")
    return value


def _layout(value: Any, root: Path) -> str:
    if value not in ("nchw", "nhwc"):
        raise ValueError(f"{_shown(value)} is no layout: there are nchw and nhwc")
    return str(value)


def _calibration(value: Any, root: Path) -> str:
    text = _word(value, root)
    return text if ":" in text and not (root / text).exists() else str(_path(text, root))


def _preprocess(value: Any, root: Path) -> str:
    return str(parse(_word(value, root)))


def _inputs(value: Any, root: Path) -> Any:
    return parse_inputs(_strings(value, "inputs as --input takes them"))


def _trt(value: Any, root: Path) -> Any:
    words = [text.partition("=") for text in _strings(value, "options as --trt takes them")]
    return parse_options(
        tuple(f"{key}{equals}{root / said if key == 'plugin' and said else said}" for key, equals, said in words)
    )


def _opt(value: Any, root: Path) -> Any:
    return parse_optima(_strings(value, "shapes as --opt takes them"))


def _provider(value: Any, root: Path) -> str:
    (name,) = _among(NAMES, "providers", least=1)([value] if isinstance(value, str) else value, root)
    return name


def _metric(value: Any, root: Path) -> str:
    text = _word(value, root)
    parse_metric(text)
    return text


def _shown(value: Any) -> str:
    return repr(value) if len(repr(value)) < 60 else f"{repr(value)[:56]}..."


KEYS: Final[Mapping[str, Callable[[Any, Path], Any]]] = {
    "path": _path,
    "samples": _path,
    "labels": _path,
    "metric": _metric,
    "output": _path,
    "targets": _among(TARGETS, "targets", least=1),
    "precisions": _among(PRECISIONS, "precisions", least=1),
    "inputs": _inputs,
    "draws": _whole(1),
    "seed": _whole(0),
    "opset": _whole(7),
    "signature": _word,
    "outputs": _names,
    "trust": _truth,
    "via": _word,
    "keep_layout": _layout,
    "calibration": _calibration,
    "preprocess": _preprocess,
    "keep_list": _path,
    "provider": _provider,
    "trt": _trt,
    "opt": _opt,
    "bars": _path,
    "target_bars": _path,
    "allow_skip": _among(TARGETS, "targets", least=0),
    "require": _among(TARGETS, "targets", least=0),
}
"""Each key of a model's table, in the order that they are told in, and what reads its value relative to a folder."""
