"""TensorRT, from 8.5 to 11, on the first NVIDIA GPU that is visible. No other package is needed."""

from __future__ import annotations

import ctypes
import time
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dlconv.errors import DlconvError, MachineError, SamplesError, StepError
from dlconv.model import Signature, TensorSpec
from dlconv.runtimes import onnxruntime
from dlconv.runtimes import tensorrt_api as api
from dlconv.runtimes.cuda import Clock, Device, Graph, Memory, Pinned
from dlconv.runtimes.tensorrt_inputs import fitting, is_within
from dlconv.runtimes.tensorrt_inspect import inspected
from dlconv.runtimes.tensorrt_outputs import Outputs
from dlconv.runtimes.tensorrt_plan import WEIGHTS, PlanFacts

if TYPE_CHECKING:
    from collections.abc import Callable

    from dlconv.runtimes.base import Tensors, Timeable

_TIMES = ("upload_ms", "", "compute_ms", "download_ms")
"""What lies between the marks of a run; the second is what the context is told, and how a CUDA graph is made."""

_LEAST_RUNS, _REPEAT_S = 20, 0.2
"""How many runs medians are of, where that many take no longer than this many seconds."""


def probe() -> dict[str, Any]:
    """Build and run a tiny engine; returns {"version", "devices"}. Any exception means that TensorRT does not work."""
    trt, driver = api.load()
    log = api.new_log(trt)
    builder = api.made(trt, "Builder", log)
    network, _ = api.new_network(trt, builder)
    layer = network.add_activation(network.add_input("x", trt.DataType.FLOAT, (2,)), trt.ActivationType.RELU)
    layer.get_output(0).name = "y"
    network.mark_output(layer.get_output(0))
    config = builder.create_builder_config()
    api.use_own_tactics(trt, config)  # does TensorRT itself work?
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise api.refused(trt, "builds no engine of one operator", log, "")
    answer = TensorRTSession(trt, driver, bytes(plan), None, Path(), {}).run({"x": np.array([1, -2], np.float32)})
    if answer["y"].tolist() != [1.0, 0.0]:
        raise StepError(f"TensorRT answers {answer['y'].tolist()} to Relu of [1, -2]", wanted="[1, 0]")
    return {"version": str(trt.__version__), "devices": [gpu.name for gpu in driver.gpus]}


def open(path: Path | str, signature: Signature, settings: dict[str, Any]) -> Timeable:
    """Load the plan at `path`, as `open_plan`; an ONNX model by ONNX Runtime's TensorRT provider, as
    `onnxruntime.open`."""
    place = Path(path)
    if place.suffix != ".onnx":
        return open_plan(place, settings)
    asked = {name: value for name, value in settings.items() if name != "trust"}
    return onnxruntime.open(place, signature, {**asked, "provider": "tensorrt"})


def open_plan(place: Path, settings: dict[str, Any]) -> TensorRTSession:
    """Load a plan.

    settings: "trust" (False, the default; a plan that holds code, or plugins beside it, is opened only with it),
    "threads" has no meaning here. Raises MachineError for a plan of another GPU or TensorRT, before it is deserialised.
    """
    trt, driver = api.load()
    facts = PlanFacts.of(place)
    if facts is not None:
        gpu = driver.gpus[0]
        misfit = facts.misfit(str(trt.__version__), gpu.name, gpu.compute_capability)
        if misfit:
            raise MachineError(misfit, mend="export the model on this machine")
        _check_trust(facts, trusted=bool(settings.get("trust")))
    return TensorRTSession(trt, driver, place.read_bytes(), facts, place.parent, settings)


def _check_trust(facts: PlanFacts, *, trusted: bool) -> None:
    if facts.holds_code and not trusted:
        what = "the runtime that it carries for other versions" if facts.is_version_compatible else "its plugins"
        raise MachineError(f"opening the plan runs code: {what}", mend="--trust, if you know where it is from")


class _Input(NamedTuple):
    """An input as the context is told of it, and what holds its memory."""

    shape: tuple[int, ...]
    address: int
    memory: Any


class TensorRTSession:
    """A loaded plan. Inputs are written to the GPU, outputs read from it, around each run; times are told apart."""

    def __init__(
        self, trt: Any, driver: Any, plan: bytes, facts: PlanFacts | None, folder: Path, settings: dict[str, Any]
    ) -> None:
        self._trt, self._driver, self._facts = trt, driver, facts
        self._device = Device()
        self._clock = Clock(self._device, len(_TIMES) + 1)
        self._log = api.new_log(trt)
        api.register_plugins(trt, self._log)
        self._plugins = [ctypes.CDLL(str(folder / name)) for name in (facts.plugins if facts else ())]
        self._runtime = api.made(trt, "Runtime", self._log)
        if settings.get("trust") and hasattr(self._runtime, "engine_host_code_allowed"):
            self._runtime.engine_host_code_allowed = True
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise api.refused(trt, "does not open the plan", self._log, "export the model again, on this machine")
        if facts is not None and facts.is_stripped:
            _refit(trt, self._engine, folder / WEIGHTS, self._log)
        if facts is not None and facts.is_streamed:
            self._engine.weight_streaming_budget_v2 = self._engine.get_weight_streaming_automatic_budget()
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise api.refused(trt, "makes no execution context", self._log, "use a GPU with more memory")
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        is_input = {name: self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT for name in names}
        self._inputs = {name: self._dtype(name) for name in names if is_input[name]}
        self._output_types = {name: self._dtype(name) for name in names if not is_input[name]}
        self._outputs = self._new_outputs()
        self._pinned: dict[str, Pinned] = {}
        self._is_graph = facts is not None and facts.is_graph
        self._times: dict[str, list[float]] = defaultdict(list)
        self._last: Tensors = {}
        self._bound: object = None
        """What the context was told of last."""

    def run(self, inputs: Tensors) -> Tensors:
        """The outputs by name, as TensorRT gives them. Raises SamplesError if the inputs do not fit the plan."""
        self._last = inputs
        begin_s = time.perf_counter()
        held = self._bound = self._bind(inputs)
        self._outputs.bind()
        recording_s = time.perf_counter()
        start = self._starter(self._outputs)
        recording_s = time.perf_counter() - recording_s
        self._clock.mark(2)
        start()
        self._clock.mark(3)
        outputs = self._outputs.read(lambda: self._clock.mark(4))
        self._times["wall_ms"].append((time.perf_counter() - begin_s - recording_s) * 1000)
        del held  # until here the GPU may have read of it
        for name, value in zip(_TIMES, self._clock.intervals_ms(), strict=True):
            self._times[name].append(value)
        return outputs

    def bound(self, inputs: Tensors) -> tuple[Callable[[], Any], Callable[[Any], Tensors]]:
        """See `dlconv.runtimes.base.Timeable`. What is timed is without transfers: `placement` tells of those."""
        held = self._bound = self._bind(inputs)
        outputs = self._new_outputs()
        outputs.bind()
        start, wait = self._starter(outputs), self._device.wait

        def call() -> Any:
            nonlocal start
            if self._bound is not held:  # another sample has been since
                self._tell(held)
                outputs.bind()
                self._bound, start = held, self._starter(outputs)
            start()
            wait()

        return call, lambda _: outputs.read()

    def placement(self) -> dict[str, Any]:
        """What the engine's inspector tells, and medians of all runs: by the GPU's own clock, transfers apart, and
        "wall_ms", the whole of a run by the clock on the wall, transfers and this adapter's own work in it. The last
        run is repeated for them where there were few."""
        self._repeat()
        gpu, found = self._driver.gpus[0], inspected(self._trt, self._engine)
        memory = getattr(self._engine, "device_memory_size_v2", None)
        return {
            "runtime": "tensorrt",
            "version": str(self._trt.__version__),
            "device": gpu.name,
            "compute_capability": gpu.compute_capability,
            "driver": self._driver.version,
            "cuda": self._driver.cuda,
            "precision": found.precision,
            "account": {"operators": found.precisions, "weights": {}, "ran": found.precisions},
            "layers": found.layers,
            "fused_layers": found.fused,
            "memory_bytes": int(self._engine.device_memory_size if memory is None else memory),
            "profiles": int(self._engine.num_optimization_profiles),
            "cuda_graph": self._is_graph,
            "times": {name: round(median(values), 4) for name, values in self._times.items() if name},
        }

    def signature(self) -> Signature:
        """The engine's inputs and outputs. A free size is called for its tensor and axis: "x_0"."""

        def specs(dtypes: dict[str, np.dtype[Any]]) -> tuple[TensorSpec, ...]:
            shapes = {name: api.shape_of(self._engine.get_tensor_shape(name)) for name in dtypes}
            return tuple(
                TensorSpec(
                    name,
                    dtype.name,
                    tuple(size if size >= 0 else f"{name}_{axis}" for axis, size in enumerate(shapes[name])),
                )
                for name, dtype in dtypes.items()
            )

        return Signature(specs(self._inputs), specs(self._output_types))

    def optimum(self) -> dict[str, int]:
        """The sizes that the first profile is fastest at, by the names that `signature` gives to free ones."""
        return {
            f"{name}_{axis}": self._limits(name, 0)[1][axis]
            for name in self._inputs
            for axis, size in enumerate(api.shape_of(self._engine.get_tensor_shape(name)))
            if size < 0
        }

    def _repeat(self) -> None:
        end_s = time.perf_counter() + _REPEAT_S
        while self._last and len(self._times["wall_ms"]) < _LEAST_RUNS:
            self.run(self._last)
            if time.perf_counter() > end_s:
                break

    def _dtype(self, name: str) -> np.dtype[Any]:
        return api.array_type(api.dtype_of(self._engine.get_tensor_dtype(name)))

    def _new_outputs(self) -> Outputs:
        return Outputs(self._trt, self._context, self._device, self._output_types)

    def _bind(self, inputs: Tensors) -> dict[str, _Input]:
        """The inputs on the GPU (values that decide shapes: on the host), of which the context is told."""
        if set(inputs) != set(self._inputs):
            raise SamplesError(f"inputs {sorted(inputs)} were given", wanted=f"{sorted(self._inputs)}")
        arrays = {name: fitting(name, array, self._inputs[name]) for name, array in inputs.items()}
        held: dict[str, _Input] = {}
        uploads: list[tuple[Memory, np.ndarray[Any, Any]]] = []
        for name, array in arrays.items():
            if self._engine.get_tensor_location(name) == self._trt.TensorLocation.HOST:
                held[name] = _Input(array.shape, array.ctypes.data, array)
                continue
            memory = Memory(self._device, array.nbytes)
            held[name] = _Input(array.shape, memory.address, memory)
            uploads.append((memory, self._staged(name, array)))
        self._clock.mark(0)
        for memory, staged in uploads:
            memory.write(staged)
        self._clock.mark(1)
        self._device.wait()
        self._tell(held)
        return held

    def _staged(self, name: str, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The array in page-locked memory, from which the GPU copies by itself."""
        if name not in self._pinned or self._pinned[name].size_bytes < array.nbytes:
            self._pinned[name] = Pinned(self._device, array.nbytes)
        staged = self._pinned[name].array(array.shape, array.dtype)
        staged[...] = array
        return staged

    def _tell(self, held: dict[str, _Input]) -> None:
        """Tell the context the shapes and addresses of the inputs."""
        self._choose_profile({name: each.shape for name, each in held.items()})
        for name, each in held.items():
            if not self._context.set_input_shape(name, each.shape):
                raise SamplesError(f"{name} has shape {list(each.shape)}, which the plan does not take")
            self._context.set_tensor_address(name, each.address)
        unknown = self._context.infer_shapes()
        if unknown:
            raise SamplesError(f"the shapes of {', '.join(unknown)} do not follow from the inputs")

    def _starter(self, outputs: Outputs) -> Callable[[], None]:
        """What puts a run into the stream, as the context was told: TensorRT's own call, or a CUDA graph of it.

        Raises StepError where the run cannot be recorded as a graph.
        """
        if not self._is_graph:
            return self._enqueue
        if outputs.unknown:
            raise StepError(
                f"the plan cannot run as a CUDA graph: the shape of {', '.join(outputs.unknown)} depends on the data",
                wanted="shapes that follow from those of the inputs",
                mend="without --trt cuda-graph=on",
            )
        self._enqueue()  # what the first run alone does is none of the graph
        self._device.wait()
        try:
            return Graph(self._device, self._enqueue).launch
        except (DlconvError, MemoryError) as error:
            met = f"the plan cannot run as a CUDA graph: {error}"
            raise StepError(
                met, wanted="shapes that do not depend on the data", mend="without --trt cuda-graph=on"
            ) from error

    def _choose_profile(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """The profile that takes the shapes, and of several the one whose optimum is nearest."""
        fits: dict[int, int] = {}
        for index in range(self._engine.num_optimization_profiles):
            limits = {name: self._limits(name, index) for name in shapes}
            if all(is_within(shape, *limits[name][::2]) for name, shape in shapes.items()):
                fits[index] = sum(
                    abs(size - best)
                    for name, shape in shapes.items()
                    for size, best in zip(shape, limits[name][1], strict=True)
                )
        if not fits:
            ends = {name: self._limits(name, 0)[::2] for name in shapes}
            given = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
            raise SamplesError(
                f"no profile of the plan takes {given}",
                wanted=", ".join(f"{name} {list(least)} to {list(most)}" for name, (least, most) in ends.items()),
                mend="export with samples of these sizes, or with a range: --input NAME:1..32x3x224x224",
            )
        nearest = min(fits, key=lambda index: (fits[index], index))
        if self._context.active_optimization_profile != nearest:
            if not self._context.set_optimization_profile_async(nearest, self._device.stream):
                raise api.refused(self._trt, f"does not take profile {nearest}", self._log)
            self._device.wait()

    def _limits(self, name: str, index: int) -> list[tuple[int, ...]]:
        if -1 not in api.shape_of(self._engine.get_tensor_shape(name)):
            return [api.shape_of(self._engine.get_tensor_shape(name))] * 3
        return [api.shape_of(dims) for dims in self._engine.get_tensor_profile_shape(name, index)]

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._device.stream):
            raise api.refused(self._trt, "does not run the plan", self._log)


def _refit(trt: Any, engine: Any, weights: Path, log: Any) -> None:
    """Give a stripped engine the weights of its ONNX model."""
    if not hasattr(trt, "OnnxParserRefitter"):
        raise api.lacking(trt, "way to give a stripped plan its weights", "OnnxParserRefitter")
    refitter = trt.Refitter(engine, log)
    if not trt.OnnxParserRefitter(refitter, log).refit_from_file(str(weights)) or not refitter.refit_cuda_engine():
        raise api.refused(trt, "does not take the weights of the stripped plan", log, "export the model again")
    missing = refitter.get_missing_weights()
    if missing:
        raise StepError(f"the stripped plan lacks weights: {', '.join(missing[:5])}", mend="export the model again")
