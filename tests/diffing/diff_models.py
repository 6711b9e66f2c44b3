"""Networks drawn from a seed, and faults planted in them, for tests of `dlconv diff`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Network:
    """A file, and the name of the planted operator ("" where there is none)."""

    path: Path
    planted: str


def encoder(folder: Path, seed: int, *, overflow: bool = False, name: str = "model") -> Network:
    """Blocks of attention-free mixing: LayerNorm, MatMul, bias, Gelu or Relu or Tanh, MatMul, residual; all drawn.

    overflow: one MatMul, drawn as well, gives some 1e6, and a Mul after it brings that back.
    """
    from onnx import helper

    rng = np.random.default_rng(seed)
    width, blocks = int(rng.choice([16, 24, 32])), int(rng.integers(3, 7))
    chosen = int(rng.integers(0, 2 * blocks))
    nodes: list[Any] = []
    weights: dict[str, np.ndarray[Any, Any]] = {}
    current, planted = "x", ""
    for block in range(blocks):
        weights |= {f"scale{block}": np.ones(width, np.float32), f"shift{block}": np.zeros(width, np.float32)}
        nodes.append(
            helper.make_node(
                "LayerNormalization", [current, f"scale{block}", f"shift{block}"], [f"n{block}"], f"norm{block}"
            )
        )
        inner, sizes = f"n{block}", ((width, 2 * width), (2 * width, width))
        for half, size in enumerate(sizes):
            label = f"{block}.{half}"
            weight = rng.standard_normal(size).astype(np.float32) / np.float32(np.sqrt(size[0]))
            is_chosen = 2 * block + half == chosen
            if overflow and is_chosen:
                weight, planted = weight * np.float32(1e6), f"matmul{label}"
            weights |= {
                f"w{label}": weight,
                f"b{label}": rng.standard_normal(size[1]).astype(np.float32) * np.float32(0.1),
            }
            nodes.append(helper.make_node("MatMul", [inner, f"w{label}"], [f"m{label}"], f"matmul{label}"))
            inner = f"m{label}"
            if overflow and is_chosen:
                weights["small"] = np.float32(1e-6)
                nodes.append(helper.make_node("Mul", [inner, "small"], [f"s{label}"], f"rescale{label}"))
                inner = f"s{label}"
            nodes.append(helper.make_node("Add", [inner, f"b{label}"], [f"a{label}"], f"bias{label}"))
            inner = f"a{label}"
            if half == 0:
                kind = str(rng.choice(["Relu", "Tanh", "Sigmoid"]))
                nodes.append(helper.make_node(kind, [inner], [f"f{label}"], f"{kind.lower()}{label}"))
                inner = f"f{label}"
        nodes.append(helper.make_node("Add", [current, inner], [f"r{block}"], f"residual{block}"))
        current = f"r{block}"
    nodes.append(helper.make_node("Softmax", [current], ["y"], "softmax"))
    return Network(_saved(folder / f"{name}.onnx", nodes, weights, width), planted)


def altered(network: Network, seed: int) -> Network:
    """A copy in which one MatMul's weights are drawn from a coarse grid: 15 steps for all of them."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(network.path)
    node = _matmul(model, seed)
    for tensor in model.graph.initializer:
        if tensor.name == node.input[1]:
            weight = numpy_helper.to_array(tensor)
            step = np.abs(weight).max() / np.float32(7)
            tensor.CopyFrom(numpy_helper.from_array(np.round(weight / step) * step, tensor.name))
    path = network.path.with_name("altered.onnx")
    onnx.save_model(model, str(path))
    return Network(path, str(node.name))


def quantised(network: Network, seed: int) -> tuple[Network, Network]:
    """The model with one MatMul that is sensitive, an outlier among its weights; and a copy whose MatMuls all have
    weights of int8, a scale a tensor."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(network.path)
    sensitive = _matmul(model, seed)
    for tensor in model.graph.initializer:
        if tensor.name == sensitive.input[1]:
            weight = np.array(numpy_helper.to_array(tensor))
            weight[0, 0] = 40 * np.abs(weight).max()
            tensor.CopyFrom(numpy_helper.from_array(weight, tensor.name))
    reference = network.path.with_name("sensitive.onnx")
    onnx.save_model(model, str(reference))
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    added = []
    for node in [each for each in model.graph.node if each.op_type == "MatMul"]:
        name = node.input[1]
        scale = np.abs(stored[name]).max() / np.float32(127)
        stored |= {f"{name}_q": np.round(stored[name] / scale).astype(np.int8), f"{name}_scale": np.float32(scale)}
        added.append(helper.make_node("DequantizeLinear", [f"{name}_q", f"{name}_scale"], [name], f"dequantise_{name}"))
        del stored[name]
    nodes = [*added, *model.graph.node]
    path = _saved(
        network.path.with_name("int8.onnx"), nodes, stored, model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    )
    return Network(reference, str(sensitive.name)), Network(path, str(sensitive.name))


def _matmul(model: Any, seed: int) -> Any:
    nodes = [node for node in model.graph.node if node.op_type == "MatMul"]
    return nodes[int(np.random.default_rng(seed + 1000).integers(0, len(nodes)))]


def _saved(path: Path, nodes: list[Any], weights: dict[str, Any], width: int) -> Path:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "drawn",
        [value("x", TensorProto.FLOAT, [4, width])],
        [value("y", TensorProto.FLOAT, [4, width])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path
