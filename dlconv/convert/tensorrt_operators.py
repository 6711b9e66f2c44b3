"""Which of a model's operators TensorRT does not take, by a table of its releases: for a machine without TensorRT.

The table (tensorrt_operators.json) says where it is from. The parser of the TensorRT that builds has the last word.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dlconv.files import protobuf

if TYPE_CHECKING:
    from collections.abc import Iterable

_TABLE: Final = Path(__file__).with_name("tensorrt_operators.json")
_SHOWN: Final = 12


@dataclass(frozen=True)
class Release:
    """What the parser of a release takes of ONNX's own operators. version: "10.15". opset: the newest. lacks: operators
    that it knows and does not take. without_bf16: those it takes, and not in bfloat16."""

    version: str
    opset: int
    has: frozenset[str]
    lacks: frozenset[str]
    without_bf16: frozenset[str]


@cache
def releases() -> tuple[Release, ...]:
    """Those that the table tells of, the oldest first."""
    return tuple(
        Release(entry["version"], entry["opset"], *(_words(entry[name]) for name in ("has", "lacks", "without_bf16")))
        for entry in _table()["releases"]
    )


@cache
def defined_by_others() -> frozenset[str]:
    """Operators that ONNX defines by others, at some opset: the step to TensorRT writes out those that it lacks."""
    return _words(_table()["defined_by_others"])


@cache
def _table() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_TABLE.read_text(encoding="utf-8"))
    return found


def _words(lines: list[str]) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


def release_for(version: str) -> Release:
    """The newest that is not newer than a version of TensorRT; the oldest where all are, the newest for ""."""
    if not version:
        return releases()[-1]
    known = [each for each in releases() if _order(each.version) <= _order(version)]
    return known[-1] if known else releases()[0]


def _order(version: str) -> tuple[int, int]:
    major, minor = (*version.split("."), "0")[:2]
    return int(major), int(minor)


def troubles(model: Path, version: str = "") -> tuple[str, ...]:
    """What TensorRT would not take of the ONNX file `model`, each operator with its nodes, and how that is known; ()
    where the table knows of nothing. version: of the TensorRT that is here, "" without one.

    Raises protobuf.Malformed for a file that is no ONNX.
    """
    release = release_for(version)
    graph = protobuf.onnx_graph(model)
    known = graph.functions | defined_by_others()
    own = [node for node in graph.nodes if node.domain in ("", "ai.onnx") and node.operator not in known]
    found = [
        f"TensorRT {release.version} has no {kind}: {_names(nodes)}"
        for kind, nodes in _by_operator(own)
        if kind in release.lacks
    ]
    found += [
        f"nothing is known of {kind} in TensorRT {release.version}: {_names(nodes)}"
        for kind, nodes in _by_operator(own)
        if kind not in release.has | release.lacks
    ]
    if graph.opset > release.opset:
        found.append(f"the model is of opset {graph.opset}, and TensorRT {release.version} takes up to {release.opset}")
    if not found:
        return ()
    told = f"this is by the table of TensorRT {release.version} that dlconv has, and of the model as it is given; the "
    return (*found, f"{told}parser of the TensorRT that builds has the last word")


def _by_operator(nodes: Iterable[protobuf.OnnxNode]) -> list[tuple[str, list[str]]]:
    found = defaultdict[str, list[str]](list)
    for node in nodes:
        found[node.operator].append(node.name)
    return sorted(found.items())


def _names(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
