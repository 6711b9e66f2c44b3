"""ONNX files that break tools: refused ones, and valid ones that crash or hang a framework. Each is made anew.

`FILES` names a maker for each; a maker writes into a directory and returns the path of the model. What dies of which,
as measured with onnx 1.23.2, onnxruntime 1.31.1, onnxsim 0.8.1, onnxslim 0.1.98 and openvino 2026.4.1, stands in each
maker's docstring.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Maker = Callable[[Path], Path]


def _value(name: str, shape: list[Any] | None = None, kind: int = 1) -> Any:
    from onnx import helper

    return helper.make_tensor_value_info(name, kind, [1, 4] if shape is None else shape)


def _save(
    folder: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: list[Any] | None = None
) -> Path:
    import onnx
    from onnx import helper

    graph = helper.make_graph(nodes, "hostile", inputs, outputs, weights or [])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save_model(model, str(folder / "model.onnx"))
    return folder / "model.onnx"


def _node(kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Any:
    from onnx import helper

    return helper.make_node(kind, inputs, outputs, **attributes)


def _stored(name: str, values: Any) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(np.asarray(values), name)


def empty(folder: Path) -> Path:
    """No byte: OpenVINO and onnxslim accept it."""
    (folder / "model.onnx").write_bytes(b"")
    return folder / "model.onnx"


def noise(folder: Path) -> Path:
    """Random bytes."""
    (folder / "model.onnx").write_bytes(np.random.default_rng(0).bytes(4096))
    return folder / "model.onnx"


def truncated(folder: Path) -> Path:
    """A good model, cut in half."""
    path = _save(folder, [_node("MatMul", ["x", "w"], ["y"])], [_value("x")], [_value("y")],
                 [_stored("w", np.ones((4, 4), np.float32))])  # fmt: skip
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def cycle(folder: Path) -> Path:
    """Two nodes that wait for each other."""
    nodes = [_node("Add", ["x", "b"], ["a"]), _node("Relu", ["a"], ["b"])]
    return _save(folder, nodes, [_value("x")], [_value("b")])


def dangling(folder: Path) -> Path:
    """A node reads what nobody makes."""
    return _save(folder, [_node("Add", ["x", "nowhere"], ["y"])], [_value("x")], [_value("y")])


def unknown_operator(folder: Path) -> Path:
    """An operator that ONNX does not have."""
    return _save(folder, [_node("Frobnicate", ["x"], ["y"])], [_value("x")], [_value("y")])


def made_twice(folder: Path) -> Path:
    """Two nodes make one tensor."""
    nodes = [_node("Relu", ["x"], ["y"]), _node("Neg", ["x"], ["y"])]
    return _save(folder, nodes, [_value("x")], [_value("y")])


def bad_shape(folder: Path) -> Path:
    """A product of matrices that do not fit."""
    weights = [_stored("w", np.ones((5, 4), np.float32))]
    return _save(folder, [_node("MatMul", ["x", "w"], ["y"])], [_value("x")], [_value("y")], weights)


def no_outputs(folder: Path) -> Path:
    """A graph without outputs."""
    return _save(folder, [_node("Relu", ["x"], ["y"])], [_value("x")], [])


def no_inputs_to_a_node(folder: Path) -> Path:
    """A convolution of nothing: ends OpenVINO by SIGSEGV."""
    return _save(folder, [_node("Conv", [], ["y"])], [_value("x")], [_value("y")])


def no_kernel(folder: Path) -> Path:
    """MaxPool over windows of size 0: ends onnx2tf by SIGFPE."""
    pool = _node("MaxPool", ["x"], ["y"], kernel_shape=[0, 0])
    return _save(folder, [pool], [_value("x", [1, 1, 4, 4])], [_value("y", None)])


def _external(folder: Path, location: str, length_bytes: int = 64) -> Path:
    import onnx

    weights = [_stored("w", np.ones((4, 4), np.float32))]
    path = _save(folder, [_node("MatMul", ["x", "w"], ["y"])], [_value("x")], [_value("y")], weights)
    model = onnx.load(str(path))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(length_bytes))):
        tensor.external_data.add(key=key, value=value)
    onnx.save_model(model, str(path))
    return path


def external_above(folder: Path) -> Path:
    """Weights in a file of the directory above, which is there."""
    (folder / "inner").mkdir()
    (folder / "secret.bin").write_bytes(bytes(64))
    return _external(folder / "inner", "../secret.bin")


def external_absolute(folder: Path) -> Path:
    """Weights at an absolute path, which is there."""
    (folder / "secret.bin").write_bytes(bytes(64))
    return _external(folder, str(folder / "secret.bin"))


def external_link(folder: Path) -> Path:
    """Weights behind a symbolic link that leaves the directory."""
    (folder / "inner").mkdir()
    (folder / "secret.bin").write_bytes(bytes(64))
    (folder / "inner" / "weights.bin").symlink_to(folder / "secret.bin")
    return _external(folder / "inner", "weights.bin")


def external_missing(folder: Path) -> Path:
    """Weights in a file that is not there."""
    return _external(folder, "weights.bin")


def external_short(folder: Path) -> Path:
    """Weights in a file that is too short."""
    (folder / "weights.bin").write_bytes(bytes(10))
    return _external(folder, "weights.bin")


def external_in_a_constant(folder: Path) -> Path:
    """The weights of a Constant node within a branch lie in the directory above."""
    import onnx
    from onnx import helper

    tensor = onnx.TensorProto(name="w", data_type=1, dims=[1, 4], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../secret.bin")
    branch = helper.make_graph([_node("Constant", [], ["c"], value=tensor)], "branch", [], [_value("c")])
    node = _node("If", ["condition"], ["y"], then_branch=branch, else_branch=branch)
    (folder / "inner").mkdir()
    (folder / "secret.bin").write_bytes(bytes(16))
    return _save(folder / "inner", [node], [_value("condition", [], 9)], [_value("y")])


REFUSED: dict[str, Maker] = {
    maker.__name__: maker
    for maker in (
        empty, noise, truncated, cycle, dangling, unknown_operator, made_twice, bad_shape, no_outputs,
        no_inputs_to_a_node, external_above, external_absolute, external_link, external_missing, external_short,
        external_in_a_constant,
    )
}  # fmt: skip
"""What no edge may take: each is a FormatError."""


def layer_normalization(folder: Path) -> Path:
    """Valid, with an optional input left empty at its end: ends ONNX Runtime by SIGSEGV from level "extended" on."""
    weights = [_stored("scale", np.ones(4, np.float32))]
    node = _node("LayerNormalization", ["x", "scale", ""], ["y"])
    return _save(folder, [node], [_value("x")], [_value("y")], weights)


def endless_loop(folder: Path) -> Path:
    """Valid: a Loop without end over constants alone. ONNX Runtime fills the memory with its rows; onnxslim hangs."""
    from onnx import helper

    size = 1 << 22
    body = helper.make_graph(
        [_node("Identity", ["going"], ["still"]), _node("Identity", ["kept"], ["next"]),
         _node("Cos", ["kept"], ["row"])],
        "body",
        [_value("turn", [], 7), _value("going", [], 9), _value("kept", [size])],
        [_value("still", [], 9), _value("next", [size]), _value("row", [size])],
    )  # fmt: skip
    weights = [_stored("true", np.array(True)), _stored("size", np.array([size], np.int64))]
    nodes = [
        _node("ConstantOfShape", ["size"], ["start"]),
        _node("Loop", ["", "true", "start"], ["last", "rows"], body=body),
        _node("ReduceMean", ["rows"], ["mean"], keepdims=0),
        _node("Add", ["x", "mean"], ["y"]),
    ]
    return _save(folder, nodes, [_value("x")], [_value("y")], weights)


def strings(folder: Path) -> Path:
    """Valid: strings as input and output. OpenVINO converts it and cannot run it."""
    node = _node("Identity", ["x"], ["y"])
    return _save(folder, [node], [_value("x", [1, 4], 8)], [_value("y", [1, 4], 8)])


def nested_ifs(folder: Path, depth: int = 30) -> Path:
    """Valid: conditions within conditions. OpenVINO takes over a minute."""
    from onnx import helper

    def branch(level: int) -> Any:
        if level == 0:
            nodes = [_node("Relu", ["x"], ["r0"])]
        else:
            nodes = [_node("If", ["c"], [f"r{level}"], then_branch=branch(level - 1), else_branch=leaf(level))]
        return helper.make_graph(nodes, f"branch{level}", [], [_value(f"r{level}")])

    def leaf(level: int) -> Any:
        return helper.make_graph([_node("Neg", ["x"], [f"e{level}"])], f"leaf{level}", [], [_value(f"e{level}")])

    node = _node("If", ["c"], ["y"], then_branch=branch(depth - 1), else_branch=leaf(depth))
    return _save(folder, [node], [_value("x"), _value("c", [], 9)], [_value("y")])


def long_chain(folder: Path, length: int = 20_000) -> Path:
    """Valid: a chain of very many small nodes. OpenVINO takes over a minute."""
    names = ["x", *(f"t{place}" for place in range(length - 1)), "y"]
    kinds = ("Neg", "Abs", "Relu", "Sigmoid")
    nodes = [_node(kinds[place % 4], [names[place]], [names[place + 1]]) for place in range(length)]
    return _save(folder, nodes, [_value("x")], [_value("y")])


def huge_constant(folder: Path) -> Path:
    """Valid and 200 bytes small: asks for 64 GB."""
    weights = [_stored("shape", np.array([16_000_000_000], np.int64)), _stored("axes", np.array([0], np.int64))]
    nodes = [_node("ConstantOfShape", ["shape"], ["zeros"]), _node("ReduceMax", ["zeros"], ["top"], keepdims=0),
             _node("Add", ["x", "top"], ["y"])]  # fmt: skip
    return _save(folder, nodes, [_value("x")], [_value("y")], weights)


DEADLY: dict[str, Maker] = {
    maker.__name__: maker
    for maker in (
        layer_normalization, endless_loop, strings, nested_ifs, long_chain, huge_constant, no_inputs_to_a_node,
        no_kernel,
    )
}  # fmt: skip
"""What kills, hangs or fills a framework that is given it as it is; most of them are valid models."""

FILES: dict[str, Maker] = {**REFUSED, **DEADLY}
"""All of them."""
