"""Memory, streams and events of an NVIDIA GPU by the driver's own C interface (`cuda.h`): no package is needed.

What a call gives is freed with the object that holds it. Addresses and handles are plain integers, as TensorRT takes
them. One thread uses a device.
"""

from __future__ import annotations

import ctypes
import math
import sys
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dlconv.errors import MachineError
from dlconv.runtimes.nvidia_driver import LIBRARIES, error_name

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray[Any, Any]
_OUT_OF_MEMORY: Final = 2
_THREAD_LOCAL: Final = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads' calls are none of the graph's


class Device:
    """The first GPU that is visible, its primary context made current: the one that CUDA's runtime, and so TensorRT,
    works in. `stream` is one of its own."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(LIBRARIES.get(sys.platform, LIBRARIES["linux"]))
        self.call("cuInit", ctypes.c_uint(0))
        device, context, stream = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
        self.call("cuDeviceGet", ctypes.byref(device), ctypes.c_int(0))
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self.call("cuCtxSetCurrent", context)
        self.call("cuStreamCreate", ctypes.byref(stream), ctypes.c_uint(0))
        self.stream = int(stream.value or 0)

    def call(self, function: str, *arguments: Any) -> None:
        """A function of the driver. Raises MemoryError where the GPU has none left, else MachineError."""
        if not hasattr(self._library, function):
            raise MachineError(f"the NVIDIA driver has no {function}", wanted="a newer one", mend="update the driver")
        code = int(getattr(self._library, function)(*arguments))
        if code == _OUT_OF_MEMORY:
            raise MemoryError(f"the GPU is out of memory: {function} answers {error_name(self._library, code)}")
        if code:
            raise MachineError(f"the NVIDIA driver's {function} answers {error_name(self._library, code)}")

    def free_memory(self) -> tuple[int, int]:
        """The GPU's memory that nobody has, and all of it, in bytes."""
        free, whole = ctypes.c_size_t(), ctypes.c_size_t()
        self.call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(whole))
        return free.value, whole.value

    def wait(self) -> None:
        """Until all work on the stream is done."""
        self.call("cuStreamSynchronize", ctypes.c_void_p(self.stream))


class Memory:
    """A piece of the GPU's memory, of `size_bytes` (one at least: no address is null)."""

    def __init__(self, device: Device, size_bytes: int) -> None:
        self._device, self.address = device, 0
        self.size_bytes = max(1, size_bytes)
        address = ctypes.c_uint64()
        device.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(self.size_bytes))
        self.address = address.value

    def write(self, array: Array) -> None:
        """Copy a contiguous array here, in the stream's order. The array is kept as it is until `Device.wait`."""
        self._copy("cuMemcpyHtoDAsync_v2", ctypes.c_uint64(self.address), ctypes.c_void_p(array.ctypes.data), array)

    def read(self, array: Array) -> None:
        """Copy what is here into a contiguous array, in the stream's order: it is there after `Device.wait`."""
        self._copy("cuMemcpyDtoHAsync_v2", ctypes.c_void_p(array.ctypes.data), ctypes.c_uint64(self.address), array)

    def _copy(self, function: str, to: Any, of: Any, array: Array) -> None:
        if array.nbytes > self.size_bytes or not array.flags.c_contiguous:
            raise ValueError(f"{array.nbytes} bytes do not lie as {self.size_bytes} bytes of the GPU do")
        if array.nbytes:
            stream = ctypes.c_void_p(self._device.stream)
            self._device.call(function, to, of, ctypes.c_size_t(array.nbytes), stream)

    def __del__(self) -> None:
        if getattr(self, "address", 0):
            self._device.call("cuMemFree_v2", ctypes.c_uint64(self.address))
            self.address = 0


class Pinned:
    """Page-locked memory of the host, of `size_bytes`: the GPU copies from and to it by itself."""

    def __init__(self, device: Device, size_bytes: int) -> None:
        self._device, self._address = device, 0
        self.size_bytes = max(1, size_bytes)
        address = ctypes.c_void_p()
        device.call("cuMemHostAlloc", ctypes.byref(address), ctypes.c_size_t(self.size_bytes), ctypes.c_uint(0))
        self._address = int(address.value or 0)

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """The memory as an array. It is not to be used once this object is gone."""
        size_bytes = math.prod(shape) * dtype.itemsize
        if size_bytes > self.size_bytes:
            raise ValueError(f"{size_bytes} bytes do not fit into {self.size_bytes}")
        raw: Any = (ctypes.c_char * size_bytes).from_address(self._address)
        return np.frombuffer(raw, dtype).reshape(shape)

    def __del__(self) -> None:
        if getattr(self, "_address", 0):
            self._device.call("cuMemFreeHost", ctypes.c_void_p(self._address))
            self._address = 0


class Graph:
    """Work that was put into the stream once, and is launched as a whole: a CUDA graph (CUDA 11.4 and newer)."""

    def __init__(self, device: Device, put: Callable[[], None]) -> None:
        """put: puts the work into the device's stream; it is recorded, not done. Raises MachineError where the driver
        cannot record it: what waits for the GPU, or asks for memory, cannot be."""
        self._device = device
        self._graph, self._launched = ctypes.c_void_p(), ctypes.c_void_p()
        stream = ctypes.c_void_p(device.stream)
        device.call("cuStreamBeginCapture_v2", stream, ctypes.c_int(_THREAD_LOCAL))
        try:
            put()
        finally:  # else the stream stays of no use
            device.call("cuStreamEndCapture", stream, ctypes.byref(self._graph))
        flags = ctypes.c_ulonglong(0)
        device.call("cuGraphInstantiateWithFlags", ctypes.byref(self._launched), self._graph, flags)

    def launch(self) -> None:
        """Do it all, in the stream's order."""
        self._device.call("cuGraphLaunch", self._launched, ctypes.c_void_p(self._device.stream))

    def __del__(self) -> None:
        for function, handle in (("cuGraphExecDestroy", self._launched), ("cuGraphDestroy", self._graph)):
            if handle.value:
                self._device.call(function, handle)


class Clock:
    """Times that the GPU itself takes: events in the stream, in milliseconds from one to the next."""

    def __init__(self, device: Device, events: int) -> None:
        self._device = device
        self._events = [ctypes.c_void_p() for _ in range(events)]
        for event in self._events:
            device.call("cuEventCreate", ctypes.byref(event), ctypes.c_uint(0))

    def mark(self, number: int) -> None:
        """The time at which the stream comes to here."""
        self._device.call("cuEventRecord", self._events[number], ctypes.c_void_p(self._device.stream))

    def intervals_ms(self) -> list[float]:
        """Between the marks, once the stream has come to the last: after `Device.wait`."""
        told: list[float] = []
        for first, second in zip(self._events, self._events[1:], strict=False):
            value = ctypes.c_float()
            self._device.call("cuEventElapsedTime", ctypes.byref(value), first, second)
            told.append(value.value)
        return told
