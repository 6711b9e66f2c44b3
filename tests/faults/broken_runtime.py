"""A runtime adapter with a fault in it: ONNX Runtime, and what a bad runtime would make of its answers.

Runs in workers; settings: {"fault": one of FAULTS}.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.runtimes import onnxruntime

if TYPE_CHECKING:
    from dlconv.model import Signature

Tensors = dict[str, np.ndarray[Any, Any]]


class Broken:
    """A session whose `run` answers as the real one does, and then spoils it."""

    def __init__(self, path: Path, signature: Signature, fault: str) -> None:
        self._real = onnxruntime.open(path, signature, {})
        self._spoil = FAULTS[fault]
        self.answered: list[Tensors] = []

    def run(self, inputs: Tensors) -> Tensors:
        right = {name: array.copy() for name, array in self._real.run(inputs).items()}
        given = self._spoil(self, right)
        self.answered.append(right)
        return given

    def placement(self) -> dict[str, Any]:
        return self._real.placement()


def open(path: Path | str, signature: Signature, settings: dict[str, Any]) -> Broken:
    return Broken(Path(path), signature, settings["fault"])


def _each(change: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]) -> Callable[[Broken, Tensors], Tensors]:
    return lambda _, right: {name: change(array) for name, array in right.items()}


def _floats(change: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]) -> Callable[[Broken, Tensors], Tensors]:
    return _each(lambda array: change(array).astype(array.dtype) if array.dtype.kind == "f" else array)


def _stale(session: Broken, right: Tensors) -> Tensors:
    last = session.answered[-1] if session.answered else right
    return last if all(last[name].shape == right[name].shape for name in right) else right


def _repeated(session: Broken, right: Tensors) -> Tensors:
    first = session.answered[0] if session.answered else right
    return first if all(first[name].shape == right[name].shape for name in right) else right


def _state(session: Broken, right: Tensors) -> Tensors:
    """What the last call left is a thousandth part of this one's answer."""
    last = _stale(session, right)
    return {name: (array + last[name] / 1000).astype(array.dtype) for name, array in right.items()}


def _one_nan(session: Broken, right: Tensors) -> Tensors:
    if len(session.answered) == 3:
        name = next(name for name, array in right.items() if array.dtype.kind == "f")
        right[name] = right[name].copy()
        right[name].flat[right[name].size // 2] = np.nan
    return right


def _first_row_for_all(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.repeat(array[:1], len(array), axis=0) if array.ndim else array


def _bfloat16(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    bits = np.asarray(array, np.float32, order="C").view(np.uint32)
    return ((bits + 0x8000) & np.uint32(0xFFFF0000)).view(np.float32)


def _noise(session: Broken, right: Tensors) -> Tensors:
    random = np.random.default_rng(len(session.answered))
    return {name: (a * (1 + 1e-6 * random.standard_normal(a.shape))).astype(a.dtype) for name, a in right.items()}


def _last_element_wrong(session: Broken, right: Tensors) -> Tensors:
    for array in right.values():
        array.flat[-1] *= np.float32(1.001)
    return right


def _die(session: Broken, right: Tensors) -> Tensors:
    os.kill(os.getpid(), signal.SIGSEGV)
    return right


def _refuse(session: Broken, right: Tensors) -> Tensors:
    if len(session.answered) == 5:
        raise RuntimeError("an internal error of the runtime")
    return right


def _first_alone(session: Broken, right: Tensors) -> Tensors:
    del right[list(right)[-1]]
    return right


FAULTS: dict[str, Callable[[Broken, Tensors], Tensors]] = {
    "stale": _stale,
    "repeated": _repeated,
    "state kept": _state,
    "one NaN": _one_nan,
    "all NaN": _floats(lambda array: array * np.nan),
    "first row for all": _each(_first_row_for_all),
    "batch turned": _each(lambda array: array[::-1] if array.ndim else array),
    "constant": _floats(np.zeros_like),
    "bfloat16": _floats(_bfloat16),
    "float16": _floats(lambda array: array.astype(np.float16)),
    "shifted": _floats(lambda array: array + 1000),
    "scaled": _floats(lambda array: array * np.float32(1.0001)),
    "noise": _noise,
    "last element": _last_element_wrong,
    "sign of zero region": _floats(lambda array: np.maximum(array, 0)),
    "dies": _die,
    "refuses": _refuse,
    "output lost": _first_alone,
    "output more": lambda _, right: {**right, "more": np.zeros(3, np.float32)},
    "names changed": lambda _, right: {f"{name}:0": array for name, array in right.items()},
    "no names": lambda _, right: {},
    "float64": _each(lambda array: array.astype(np.float64)),
    "flattened": _each(lambda array: array.reshape(-1)),
    "axis more": _each(lambda array: array[None]),
    "batch lost": _each(lambda array: array[:1]),
    "transposed": _each(lambda array: np.swapaxes(array, -1, -2) if array.ndim > 1 else array),
    "infinite": _floats(lambda array: np.where(array == array.max(), np.inf, array)),
    "wrapped": _each(lambda array: array.astype(np.int32).astype(array.dtype) if array.dtype == np.int64 else array),
    "clipped": _floats(lambda array: np.clip(array, -1, 1)),
}
"""What becomes of the right answers, by the fault's name."""
