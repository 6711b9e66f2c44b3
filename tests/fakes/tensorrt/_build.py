"""The builder's side: network, parser, configuration, and a plan that is the ONNX model with what it was built by."""

from __future__ import annotations

import json
from enum import IntEnum
from pathlib import Path
from typing import Any

from tensorrt._names import IS_8, VERSION, Strict, enum, has_class, members

DataType, BuilderFlag = enum("DataType"), enum("BuilderFlag")
Creation, Verbosity = enum("NetworkDefinitionCreationFlag"), enum("ProfilingVerbosity")
KINDS = {1: "FLOAT", 2: "UINT8", 3: "INT8", 6: "INT32", 7: "INT64", 9: "BOOL", 10: "HALF", 16: "BF16"}
UNSUPPORTED = {"Det", "Unique", *({"LayerNormalization"} if IS_8 else ())}
"""Operators that this TensorRT does not have; Mod it has, and refuses at parsing."""
MAGIC = b"ftrt"
_DEFAULTS = {"progress_monitor": None, "builder_optimization_level": 3, "hardware_compatibility_level": 0}


def kind_of(element_type: int) -> Any:
    """TensorRT's dtype of a tensor of ONNX: 8 has no int64."""
    name = KINDS[element_type]
    return DataType["INT32" if name == "INT64" and IS_8 else name]


class ILogger:
    """To be inherited from; `log` is called with what TensorRT has to say."""

    Severity = IntEnum("Severity", {"INTERNAL_ERROR": 0, "ERROR": 1, "WARNING": 2, "INFO": 3, "VERBOSE": 4})
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = Severity


class IProgressMonitor:
    """To be inherited from."""


class IHostMemory(bytes):
    """Bytes that TensorRT owns."""

    @property
    def nbytes(self) -> int:
        return len(self)


def decides_shapes(graph: Any, name: str) -> bool:
    return any(node.op_type == "Reshape" and node.input[1] == name for node in graph.node)


class ITensor(Strict):
    def __init__(self, value: Any, graph: Any = None) -> None:
        self._value, self._graph = value, graph

    @property
    def name(self) -> str:
        return str(self._value.name)

    @name.setter
    def name(self, name: str) -> None:
        self._value.name = name

    @property
    def shape(self) -> tuple[int, ...]:
        dims = self._value.type.tensor_type.shape.dim
        return tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims)

    @property
    def dtype(self) -> Any:
        return kind_of(self._value.type.tensor_type.elem_type)

    @property
    def is_shape_tensor(self) -> bool:
        return self._graph is not None and decides_shapes(self._graph, self.name)


class ILayer(Strict):
    def __init__(self, node: Any, kinds: dict[str, Any], output: Any = None) -> None:
        self._node, self._kinds, self._output = node, [kinds.get(name, DataType.FLOAT) for name in node.output], output
        self._held: Any = None

    @property
    def name(self) -> str:
        return str(self._node.name)

    @property
    def num_outputs(self) -> int:
        return len(self._kinds)

    def get_output(self, index: int) -> Any:
        return self._output

    def get_output_type(self, index: int) -> Any:
        return self._kinds[index]

    def set_output_type(self, index: int, kind: Any) -> None:
        self._held = kind

    @property
    def precision(self) -> Any:
        return self._held

    @precision.setter
    def precision(self, kind: Any) -> None:
        self._held = kind


class INetworkDefinition(Strict):
    def __init__(self, flags: int) -> None:
        known = sum(1 << int(flag) for flag in Creation)
        if flags & ~known:
            raise TypeError(f"flags {flags:b}, of which there are {known:b}")
        self._typed = bool(flags & (1 << int(getattr(Creation, "STRONGLY_TYPED", 31))))
        self._is_explicit = not IS_8 or bool(flags & (1 << int(Creation.EXPLICIT_BATCH)))
        self._model: Any = None
        self._layers: list[ILayer] = []

    def _take(self, model: Any) -> None:
        import onnx

        self._model = model
        known = onnx.shape_inference.infer_shapes(model).graph
        kinds = {value.name: value.type.tensor_type.elem_type for value in (*known.value_info, *known.output)}
        told = {name: kind_of(kind) for name, kind in kinds.items() if kind in KINDS}
        self._layers = [ILayer(node, told) for node in model.graph.node]

    @property
    def num_layers(self) -> int:
        return len(self._layers)

    def get_layer(self, index: int) -> ILayer:
        return self._layers[index]

    @property
    def num_inputs(self) -> int:
        return len(self._model.graph.input)

    def get_input(self, index: int) -> ITensor:
        return ITensor(self._model.graph.input[index], self._model.graph)

    def add_input(self, name: str, dtype: Any, shape: tuple[int, ...]) -> ITensor:
        from onnx import helper

        value = helper.make_tensor_value_info(name, 1, list(shape))
        graph = helper.make_graph([], "made", [value], [])
        self._model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return ITensor(self._model.graph.input[0])

    def add_activation(self, tensor: ITensor, kind: Any) -> ILayer:
        from onnx import helper

        graph = self._model.graph
        graph.node.append(helper.make_node(kind.name.capitalize(), [tensor.name], ["out"], name="act"))
        value = graph.output.add()
        value.CopyFrom(graph.input[0])
        self._layers.append(ILayer(graph.node[0], {}, ITensor(value)))
        return self._layers[-1]

    def mark_output(self, tensor: ITensor) -> None:
        self._model.graph.node[0].output[0] = tensor.name


class ParserError(Strict):
    def __init__(self, index: int, node: Any) -> None:
        self._index, self._node = index, node

    def node(self) -> int:
        return self._index

    def desc(self) -> str:
        return f"{self._node.op_type} is not taken like this"

    def node_name(self) -> str:
        return str(self._node.name)

    def node_operator(self) -> str:
        return str(self._node.op_type)


class OnnxParser(Strict):
    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        self._network, self._errors = network, list[ParserError]()

    def supports_operator(self, op_name: str) -> bool:
        return op_name not in UNSUPPORTED

    def parse_from_file(self, model: str) -> bool:
        import onnx

        return self._take(onnx.load(model))

    def parse(self, model: bytes, path: str | None = None) -> bool:
        import onnx

        loaded = onnx.ModelProto.FromString(model)
        assert path is not None
        onnx.external_data_helper.load_external_data_for_model(loaded, str(Path(path).parent))
        return self._take(loaded)

    def _take(self, loaded: Any) -> bool:
        nodes = list(enumerate(loaded.graph.node))
        refused = [each for each in nodes if each[1].op_type in {*UNSUPPORTED, "Mod"}]
        if not self._network._is_explicit:
            refused = nodes[:1]
        self._errors = [ParserError(index, node) for index, node in refused]
        self._network._take(loaded)
        return not self._errors

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]


class IOptimizationProfile(Strict):
    def __init__(self) -> None:
        self._shapes: dict[str, list[tuple[int, ...]]] = {}

    def set_shape(self, name: str, least: Any, best: Any, most: Any) -> None:
        if not all(low <= mid <= high for low, mid, high in zip(least, best, most, strict=True)):
            raise ValueError(f"{name}: {least}, {best}, {most}")
        self._shapes[name] = [tuple(least), tuple(best), tuple(most)]

    def set_shape_input(self, name: str, least: Any, best: Any, most: Any) -> None:
        self.set_shape(name, least, best, most)


class ITimingCache(Strict):
    def __init__(self, known: bytes) -> None:
        self._known = known

    def serialize(self) -> IHostMemory:
        return IHostMemory(self._known)


class IBuilderConfig(Strict):
    def __init__(self) -> None:
        self._flags = {BuilderFlag.TF32}
        self._profiles: list[IOptimizationProfile] = []
        self._pools: dict[Any, int] = {}
        self._tactics: list[str] = []
        self._features: list[str] = []
        self._cache: ITimingCache | None = None
        for name, value in _DEFAULTS.items():
            if name in members("IBuilderConfig"):
                setattr(self, name, value)
        self.profiling_verbosity: Any = Verbosity.LAYER_NAMES_ONLY

    def set_flag(self, flag: Any) -> None:
        self._flags.add(BuilderFlag(flag))

    def clear_flag(self, flag: Any) -> None:
        self._flags.discard(BuilderFlag(flag))

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        self._pools[pool.name] = pool_size

    def set_tactic_sources(self, tactic_sources: int) -> bool:
        known = enum("TacticSource")
        self._tactics = [f"tactics={source.name}" for source in known if tactic_sources >> source & 1]
        return tactic_sources >> len(known) == 0

    def set_preview_feature(self, feature: Any, enable: bool) -> None:
        self._features += [enum("PreviewFeature")(feature).name] if enable else []

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache:
        return ITimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        fits = cache._known in (b"", f"timings of {VERSION}".encode())
        self._cache = cache if fits else None
        return fits

    def get_timing_cache(self) -> ITimingCache | None:
        return self._cache


class Builder(Strict):
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    @property
    def num_DLA_cores(self) -> int:
        return 0

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        return INetworkDefinition(flags)

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> IHostMemory | None:
        trouble = self._trouble(network, config)
        if trouble:
            self._logger.log(ILogger.ERROR, trouble)
            return None
        if has_class("IProgressMonitor") and config.progress_monitor is not None:
            told = config.progress_monitor
            told.phase_start("Building", None, 1)
            told.phase_start("Timing", "Building", 3)
            assert all(told.step_complete("Timing", step) is True for step in range(3))
            told.phase_finish("Timing")
            assert told.step_complete("Building", 0) is True
            told.phase_finish("Building")
        if config._cache is not None:
            config._cache._known = f"timings of {VERSION}".encode()
        head = {
            "version": VERSION,
            "flags": sorted(flag.name for flag in config._flags) + config._tactics + config._features,
            "profiles": [profile._shapes for profile in config._profiles],
            "pools": config._pools,
            "layers": [self._layer(layer, network, config) for layer in network._layers],
            "detailed": config.profiling_verbosity == Verbosity.DETAILED,
            "settings": {name: str(value) for name, value in vars(config).items() if not name.startswith("_")},
        }
        model = network._model
        if "STRIP_PLAN" in head["flags"]:
            del model.graph.initializer[:]
        text = json.dumps(head).encode()
        return IHostMemory(MAGIC + len(text).to_bytes(8, "little") + text + model.SerializeToString())

    def _trouble(self, network: INetworkDefinition, config: IBuilderConfig) -> str:
        inputs = [network.get_input(index) for index in range(network.num_inputs)]
        free = [value.name for value in inputs if -1 in value.shape or value.is_shape_tensor]
        if any(
            name not in profile._shapes for name in free for profile in config._profiles or [IOptimizationProfile()]
        ):
            return f"{free}: dynamic input without an optimization profile"
        precisions = {flag.name for flag in config._flags} & {"FP16", "BF16", "INT8"}
        if network._typed and precisions:
            return f"{precisions} cannot be set for a strongly typed network"
        return "workspace too small" if config._pools.get("WORKSPACE", 1 << 20) < 1 << 10 else ""

    def _layer(self, layer: ILayer, network: INetworkDefinition, config: IBuilderConfig) -> list[str]:
        kind = layer._kinds[0].name
        lower = next((name for name in ("INT8", "FP16", "BF16") if name in {flag.name for flag in config._flags}), None)
        if not network._typed and kind == "FLOAT" and lower and layer._held is None:
            kind = {"FP16": "HALF"}.get(lower, lower)
        return [layer.name, kind]
