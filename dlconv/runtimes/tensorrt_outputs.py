"""The outputs of an execution context: memory on the GPU where shapes are known before a run, and where they depend on
the data an allocator that TensorRT asks during it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.errors import StepError
from dlconv.runtimes.cuda import Device, Memory, Pinned
from dlconv.runtimes.tensorrt_api import shape_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def _allocator(trt: Any, device: Device) -> Any:
    class Allocator(trt.IOutputAllocator):
        """Gives an output as much memory as TensorRT asks for, and keeps the shape that it tells at the end."""

        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)
            self.memory: Memory | None = None
            self.shape: tuple[int, ...] | None = None

        def reallocate_output(self, tensor_name: str, memory: Any, size: int, alignment: int) -> int:
            """Up to TensorRT 9."""
            if self.memory is None or self.memory.size_bytes < size:
                self.memory = Memory(device, size)
            return self.memory.address

        def reallocate_output_async(self, tensor_name: str, memory: Any, size: int, alignment: int, stream: int) -> int:
            """From TensorRT 10 on."""
            return self.reallocate_output(tensor_name, memory, size, alignment)

        def notify_shape(self, tensor_name: str, shape: Any) -> None:
            """The shape of what this run gives."""
            self.shape = shape_of(shape)

    return Allocator()


class Outputs:
    """All outputs of a context, by name with the dtype of each."""

    def __init__(self, trt: Any, context: Any, device: Device, dtypes: Mapping[str, np.dtype[Any]]) -> None:
        self._trt, self._context, self._device, self._dtypes = trt, context, device, dict(dtypes)
        self._memory: dict[str, Memory] = {}
        self._pinned: dict[str, Pinned] = {}
        host = trt.TensorLocation.HOST
        self._on_host = {name for name in dtypes if context.engine.get_tensor_location(name) == host}
        self._host: dict[str, np.ndarray[Any, Any]] = {}
        self._allocators: dict[str, Any] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}

    def bind(self) -> None:
        """Make room for what the next run gives, now that the inputs' shapes are known."""
        for name, dtype in self._dtypes.items():
            shape = self._shapes[name] = shape_of(self._context.get_tensor_shape(name))
            if -1 in shape:
                allocator = self._allocators.setdefault(name, _allocator(self._trt, self._device))
                self._context.set_output_allocator(name, allocator)
                continue
            if name in self._on_host:  # a shape, which TensorRT computes there
                self._host[name] = np.empty(shape, dtype)
                self._context.set_tensor_address(name, self._host[name].ctypes.data)
                continue
            size_bytes = math.prod(shape) * dtype.itemsize
            if name not in self._memory or self._memory[name].size_bytes < size_bytes:
                self._memory[name] = Memory(self._device, size_bytes)
            self._context.set_tensor_address(name, self._memory[name].address)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Outputs whose shape TensorRT tells at the end of a run alone."""
        return tuple(name for name, shape in self._shapes.items() if -1 in shape)

    def read(self, at_end: Callable[[], None] = lambda: None) -> dict[str, np.ndarray[Any, Any]]:
        """What the last run gave, once it is done. at_end: called when all copies are under way."""
        if self._allocators or self._host:
            self._device.wait()  # shapes are told at the end of the run
        found: dict[str, np.ndarray[Any, Any]] = {}
        for name, dtype in self._dtypes.items():
            if name in self._host:
                found[name] = self._host[name]
                continue
            shape, memory = self._shapes[name], self._memory.get(name)
            if -1 in shape:
                shape, memory = self._allocators[name].shape, self._allocators[name].memory
            if memory is None or shape is None:
                raise StepError(f"TensorRT gave no output {name!r}")
            found[name] = self._staging(name, shape, dtype)
            memory.read(found[name])
        at_end()
        self._device.wait()
        return {name: array.copy() for name, array in found.items()}

    def _staging(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """Page-locked memory, which the GPU copies into by itself."""
        size_bytes = math.prod(shape) * dtype.itemsize
        if name not in self._pinned or self._pinned[name].size_bytes < size_bytes:
            self._pinned[name] = Pinned(self._device, size_bytes)
        return self._pinned[name].array(shape, dtype)
