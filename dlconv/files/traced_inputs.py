"""The inputs that a TorchScript archive was traced with: `torch.jit.trace` stores their shapes and dtypes.

They lie in a pickle of their own. It is read by its opcodes, as every pickle here: nothing is unpickled.
"""

from __future__ import annotations

import pickletools
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_MEMBER = "/traced_inputs.pkl"
_MAX_BYTES = 1 << 20
_DTYPES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}  # fmt: skip
_REBUILD = "torch._utils _rebuild_tensor_v2"
_TAG = "torch.jit._pickle restore_type_tag"
_PUSHES = {"BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"}
_MADE: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclass(frozen=True)
class Traced:
    """A tensor that the module was traced with; dtype is "" where it is none that NumPy's names tell."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class _Global:
    name: str


class _Mark:
    pass


def traced_inputs(path: str) -> list[Any]:
    """forward's arguments in order: `Traced`, plain values, containers of them. Empty where the archive tells none."""
    try:
        with zipfile.ZipFile(path) as archive:
            member = next((info for info in archive.infolist() if info.filename.endswith(_MEMBER)), None)
            if member is None or member.file_size > _MAX_BYTES:
                return []
            told = _replayed(archive.read(member))
    except (OSError, zipfile.BadZipFile, ValueError, IndexError, TypeError, KeyError, AttributeError):
        # It is a hint alone: an archive that other code wrote in another way is read as one without it.
        return []
    inputs = told.get("forward") if isinstance(told, dict) else None
    return inputs if isinstance(inputs, list) else []


def _replayed(pickle: bytes) -> Any:
    """The value that the opcodes describe, of plain containers and `Traced`. ValueError at any other opcode."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for opcode, argument, _ in pickletools.genops(pickle):
        name = opcode.name
        if name in _PUSHES:
            stack.append(argument)
        elif name in _MADE:
            stack.append(_MADE[name]())
        elif name == "GLOBAL":
            stack.append(_Global(str(argument)))
        elif name == "MARK":
            stack.append(_Mark())
        elif name in {"BINPUT", "LONG_BINPUT"}:
            memo[int(argument or 0)] = stack[-1]
        elif name in {"BINGET", "LONG_BINGET"}:
            stack.append(memo[int(argument or 0)])
        elif name in _TUPLES:
            stack[-_TUPLES[name] :] = [tuple(stack[-_TUPLES[name] :])]
        elif name in {"TUPLE", "APPENDS", "SETITEMS"}:
            _gather(name, stack)
        elif name == "APPEND":
            item = stack.pop()
            stack[-1].append(item)
        elif name == "SETITEM":
            key, value = stack[-2:]
            del stack[-2:]
            stack[-1][key] = value
        elif name == "BINPERSID":
            stack.append(_dtype_of(stack.pop()))
        elif name == "REDUCE":
            arguments = stack.pop()
            stack.append(_called(stack.pop(), arguments))
        elif name not in {"PROTO", "FRAME", "STOP"}:
            raise ValueError(f"an opcode {name} among the inputs of a trace")
    return stack[-1]


def _gather(name: str, stack: list[Any]) -> None:
    """What stands above the last mark, put into a tuple, or into the list or dict below the mark."""
    at = max(index for index, item in enumerate(stack) if isinstance(item, _Mark))
    items = stack[at + 1 :]
    del stack[at:]
    if name == "TUPLE":
        stack.append(tuple(items))
    elif name == "APPENDS":
        stack[-1].extend(items)
    else:
        stack[-1].update(zip(items[::2], items[1::2], strict=True))


def _dtype_of(storage: Any) -> str:
    # ("storage", its class, key, device, number of elements)
    return _DTYPES.get(storage[1].name.rpartition(" ")[2], "")


def _called(function: _Global, arguments: tuple[Any, ...]) -> Any:
    if function.name == _TAG:
        return arguments[0]
    if function.name == _REBUILD:
        # (storage, offset, sizes, strides, requires_grad, hooks)
        return Traced(arguments[0], tuple(int(size) for size in arguments[2]))
    return None
