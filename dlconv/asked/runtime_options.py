"""What one and the same artifact can be run with besides a runtime's defaults: NAME=VALUE, as `--option` says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from dlconv.errors import RequestError


@dataclass(frozen=True)
class RuntimeOption:
    """settings: what the adapter is told. placement: what the runtime tells of itself where it took the option. how:
    what a program says to the runtime, `{threads}` in place of their number. least_threads: with fewer it is nothing.
    """

    settings: Mapping[str, Any]
    placement: Mapping[str, Any]
    how: str
    least_threads: int = 1


def _level(name: str) -> RuntimeOption:
    how = f"SessionOptions.graph_optimization_level = ORT_{'DISABLE' if name == 'none' else 'ENABLE'}_"
    how += "ALL" if name == "none" else name.upper()
    return RuntimeOption({"optimisation": name}, {"optimisation": name}, how)


OPTIONS: Final[Mapping[str, Mapping[str, RuntimeOption]]] = {
    "onnxruntime": {
        **{f"optimisation={name}": _level(name) for name in ("all", "extended", "basic", "none")},
        "execution=parallel": RuntimeOption(
            {"execution": "parallel"},
            {"execution": "parallel"},
            "SessionOptions.execution_mode = ORT_PARALLEL, .inter_op_num_threads = {threads}",
            least_threads=2,
        ),
    },
    "openvino": {
        "pinning=off": RuntimeOption(
            {"pinning": False}, {"pinning": False}, 'compile_model(..., {{"ENABLE_CPU_PINNING": False}})'
        ),
        "hint=throughput": RuntimeOption(
            {"hint": "THROUGHPUT"}, {"hint": "THROUGHPUT"}, 'compile_model(..., {{"PERFORMANCE_HINT": "THROUGHPUT"}})'
        ),
    },
    "tflite": {
        "xnnpack=off": RuntimeOption(
            {"xnnpack": False},
            {"delegate": "none"},
            "Interpreter(experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)",
        ),
    },
}
"""By the runtime's name, then as it is said."""


def known() -> tuple[str, ...]:
    """All that can be said, of any runtime."""
    return tuple(text for each in OPTIONS.values() for text in each)


def find(runtime: str, text: str) -> RuntimeOption:
    """The option of a runtime. Raises RequestError for one that it does not have."""
    own = OPTIONS.get(runtime, {})
    if text not in own:
        raise RequestError(
            f"{runtime} has no option {text!r}",
            wanted=f"one of {', '.join(own)}" if own else f"an artifact of {', '.join(OPTIONS)}",
        )
    return own[text]


def refusal(runtime: str, text: str, placement: Mapping[str, Any]) -> str:
    """What the runtime tells of itself that is not what the option asked for; "" where it took it."""
    unlike = {
        key: placement.get(key) for key, wanted in find(runtime, text).placement.items() if placement.get(key) != wanted
    }
    told = ", ".join(f"{key} is {value!r}" for key, value in unlike.items())
    return f"{runtime} did not take {text}: {told}" if told else ""
