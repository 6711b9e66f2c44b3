"""The emulation of a precision against witnesses that share no code with it: NumPy's and PyTorch's own roundings, the
same graph with pairs of casts run whole by ONNX Runtime, and PyTorch computing in bfloat16."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dlconv.convert.onnx_signature import read
from dlconv.model import Signature
from dlconv.runtimes import onnx_rounded
from dlconv.runtimes.onnx_rounding import rounding

pytestmark = pytest.mark.onnx

_HOSTILE = runpy.run_path(str(Path(__file__).parents[1] / "hostile" / "onnx_files.py"))
_value, _node, _stored, _save = (_HOSTILE[name] for name in ("_value", "_node", "_stored", "_save"))
_FLOAT, _BOOL = 1, 9
_CODES = {"float16": 10, "bfloat16": 16}
_BITS = arrays(np.uint32, st.integers(1, 64), elements=st.integers(0, 2**32 - 1))
# Ties, the least subnormals and half of them, the largest numbers and what is just beyond, zeros, infinities, a NaN.
_SPECIAL = np.array(
    [1 + 2**-11, 1 + 3 * 2**-11, 1 + 2**-8, 1 + 3 * 2**-8, 2**-24, 2**-25, 3 * 2**-26, 2**-133, 2**-134, 65504,
     65519.99, 65520, -65520, 3.3895e38, 3.4e38, 0.0, -0.0, np.inf, -np.inf, np.nan],
    np.float32,
).view(np.uint32)  # fmt: skip


def _run(path: Path, precision: str, inputs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The outputs, and what was lost."""
    session = onnx_rounded.open(path, Signature.from_dict(read(str(path))["signature"]), {"precision": precision})
    return session.run(inputs), session.placement()["losses"]


def _bfloat16(x: Any) -> Any:
    """To the nearest, ties to even, on the bits of float32."""
    bits = np.asarray(x, np.float32).view(np.uint32).astype(np.uint64)
    up = ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
    return np.where(np.isnan(x), np.float32(np.nan), up)


def _float16(x: Any) -> Any:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(x, np.float32).astype(np.float16).astype(np.float32)


_BY_HAND = {"float16": _float16, "bfloat16": _bfloat16}


def _same(a: Any, b: Any) -> bool:
    """Equal, signs of zeros too."""
    return bool(np.array_equal(a, b, equal_nan=True) and np.array_equal(np.signbit(a[a == 0]), np.signbit(b[b == 0])))


@given(_BITS)
@example(_SPECIAL)
@pytest.mark.parametrize("precision", sorted(_CODES))
def test_rounding_is_exact_and_its_losses_are_counted(precision: str, bits: Any) -> None:
    x = bits.view(np.float32)
    rounded, losses = rounding(precision).through(x)
    wanted = _BY_HAND[precision](x)
    assert _same(rounded, wanted)
    finite, least = np.isfinite(x), 2.0**-14 if precision == "float16" else 2.0**-126
    assert losses.overflows == np.count_nonzero(finite & np.isinf(wanted))
    assert losses.underflows == np.count_nonzero((x != 0) & (wanted == 0))
    assert losses.subnormals == np.count_nonzero((wanted != 0) & (np.abs(wanted) < least))
    assert losses.largest == np.abs(x[finite]).max(initial=0)


def _with_casts(path: Path, precision: str) -> Path:
    """The model with a pair of casts behind every weight, input and float output of a node: all tensors are float32."""
    import onnx

    model = onnx.load(path)
    fresh = iter(range(1 << 30))

    def pair(wide: str, name: str) -> list[Any]:
        narrow = f"narrow{next(fresh)}"
        return [_node("Cast", [wide], [narrow], to=_CODES[precision]), _node("Cast", [narrow], [name], to=_FLOAT)]

    def rewrite(graph: Any, seen: dict[str, str]) -> None:
        seen, nodes = dict(seen), []
        for value in (*graph.input, *graph.initializer):
            kind = value.type.tensor_type.elem_type if hasattr(value, "type") else value.data_type
            if kind == _FLOAT:
                seen[value.name] = f"{value.name}_rounded"
                nodes += pair(value.name, seen[value.name])
        for node in graph.node:
            node.input[:] = [seen.get(name, name) for name in node.input]
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    rewrite(attribute.g, seen)
            wide = [f"{name}_wide" for name in node.output]
            pairs = [each for w, name in zip(wide, node.output, strict=True) for each in pair(w, name)]
            node.output[:] = wide
            nodes += [node, *pairs]
        del graph.node[:]
        graph.node.extend(nodes)

    rewrite(model.graph, {})
    target = path.with_name(f"{precision}.onnx")
    onnx.save(model, target)
    return target


def _whole(path: Path, inputs: dict[str, Any]) -> dict[str, Any]:
    """What ONNX Runtime answers, its optimisation off."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, inputs), strict=True))


def _mixed(folder: Path) -> tuple[Path, dict[str, Any]]:
    """A convolution, an activation, a norm, a softmax and an If whose branches compute; every tensor is an output."""
    from onnx import helper

    rng = np.random.default_rng(0)
    weights = [
        _stored("k", rng.standard_normal((8, 3, 3, 3)).astype(np.float32) / 5),
        _stored("m", rng.standard_normal((36, 16)).astype(np.float32) / 6),
        _stored("g", rng.standard_normal(16).astype(np.float32)),
        _stored("third", np.float32(1 / 3)),
    ]

    def branch(name: str, kind: str) -> Any:
        nodes = [_node("Mul", ["norm", "third"], [f"{name}_t"]), _node(kind, [f"{name}_t"], [f"{name}_out"])]
        return helper.make_graph(nodes, name, [], [_value(f"{name}_out", [1, 8, 16])])

    nodes = [
        _node("Conv", ["x", "k"], ["conv"]),
        _node("Sigmoid", ["conv"], ["act"]),
        _node("Reshape", ["act", "form"], ["rows"]),
        _node("MatMul", ["rows", "m"], ["mat"]),
        _node("LayerNormalization", ["mat", "g"], ["norm"]),
        _node("If", ["up"], ["chosen"], then_branch=branch("then", "Exp"), else_branch=branch("else", "Tanh")),
        _node("Softmax", ["chosen"], ["y"]),
    ]
    weights.append(_stored("form", np.array([1, 8, 36], np.int64)))
    shapes = {"conv": [1, 8, 6, 6], "act": [1, 8, 6, 6], "rows": [1, 8, 36]}
    shapes |= {name: [1, 8, 16] for name in ("mat", "norm", "chosen", "y")}
    outputs = [_value(name, shape) for name, shape in shapes.items()]
    path = _save(folder, nodes, [_value("x", [1, 3, 8, 8]), _value("up", [], _BOOL)], outputs, weights)
    return path, {"x": rng.standard_normal((1, 3, 8, 8)).astype(np.float32)}


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("precision", sorted(_CODES))
def test_it_answers_as_the_graph_with_casts_does(precision: str, up: bool, tmp_path: Path) -> None:
    path, inputs = _mixed(tmp_path)
    inputs["up"] = np.array(up)
    got, _ = _run(path, precision, inputs)
    wanted = _whole(_with_casts(path, precision), inputs)
    plain = _whole(path, inputs)
    unit = 2.0**-11 if precision == "float16" else 2.0**-8
    for name, answer in got.items():
        assert _same(answer, _BY_HAND[precision](answer)), f"{name} is not rounded"
        # Two kernels may sum in another order, which moves a rounding by one place, seldom.
        gap = np.abs(answer - wanted[name]) / np.maximum(np.abs(wanted[name]), 2.0**-14)
        assert np.quantile(gap, 0.9) == 0 and gap.max() <= 4 * unit, name
        assert not np.array_equal(answer, plain[name]), f"{name}: nothing was rounded on the way"


@pytest.mark.parametrize("precision", sorted(_CODES))
def test_within_a_branch_too_every_tensor_is_rounded(precision: str, tmp_path: Path) -> None:
    from onnx import helper

    # x/3 - x*(a third), which float32 finds to be about 1e-8, is 0 or a unit of the precision where each is rounded.
    nodes = [_node("Mul", ["x", "third"], ["t"]), _node("Mul", ["t", "three"], ["b"]), _node("Sub", ["b", "x"], ["r"])]
    body = helper.make_graph(nodes, "then", [], [_value("r", [64])],
                             [_stored("third", np.float32(1 / 3)), _stored("three", np.float32(3))])  # fmt: skip
    other = helper.make_graph([_node("Neg", ["x"], ["n"])], "else", [], [_value("n", [64])])
    path = _save(tmp_path, [_node("If", ["up"], ["y"], then_branch=body, else_branch=other)],
                 [_value("x", [64]), _value("up", [], _BOOL)], [_value("y", [64])])  # fmt: skip
    x = np.random.default_rng(1).uniform(1, 2, 64).astype(np.float32)
    by_hand = _BY_HAND[precision]
    third, rounded = by_hand(np.float32(1 / 3)), by_hand(x)
    wanted = by_hand(by_hand(by_hand(rounded * third) * np.float32(3)) - rounded)
    got, losses = _run(path, precision, {"x": x, "up": np.array(True)})
    assert np.array_equal(got["y"], wanted) and np.abs(wanted).max() > 1e-4
    assert losses["tensors"] >= 5, "what a branch stores and computes is counted, too"


def test_a_product_beyond_float16_is_infinite_though_onnx_runtime_hides_it(tmp_path: Path) -> None:
    import onnxruntime as ort

    def model(kind: int, dtype: Any) -> Path:
        nodes = [_node("MatMul", ["x", "w"], ["h"]), _node("MatMul", ["h", "v"], ["y"])]
        weights = [_stored("w", np.full((4, 4), 200, dtype)), _stored("v", np.full((4, 4), 1e-4, dtype))]
        path = _save(tmp_path, nodes, [_value("x", [1, 4], kind)], [_value("y", [1, 4], kind)], weights)
        return path.rename(tmp_path / f"{np.dtype(dtype).name}.onnx")

    x = np.full((1, 4), 100, np.float32)  # 4 * 100 * 200 = 80000
    half = model(10, np.float16)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    runtime = ort.InferenceSession(str(half), options, providers=["CPUExecutionProvider"])
    (told,) = runtime.run(None, {"x": x.astype(np.float16)})
    got, losses = _run(model(_FLOAT, np.float32), "float16", {"x": x})
    assert np.isinf(got["y"]).all()
    assert np.isfinite(told).all(), "ONNX Runtime's CPU hides it no more: docs/parity.md says it does"
    (worst,) = [each for each in losses["worst"] if each["overflows"]]
    assert (worst["tensor"], worst["operator"], worst["overflows"], worst["largest"]) == ("h", "MatMul", 4, 80000.0)
    assert losses["overflows"] == 4


def test_what_underflows_in_weights_and_tensors_is_counted(tmp_path: Path) -> None:
    w = np.array([1e-9, 1e-6, 1.0, 0.0], np.float32)
    path = _save(tmp_path, [_node("Mul", ["x", "w"], ["h"]), _node("Mul", ["h", "x"], ["y"])],
                 [_value("x", [4])], [_value("y", [4])], [_stored("w", w)])  # fmt: skip
    _, losses = _run(path, "float16", {"x": np.array([1, 1e-3, 1e-3, 1], np.float32)})
    found = {each["tensor"]: (each["operator"], each["underflows"], each["subnormals"]) for each in losses["worst"]}
    assert found["w"] == ("weight", 1, 1)
    assert found["h"] == ("Mul", 1, 0), "1e-6 * 1e-3 is 0; 0 * 1 always was"
    assert found["y"] == ("Mul", 0, 1)
    assert (losses["underflows"], losses["subnormals"], losses["overflows"]) == (2, 2, 0)


def test_sizes_are_not_rounded(tmp_path: Path) -> None:
    # 1.7 in bfloat16 is 1.703, and 1001 is 1000: either would change the shapes.
    nodes = [
        _node("Resize", ["x", "", "scales"], ["big"], mode="nearest"),
        _node("Shape", ["n"], ["dims"]),
        _node("Cast", ["dims"], ["width"], to=_FLOAT),
        _node("Squeeze", ["width"], ["length"]),
        _node("Range", ["zero", "length", "one"], ["steps"]),
    ]
    weights = [_stored("scales", np.array([1, 1, 1.7, 1.7], np.float32)), _stored("zero", np.float32(0)),
               _stored("one", np.float32(1))]  # fmt: skip
    outputs = [_value("big", [1, 1, "h", "w"]), _value("steps", ["s"])]
    path = _save(tmp_path, nodes, [_value("x", [1, 1, 1000, 1]), _value("n", ["n"])], outputs, weights)
    inputs = {"x": np.ones((1, 1, 1000, 1), np.float32), "n": np.ones(1001, np.float32)}
    got, _ = _run(path, "bfloat16", inputs)
    assert got["big"].shape == (1, 1, 1700, 1) and got["steps"].shape == (1001,)


@pytest.mark.torch
def test_its_bfloat16_noise_is_that_of_torch_computing_in_bfloat16(tmp_path: Path) -> None:
    import torch

    torch.manual_seed(0)

    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = torch.nn.Conv2d(3, 32, 4, stride=4)
            self.norms = torch.nn.ModuleList(torch.nn.LayerNorm(32) for _ in range(2))
            self.q, self.k, self.v, self.out = (torch.nn.Linear(32, 32) for _ in range(4))
            self.wide, self.narrow = torch.nn.Linear(32, 128), torch.nn.Linear(128, 32)

        def forward(self, x: Any) -> Any:
            tokens = self.stem(x).flatten(2).transpose(1, 2)
            n = self.norms[0](tokens)
            weights = torch.softmax(self.q(n) @ self.k(n).transpose(1, 2) / 32**0.5, -1)
            tokens = tokens + self.out(weights @ self.v(n))
            return tokens + self.narrow(torch.relu(self.wide(self.norms[1](tokens))))

    block, x = Block().eval(), torch.randn(2, 3, 32, 32)
    path = tmp_path / "block.onnx"
    torch.onnx.export(block, (x,), str(path), input_names=["x"], output_names=["y"], dynamo=False)
    got, _ = _run(path, "bfloat16", {"x": x.numpy()})
    with torch.no_grad():
        exact = block.double()(x.double()).numpy()
        real = block.bfloat16()(x.bfloat16()).float().numpy()
    emulated, measured = (float(np.sqrt(np.mean((answer - exact) ** 2))) for answer in (got["y"], real))
    assert 1 / 3 < measured / emulated < 3
    assert emulated > 1e-4 * np.sqrt(np.mean(exact**2)), "nothing was rounded"
