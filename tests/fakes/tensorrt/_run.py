"""The runtime's side: a plan run by ONNX Runtime between the addresses that were told."""

from __future__ import annotations

import ctypes
import json
from typing import Any

import numpy as np

from dlconv.runtimes import nvidia_driver
from tensorrt._build import MAGIC, ILogger, decides_shapes, kind_of
from tensorrt._names import IS_8, VERSION, Strict, enum, members

Mode, Location = enum("TensorIOMode"), enum("TensorLocation")
WORDS = {"FLOAT": "FP32", "HALF": "FP16", "BF16": "BF16", "INT8": "Int8", "INT32": "Int32", "INT64": "Int64"}
TYPES = {"FLOAT": "f4", "HALF": "f2", "INT8": "i1", "INT32": "i4", "INT64": "i8", "UINT8": "u1", "BOOL": "?"}


def in_float32(model: Any) -> Any:
    """A graph's bfloat16 as float32, which ONNX Runtime has kernels for: its numbers stay as they were rounded."""
    from onnx import ModelProto, numpy_helper

    made = ModelProto.FromString(model.SerializeToString())
    for tensor in made.graph.initializer:
        if tensor.data_type == 16:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype("f4"), tensor.name))
    for node in made.graph.node:
        for attribute in node.attribute:
            if (node.op_type, attribute.name, attribute.i) == ("Cast", "to", 16):
                attribute.i = 1
    for value in (*made.graph.input, *made.graph.output):
        if value.type.tensor_type.elem_type == 16:
            value.type.tensor_type.elem_type = 1
    return made


def array_type(name: str) -> Any:
    """NumPy's dtype of a tensor by the name of TensorRT's."""
    if name != "BF16":
        return np.dtype(TYPES[name])
    import ml_dtypes

    return np.dtype(ml_dtypes.bfloat16)


class IOutputAllocator:
    """To be inherited from."""


class Runtime(Strict):
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger
        if "engine_host_code_allowed" in members("Runtime"):
            self.engine_host_code_allowed = False

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        trouble = ""
        if not serialized_engine.startswith(MAGIC):
            trouble = "magicTagRead == kMAGIC_TAG failed"
        else:
            size = int.from_bytes(serialized_engine[4:12], "little")
            head = json.loads(serialized_engine[12 : 12 + size])
            if "VERSION_COMPATIBLE" in head["flags"] and not self.engine_host_code_allowed:
                trouble = "the plan holds host code, which is not allowed"
            elif head["version"] != VERSION and "VERSION_COMPATIBLE" not in head["flags"]:
                trouble = f"the plan is of version {head['version']}"
        if trouble:
            self._logger.log(ILogger.ERROR, trouble)
            return None
        return ICudaEngine(head, serialized_engine[12 + size :])


class ICudaEngine(Strict):
    def __init__(self, head: dict[str, Any], model: bytes) -> None:
        import onnx

        self._head, self._model = head, onnx.ModelProto.FromString(model)
        graph = self._model.graph
        self._values = {value.name: value for value in (*graph.input, *graph.output)}
        self._inputs = [value.name for value in graph.input]
        self._budget = 0

    @property
    def num_io_tensors(self) -> int:
        return len(self._values)

    def get_tensor_name(self, index: int) -> str:
        return list(self._values)[index]

    def get_tensor_mode(self, name: str) -> Any:
        return Mode.INPUT if name in self._inputs else Mode.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        return kind_of(self._values[name].type.tensor_type.elem_type)

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        dims = self._values[name].type.tensor_type.shape.dim
        return tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims)

    def get_tensor_location(self, name: str) -> Any:
        return Location.HOST if decides_shapes(self._model.graph, name) else Location.DEVICE

    @property
    def num_optimization_profiles(self) -> int:
        return max(1, len(self._head["profiles"]))

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[list[int]]:
        found: list[list[int]] = self._head["profiles"][profile_index][name]
        return found

    @property
    def device_memory_size(self) -> int:
        return 4096

    @property
    def device_memory_size_v2(self) -> int:
        return 4096

    def get_weight_streaming_automatic_budget(self) -> int:
        assert "WEIGHT_STREAMING" in self._head["flags"]
        return 1 << 20

    @property
    def weight_streaming_budget_v2(self) -> int:
        return self._budget

    @weight_streaming_budget_v2.setter
    def weight_streaming_budget_v2(self, size: int) -> None:
        self._budget = size

    def create_engine_inspector(self) -> EngineInspector:
        return EngineInspector(self._head)

    def create_execution_context(self) -> IExecutionContext:
        return IExecutionContext(self)


class EngineInspector(Strict):
    def __init__(self, head: dict[str, Any]) -> None:
        self._head = head

    def get_engine_information(self, form: Any) -> str:
        assert form.name == "JSON"
        layers: list[Any] = [name for name, _ in self._head["layers"]]
        if self._head["detailed"]:
            form = "Row major linear "
            layers = [
                {"Name": name, "LayerType": "kgen", "Outputs": [{"Format/Datatype": form + WORDS.get(kind, kind)}]}
                for name, kind in self._head["layers"]
            ]
        return json.dumps({"Layers": layers, ("I/O Tensors" if VERSION.startswith("11") else "Bindings"): []})


class IExecutionContext(Strict):
    def __init__(self, engine: ICudaEngine) -> None:
        self._engine, self._profile = engine, 0
        self._addresses: dict[str, int] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._allocators: dict[str, Any] = {}
        self._recorded: list[Any] = []

    @property
    def engine(self) -> ICudaEngine:
        return self._engine

    @property
    def active_optimization_profile(self) -> int:
        return self._profile

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        self._profile, self._shapes = profile_index, {}
        return bool(stream_handle) and profile_index < self._engine.num_optimization_profiles

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        fixed = self._engine.get_tensor_shape(name)
        self._shapes[name] = tuple(shape)
        if -1 not in fixed:
            return fixed == tuple(shape)
        least, _, most = self._engine.get_tensor_profile_shape(name, self._profile)
        return all(low <= size <= high for low, size, high in zip(least, shape, most, strict=True))

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return True

    def set_output_allocator(self, name: str, output_allocator: Any) -> bool:
        assert isinstance(output_allocator, IOutputAllocator)
        self._allocators[name] = output_allocator
        return True

    def infer_shapes(self) -> list[str]:
        return [name for name in self._engine._inputs if name not in self._shapes]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        """As ONNX's own shape inference finds it: -1 where it depends on the data."""
        import onnx

        model = onnx.ModelProto.FromString(self._engine._model.SerializeToString())
        for value in model.graph.input:
            for dim, size in zip(value.type.tensor_type.shape.dim, self._shapes[value.name], strict=True):
                dim.dim_value = size
        for value in model.graph.output:
            value.type.tensor_type.ClearField("shape")
        known = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        found = next(value for value in (*known.input, *known.output) if value.name == name)
        dims = found.type.tensor_type.shape.dim
        return tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims)

    def execute_async_v3(self, stream_handle: int) -> bool:
        """At once; or, while the stream records, each time that the graph is launched."""
        assert stream_handle
        shapes, addresses = dict(self._shapes), dict(self._addresses)
        driver = ctypes.CDLL(nvidia_driver.LIBRARIES["linux"])
        if not driver.planted_capturing():
            self._execute(shapes, addresses, stream_handle)
        else:
            work = ctypes.CFUNCTYPE(None)(lambda: self._execute(shapes, addresses, stream_handle))
            driver.planted_record(work)
            self._recorded.append(work)
        return True

    def _execute(self, shapes: dict[str, tuple[int, ...]], addresses: dict[str, int], stream_handle: int) -> None:
        import onnxruntime

        inputs = {}
        for name in self._engine._inputs:
            kind = array_type(self._engine.get_tensor_dtype(name).name)
            size = int(np.prod(shapes[name])) * kind.itemsize
            array = np.frombuffer(ctypes.string_at(addresses[name], size), kind).reshape(shapes[name])
            wide = IS_8 and self._engine._values[name].type.tensor_type.elem_type == 7
            inputs[name] = array.astype(np.int64) if wide else array.astype("f4") if kind.kind == "V" else array
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # int8 by a float's sums
        session = onnxruntime.InferenceSession(in_float32(self._engine._model).SerializeToString(), options)
        outputs = [value.name for value in self._engine._model.graph.output]
        for name, answer in zip(outputs, session.run(outputs, inputs), strict=True):
            array = np.asarray(answer, order="C")
            given = self._engine.get_tensor_dtype(name).name
            array = array.astype(array_type(given)) if given == "BF16" else array
            array = array.astype(np.int32) if IS_8 and array.dtype == np.int64 else array
            address = addresses.get(name, 0)
            if name in self._allocators:
                address = self._allocate(name, array, stream_handle)
            ctypes.memmove(address, array.ctypes.data, array.nbytes)

    def _allocate(self, name: str, array: Any, stream: int) -> int:
        asked = self._allocators[name]
        asked.notify_shape(name, array.shape)
        if IS_8:
            return int(asked.reallocate_output(name, 0, array.nbytes, 256))
        return int(asked.reallocate_output_async(name, 0, array.nbytes, 256, stream))


class Refitter(Strict):
    def __init__(self, engine: ICudaEngine, logger: ILogger) -> None:
        self._engine = engine

    def refit_cuda_engine(self) -> bool:
        return True

    def get_missing_weights(self) -> list[str]:
        return []


class OnnxParserRefitter(Strict):
    def __init__(self, refitter: Refitter, logger: ILogger) -> None:
        self._refitter = refitter

    def refit_from_file(self, model: str) -> bool:
        import onnx

        self._refitter._engine._model = onnx.load(model)
        return True


def init_libnvinfer_plugins(logger: Any, namespace: str) -> bool:
    """Its own plugins are known from now on."""
    assert isinstance(logger, ILogger) and namespace == ""
    return True
