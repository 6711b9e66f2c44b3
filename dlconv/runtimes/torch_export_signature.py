"""The signature of an exported program (.pt2): names, dtypes, and the free sizes, which the file itself holds."""

from __future__ import annotations

from typing import Any

from dlconv.model import Dim, Signature, TensorSpec
from dlconv.runtimes.torch_program import load_exported, user_input_names, written_buffers
from dlconv.runtimes.torchscript import dtype_name, named_tensors

NO_LIMIT = 1 << 40


def read(path: str) -> dict[str, Any]:
    """{"signature", "notes", "ranges" (free size -> [least, greatest or None]), "bounds" (integer input -> range of its
    values), "sizes" (free size -> two sizes in its range), "stateful", "state", "deterministic", "training"}."""
    return read_program(load_exported(path))


def with_outputs(program: Any, signature: Signature) -> Signature:
    """The signature, with the program's own outputs where it has none."""
    if signature.outputs:
        return signature
    outputs = Signature.from_dict(read_program(program)["signature"]).outputs
    return Signature(signature.inputs, outputs, signature.constants)


def read_program(program: Any) -> dict[str, Any]:
    """As `read`, of a program that is loaded."""
    names = _Names(program)
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    inputs, constants = [], []
    for name, constant in user_input_names(program).items():
        if hasattr(values[name], "shape"):
            inputs.append(TensorSpec(name, dtype_name(values[name].dtype), names.shape(values[name], name)))
        elif constant is not None:
            constants.append((name, constant))
    outputs = tuple(
        TensorSpec(name, dtype_name(value.dtype), names.shape(value, name)) for name, value in _outputs(program).items()
    )
    state = written_buffers(program)
    return {
        "signature": Signature(tuple(inputs), outputs, tuple(constants)).to_dict(),
        "notes": [f"the program writes to its buffers {', '.join(state)}"] if state else [],
        "tried": [],
        "flag": " ".join(f"--input {spec}" for spec in inputs),
        "ranges": names.ranges,
        "sizes": {name: _two_sizes(*names.ranges[name], names.hints[name]) for name in names.ranges},
        "bounds": _bounds(program, {spec.name for spec in inputs if spec.dtype.startswith(("int", "uint"))}),
        "stateful": bool(state),
        "state": state,
        "deterministic": True,
        "training": False,
    }


class _Names:
    """Names of symbolic sizes: the first axis is "batch", others are named for the input that has them."""

    def __init__(self, program: Any) -> None:
        self._limits = {str(symbol): limits for symbol, limits in program.range_constraints.items()}
        self._known: dict[str, str] = {}
        self.ranges: dict[str, tuple[int, int | None]] = {}
        self.hints: dict[str, int] = {}

    def shape(self, value: Any, owner: str) -> tuple[Dim, ...]:
        return tuple(self._size(size, owner, axis) for axis, size in enumerate(value.shape))

    def _size(self, size: Any, owner: str, axis: int) -> Dim:
        if isinstance(size, int):
            return size
        text = str(size)
        if text in self._known:
            return self._known[text]
        if text not in self._limits:
            return f"{owner}_{axis}"  # computed from the free sizes
        name = "batch" if axis == 0 and "batch" not in self.ranges else f"{owner}_{axis}"
        self._known[text] = name
        self.ranges[name] = _limits(self._limits[text])
        self.hints[name] = int(size.node.hint) if size.node.has_hint() else 2
        return name


def _limits(limits: Any) -> tuple[int, int | None]:
    upper = limits.upper
    is_open = not getattr(upper, "is_Integer", isinstance(upper, int)) or int(upper) > NO_LIMIT
    return max(1, int(limits.lower)), None if is_open else int(upper)


def _two_sizes(least: int, greatest: int | None, traced: int) -> list[int]:
    other = next(
        (s for s in (traced + 1, traced * 2, traced - 1, least) if s >= least and s <= (greatest or s)), traced
    )
    return list(dict.fromkeys([traced, other]))


def _outputs(program: Any) -> dict[str, Any]:
    """The fake tensors of the outputs, named by their place in what the program returns."""
    from torch.export.graph_signature import OutputKind
    from torch.utils._pytree import tree_unflatten

    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    specs = [spec.arg for spec in program.graph_signature.output_specs if spec.kind == OutputKind.USER_OUTPUT]
    flat = [values.get(arg.name) if hasattr(arg, "name") and arg.name in values else None for arg in specs]
    return named_tensors(tree_unflatten(flat, program.call_spec.out_spec))


def _bounds(program: Any, integers: set[str]) -> dict[str, list[int]]:
    """Integers that index a table lie under its rows; others are 0 or 1, as masks are."""
    bounds = {name: [0, 1] for name in integers}
    for node in program.graph.nodes:
        if node.op == "call_function" and str(node.target) == "aten.embedding.default":
            table, ids = node.args[0].meta.get("val"), node.args[1]
            while ids.name not in integers and ids.op == "call_function" and hasattr(ids.args[0], "op"):
                if str(ids.target).split(".")[1] not in {
                    "to",
                    "_to_copy",
                    "view",
                    "reshape",
                    "slice",
                    "clone",
                    "unsqueeze",
                }:
                    break
                ids = ids.args[0]
            if ids.name in integers and table is not None:
                rows = int(table.shape[0]) - 1
                bounds[ids.name] = [0, min(rows, bounds[ids.name][1]) if bounds[ids.name][1] > 1 else rows]
    return bounds
