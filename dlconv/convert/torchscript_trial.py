"""Running a module on drawn inputs of a supposed signature, and reading from a failure what size was wanted."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dlconv.convert.torchscript_quantised import packed_sizes
from dlconv.runtimes.torchscript import Argument, call, fresh

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Drawn:
    """One input as it is run: dtype by NumPy's name, sizes, and for integers the range [low, high] of its values."""

    dtype: str
    shape: tuple[int, ...]
    low: int = 0
    high: int = 1


@dataclass
class Outcome:
    """What a run gave. operator counts the operators that ran before the failure; gap pairs sizes that should agree."""

    value: Any = None
    error: str = ""
    kind: str = ""
    operator: int = 0
    gap: tuple[int, int] | None = None
    numbers: tuple[int, ...] = ()
    rows: dict[str, int] = field(default_factory=dict)

    @property
    def ran(self) -> bool:
        return not self.error


def draw(inputs: Mapping[str, Drawn], seed: int) -> dict[str, Any]:
    """Tensors: normal floats, integers of their range, booleans that are mostly true."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    drawn: dict[str, Any] = {}
    for name, item in inputs.items():
        dtype = getattr(torch, item.dtype)
        if dtype.is_floating_point or dtype.is_complex:
            drawn[name] = torch.randn(item.shape, generator=generator, dtype=torch.float32).to(dtype)
        elif dtype == torch.bool:
            drawn[name] = torch.rand(item.shape, generator=generator) < 0.8
        else:
            drawn[name] = torch.randint(item.low, item.high + 1, item.shape, generator=generator).to(dtype)
    return drawn


class Trial:
    """A module under trial. Where it may change its state, each run has a copy of its own."""

    def __init__(self, module: Any, arguments: list[Argument], *, stateful: bool, seed: int) -> None:
        self.module, self.arguments, self.stateful, self.seed = module, arguments, stateful, seed
        self.count = 0

    def run(self, inputs: Mapping[str, Drawn], constants: Mapping[str, Any]) -> Outcome:
        """One run; a failure is an outcome, not an exception."""
        import torch

        self.count += 1
        outcome = Outcome()
        values = {**constants, **draw(inputs, self.seed)}
        torch.manual_seed(self.seed)
        module = fresh(self.module) if self.stateful else self.module
        with torch.no_grad(), warnings.catch_warnings(), _watch(outcome, values):
            warnings.simplefilter("ignore")
            try:
                outcome.value = call(module, self.arguments, values)
            except (RuntimeError, ValueError, IndexError, TypeError, AssertionError, NotImplementedError) as error:
                _explain(outcome, error)
            except torch.jit.Error as error:
                _explain(outcome, error)
        return outcome


def _explain(outcome: Outcome, error: Exception) -> None:
    lines = [line.strip() for line in (outcome.error or str(error)).splitlines() if line.strip()]
    raised = [line for line in lines if re.match(r"[\w.]*Error: \S", line)]
    outcome.error = (raised[-1] if raised else lines[0] if lines else type(error).__name__)[:300]
    outcome.kind = outcome.kind or type(error).__name__
    outcome.numbers = tuple(dict.fromkeys(int(word) for word in re.findall(r"\b\d{1,7}\b", outcome.error)))
    if outcome.gap is None:
        outcome.gap = _gap_in_words(outcome.error)


_WORDS = (
    r"\((\d+)\) must match .*\((\d+)\)",
    r"\(?\d*x?(\d+) and (\d+)x?\d*\)?",
    r"[Ee]xpected (\d+),? (?:but )?got (\d+)",
    r"should contain (\d+) elements not (\d+)",
    r"to have (\d+) channels, but got (\d+)",
    r"is (\d+) \(Supported values?: .*?(\d+)",
)


def _gap_in_words(text: str) -> tuple[int, int] | None:
    for pattern in _WORDS:
        match = re.search(pattern, text)
        if match:
            return int(match.group(1)), int(match.group(2))
    return None


def _watch(outcome: Outcome, values: Mapping[str, Any]) -> Any:
    """A mode that counts the operators that ran, and notes at which sizes the last one failed."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    integers = {id(value): name for name, value in values.items() if _is_integer(value)}
    kept: list[Any] = []

    class Watch(TorchDispatchMode):
        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            return False  # else PyTorch imports its compiler, three seconds of it, to keep it away from this mode

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            name = func._overloadpacket.__name__
            if integers:
                _note_rows(outcome, name, args, integers)
            try:
                answer = func(*args, **(kwargs or {}))
            except Exception as error:
                # On its way through the script's interpreter an exception loses its words.
                outcome.kind, outcome.error = type(error).__name__, str(error)
                outcome.gap = _gap(name, args)
                raise
            if integers and isinstance(answer, torch.Tensor) and name in _MOVES:
                source = next((integers[id(a)] for a in args if id(a) in integers), None)
                if source is not None:
                    integers[id(answer)] = source
                    kept.append(answer)  # an id is a name only while the tensor lives
            outcome.operator += 1
            return answer

    return Watch()


_MOVES = {"view", "_to_copy", "clone", "slice", "unsqueeze", "squeeze", "alias", "detach", "_unsafe_view", "select"}


def _is_integer(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor) and not value.is_floating_point() and value.dtype != torch.bool


def _note_rows(outcome: Outcome, name: str, args: Any, integers: dict[int, str]) -> None:
    if name in {"embedding", "index_select"}:
        table, ids = args[0], args[-1] if name == "index_select" else args[1]
        rows = table.shape[args[1] if name == "index_select" else 0]
    elif name == "_embedding_bag":
        table, ids, rows = args[0], args[1], args[0].shape[0]
    else:
        return
    source = integers.get(id(ids))
    if source is not None:
        outcome.rows[source] = min(rows, outcome.rows.get(source, rows))


def _gap(name: str, args: Any) -> tuple[int, int] | None:
    """Two sizes of the operator's arguments that should have been equal."""
    import torch

    if len(args) > 1 and (sizes := packed_sizes(name, args[1])):
        axis = -1 if len(sizes) == 2 else 1
        return _differ(args[0].shape[axis], sizes[1]) if args[0].dim() > 1 else None
    tensors = [a for a in args if isinstance(a, torch.Tensor)]
    if name in {"mm", "bmm", "matmul"} and len(tensors) == 2:
        return _differ(tensors[0].shape[-1], tensors[1].shape[-2])
    if name in {"addmm", "baddbmm"} and len(tensors) == 3:
        return _differ(tensors[1].shape[-1], tensors[2].shape[-2])
    if name == "convolution":
        channels = args[1].shape[0] if args[6] else args[1].shape[1] * args[8]
        return _differ(args[0].shape[1], channels) if args[0].dim() > 1 else None
    if name == "native_layer_norm":
        return next((g for g in map(_differ, reversed(args[0].shape), reversed(args[1])) if g), None)
    if name in {"view", "_unsafe_view", "reshape"}:
        wanted = 1
        for size in args[1]:
            wanted *= size
        return _differ(args[0].numel(), wanted) if wanted > 0 else None
    if name in {"cat", "stack"}:
        tensors = [a for a in args[0] if a.dim() == args[0][0].dim()]
        axis = args[1] if len(args) > 1 else 0
        shapes = [[s for i, s in enumerate(t.shape) if i != axis % t.dim()] for t in tensors]
        return next((g for shape in shapes[1:] for g in map(_differ, shapes[0], shape) if g), None)
    if len(tensors) >= 2 and name not in {"embedding", "index_select", "gather"}:
        pairs = zip(reversed(tensors[0].shape), reversed(tensors[1].shape), strict=False)
        return next(((a, b) for a, b in pairs if a != b and 1 not in (a, b)), None)
    return None


def _differ(first: int, second: int) -> tuple[int, int] | None:
    return (first, second) if first != second else None
