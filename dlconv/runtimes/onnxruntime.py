"""ONNX Runtime: on the CPU, or by another of its execution providers that was asked for.

ONNX Runtime takes the CPU where a provider is not in the package, does not start, or takes no node: with a warning,
with a line in its log, and without a word. Here each of the three is an error.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.asked import providers
from dlconv.errors import DlconvError, MachineError, PackagesMissing, SamplesError, Unsupported
from dlconv.runtimes import account, onnx_account

if TYPE_CHECKING:
    from collections.abc import Callable

    from dlconv.model import Signature
    from dlconv.runtimes.base import Tensors

PROVIDER = providers.CPU
_LEVELS = {
    "none": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
_ASSIGNMENT = "session.record_ep_graph_assignment_info"
_ERRORS_ONLY = 3
_COARSEST_FIRST = ("bfloat16", "float16", "float32", "float64")
_FLOATS = {"float": "float32", "float16": "float16", "bfloat16": "bfloat16", "double": "float64"}

# y = Relu(x), float32 of two elements, opset 13, as bytes: a probe must work where the onnx package is absent.
_TINY_MODEL = bytes.fromhex(
    "080712003a330a0c0a0178120179220452656c751201745a0f0a0178120a0a08080112040a020802"
    "620f0a0179120a0a08080112040a02080242040a00100d"
)


def probe(provider: str = "cpu") -> dict[str, Any]:
    """Run a tiny model on a provider; returns {"version", "devices"}. Any exception means that it does not work here:
    those of `open` say why."""
    ort: Any = import_module("onnxruntime")
    asked = providers.find(provider)
    try:
        session = start(_TINY_MODEL, session_options("all", 0), asked)
    except DlconvError:
        raise
    except Exception as error:  # the model is fit: what fails is the provider, or a library that it loads
        raise _not_started(asked, str(error).strip()) from error
    (answer,) = session.run(None, {"x": np.array([1.0, -2.0], np.float32)})
    if answer.tolist() != [1.0, 0.0]:
        raise Unsupported(f"ONNX Runtime answers {answer.tolist()} to Relu of [1, -2]", wanted="[1, 0]")
    nodes = _assigned(session)
    if nodes and not nodes[asked.execution]:
        met = f"{asked.execution} starts, and leaves a model of one Relu to others: {_counted(nodes)}"
        raise MachineError(met, wanted=f"{asked.device} runs it", mend="dlconv doctor tells which drivers work")
    devices = list(ort.get_available_providers()) if asked.is_cpu else [f"{asked.device} by {asked.execution}"]
    return {"version": str(ort.__version__), "devices": devices}


def open(path: Path | str, signature: Signature, settings: dict[str, Any]) -> OnnxRuntimeSession:
    """Load the model at `path`.

    settings: "optimisation" (as `session_options` has it; "all" is the default), "execution" ("sequential", the
    default, or "parallel": nodes side by side), "threads" (0: as many as ONNX Runtime chooses), "trace"
    (True, the default; without, the first run is like all others, and `placement` does not know what ran), "account"
    (True to tell what of the file is in which precision), "provider" ("cpu", the default, or another of
    `dlconv.asked.providers.NAMES`).

    Raises PackagesMissing where this ONNX Runtime was built without the provider, MachineError where the provider does
    not start, Unsupported where it takes no node of the model.
    """
    return OnnxRuntimeSession(Path(path), signature, settings)


class OnnxRuntimeSession:
    """A loaded model. The first run is traced, which tells what each operator ran on and in; later ones are not."""

    def __init__(self, path: Path, signature: Signature, settings: dict[str, Any]) -> None:
        ort: Any = import_module("onnxruntime")
        options = session_options(settings.get("optimisation", "all"), settings.get("threads", 0))
        if settings.get("execution", "sequential") == "parallel":
            options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
            options.inter_op_num_threads = settings.get("threads", 0)
        self._trace: list[dict[str, Any]] | None = None if settings.get("trace", True) else []
        self._traces = tempfile.TemporaryDirectory(prefix="dlconv-")
        if self._trace is None:
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(self._traces.name) / "trace")
        self._account = onnx_account.of(path) if settings.get("account") else None
        self._provider = providers.find(settings.get("provider", ""))
        self._session: Any = start(path, options, self._provider)
        self._version = str(ort.__version__)
        self._nodes = _assigned(self._session)
        self._check_used()
        self._outputs = [spec.name for spec in signature.outputs] or [o.name for o in self._session.get_outputs()]
        self._inputs = {value.name for value in self._session.get_inputs()}

    def run(self, inputs: Tensors) -> Tensors:
        """The outputs by name, as ONNX Runtime gives them. Raises SamplesError if the inputs' names do not fit."""
        self._check_names(inputs)
        answers = self._session.run(self._outputs, inputs)
        if self._trace is None:
            self._trace = read_trace(Path(self._session.end_profiling()))
            self._traces.cleanup()
            self._nodes = self._nodes or Counter(str(event["args"].get("provider", "")) for event in self._trace)
            self._check_used()
        return self._read(answers)

    def bound(self, inputs: Tensors) -> tuple[Callable[[], Any], Callable[[Any], Tensors]]:
        """See `dlconv.runtimes.base.Timeable`. A session that still waits for its traced run makes it now."""
        self._check_names(inputs)
        if self._trace is None:
            self.run(inputs)
        run, outputs = self._session.run, self._outputs
        return lambda: run(outputs, inputs), self._read

    def _limits(self) -> list[str]:
        others = self._nodes - Counter({self._provider.execution: self._nodes[self._provider.execution]})
        if not others:
            return []
        return [f"{self._provider.execution} leaves nodes of the model to others: {_counted(self._nodes)}"]

    def _check_used(self) -> None:
        asked = self._provider.execution
        if self._nodes and not self._nodes[asked]:
            raise Unsupported(
                f"{asked} takes none of the model's nodes: {_counted(self._nodes)}",
                wanted=f"nodes that run on {self._provider.device} by {asked}",
                mend="another --provider; ONNX Runtime's page on this one lists the operators that it has",
            )

    def _check_names(self, inputs: Tensors) -> None:
        if set(inputs) != self._inputs:
            raise SamplesError(f"inputs {sorted(inputs)} were given", wanted=f"{sorted(self._inputs)}")

    def _read(self, answers: list[Any]) -> Tensors:
        for name, answer in zip(self._outputs, answers, strict=True):
            if isinstance(answer, (list, dict)):
                raise Unsupported(f"output {name!r} is a sequence or a map", wanted="outputs that are tensors")
        return {name: _numbered(np.asarray(answer)) for name, answer in zip(self._outputs, answers, strict=True)}

    def placement(self) -> dict[str, Any]:
        """What the first run's trace tells: the provider and floating precision of every operator that ran.

        precision is the coarsest that any operator gave a floating output in, "unknown" before the first run;
        precisions and providers count the operators; operators names the kernels (those of this CPU alone as well).
        A part of the graph that a provider compiled is one operator there, and what is inside is not seen: nodes counts
        the model's nodes by the provider that they were assigned to when it was loaded, shares are of all nodes, and
        limits tells those that the provider left to another.
        """
        trace = self._trace or []
        precisions = Counter(dtype for event in trace for dtype in _float_outputs(event))
        kernels = Counter(str(event["args"].get("op_name", "")) for event in trace)
        taken = self._session.get_session_options()
        return {
            "runtime": "onnxruntime",
            "version": self._version,
            "device": self._provider.device,
            "provider": self._provider.name,
            "optimisation": {level: name for name, level in _LEVELS.items()}[taken.graph_optimization_level.name],
            "execution": str(taken.execution_mode.name).removeprefix("ORT_").lower(),
            "nodes": dict(self._nodes),
            "shares": {name: round(count / self._nodes.total(), 4) for name, count in self._nodes.items()},
            "limits": self._limits(),
            "providers": dict(Counter(str(event["args"].get("provider", "")) for event in trace)),
            "precision": min(precisions, key=_COARSEST_FIRST.index, default="unknown"),
            "precisions": dict(precisions),
            "operators": dict(kernels.most_common()),
            "threads": max((_threads(event) for event in trace), default=0),
            **({} if self._account is None else {"account": {**self._account, "ran": _ran(trace)}}),
        }


def _numbered(answer: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Strings (the classes of a classifier) as int64, a number for each: 56 bits of its digest. Others as they are."""
    if answer.dtype != object:
        return answer
    codes = [int.from_bytes(sha256(str(word).encode()).digest()[:7], "big") for word in answer.ravel()]
    numbers: np.ndarray[Any, Any] = np.array(codes, np.int64).reshape(answer.shape)
    return numbers


def start(model: Path | bytes, options: Any, provider: providers.Provider) -> Any:
    """An InferenceSession on the provider, with the CPU for the nodes that it leaves; its nodes' places are recorded.

    Raises PackagesMissing or MachineError where the provider would be left out.
    """
    ort: Any = import_module("onnxruntime")
    available = ort.get_available_providers()
    if provider.execution not in available:
        raise PackagesMissing(
            f"ONNX Runtime {ort.__version__} was built without {provider.execution}: it has {', '.join(available)}",
            wanted=f"an ONNX Runtime with it ({', '.join(provider.packages) or 'in no package for Python'})",
            mend=provider.mend,
        )
    if provider.gate == "nvidia" and hasattr(ort, "preload_dlls"):  # from NVIDIA's packages, where they are installed
        ort.preload_dlls()
    options.add_session_config_entry(_ASSIGNMENT, "1")
    chain = [name for name in provider.chain if name in available]
    told = [dict(provider.options) if name == provider.execution else {} for name in chain]
    given = model if isinstance(model, bytes) else str(model)
    # Without the fallback: else what a provider fails at is done again on the CPU, and only printed.
    session = ort.InferenceSession(given, options, providers=chain, provider_options=told, enable_fallback=0)
    if provider.execution not in session.get_providers():
        raise _not_started(provider, f"ONNX Runtime would run on {', '.join(session.get_providers())}")
    return session


def _not_started(provider: providers.Provider, why: str) -> MachineError:
    return MachineError(
        f"{provider.execution} does not start: {why}",
        wanted=f"{provider.device}, its driver and its libraries",
        mend="the log has the provider's own words; dlconv doctor tells which drivers and libraries work",
    )


def _assigned(session: Any) -> Counter[str]:
    """How many nodes each provider was given; none are known where ONNX Runtime is older than 1.24."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return Counter()
    found: Counter[str] = Counter()
    for part in session.get_provider_graph_assignment_info():
        found[str(part.ep_name)] += len(part.get_nodes())
    return found


def _counted(nodes: Counter[str]) -> str:
    return ", ".join(f"{count} of {nodes.total()} on {name}" for name, count in nodes.most_common())


def session_options(optimisation: str, threads: int) -> Any:
    """SessionOptions at a level of optimisation ("none", "basic", "extended", "all"), quiet but for errors."""
    ort: Any = import_module("onnxruntime")
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, _LEVELS[optimisation])
    options.intra_op_num_threads = threads
    options.log_severity_level = _ERRORS_ONLY
    return options


def read_trace(path: Path) -> list[dict[str, Any]]:
    """The events of a profile that are kernels, as ONNX Runtime writes them."""
    events: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return [event for event in events if event.get("cat") == "Node" and str(event["name"]).endswith("_kernel_time")]


def _ran(trace: list[dict[str, Any]]) -> dict[str, int]:
    """The operators that ran, by precision."""
    told = []
    for event in trace:
        name = str(event["args"].get("op_name", ""))
        floats = _float_outputs(event)
        if onnx_account.is_int8(name):
            told.append((name, "int8"))
        elif floats and name != "Cast":
            told.append((name, floats[0]))
    return account.counted(told)


def _float_outputs(event: dict[str, Any]) -> list[str]:
    shapes: list[dict[str, Any]] = event["args"].get("output_type_shape", [])
    return [_FLOATS[kind] for shape in shapes for kind in shape if kind in _FLOATS]


def _threads(event: dict[str, Any]) -> int:
    # A session of one thread has "" in place of the account of its pool.
    return 1 + len((event["args"].get("thread_scheduling_stats") or {}).get("sub_threads", {}))
