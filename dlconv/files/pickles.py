"""What a pickle holds, told from its opcodes. Nothing is ever unpickled: a pickle runs code when it is loaded."""

from __future__ import annotations

import io
import pickletools
from dataclasses import dataclass
from typing import IO

_MAX_READ_BYTES = 256 << 20
_MAX_OPCODES = 8_000_000
_LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."

# Attributes that every torch.nn.Module has in its pickled state.
_MODULE_MARKS = {"_parameters", "_buffers", "_modules"}
_TRAINING_MARKS = {"optimizer", "optimizer_state_dict", "epoch", "global_step", "param_groups", "lr_schedulers"}
_TENSORS = ("torch._utils.", "torch._tensor.", "torch.storage.")
_PLUMBING = (*_TENSORS, "collections.", "builtins.", "__builtin__.", "numpy.", "copyreg.", "_codecs.")
_PUTS = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}
_GETS = {"GET", "BINGET", "LONG_BINGET"}


@dataclass(frozen=True)
class Pickled:
    """kind: "module" (an object with torch.nn.Module's state), "weights" (tensors in plain containers),
    "checkpoint" (weights and the state of a training), "object" (anything else).

    classes: the classes that it would import, "module.Class", in order, those of tensors and containers left out.
    root: the class of the object itself, where it is an object of a class.
    """

    kind: str
    classes: tuple[str, ...]
    root: str


class _Bounded(io.BytesIO):
    """A stream that refuses to give more than a pickle without its tensors' data has."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__()
        self._stream = stream
        self._left = _MAX_READ_BYTES

    def _take(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise ValueError("more opcodes than a model's pickle has")
        return data

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0 or size > self._left:
            raise ValueError(f"an opcode of {size} bytes")
        return self._take(self._stream.read(size))

    def readline(self, size: int | None = -1) -> bytes:
        return self._take(self._stream.readline(1 << 16))


def is_pickle(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a pickle of protocol 2 to 5."""
    return len(head) > 2 and head[0] == 0x80 and 2 <= head[1] <= 5


def look(stream: IO[bytes]) -> Pickled:
    """What the pickle holds that starts at the stream's position. Raises ValueError if it is damaged."""
    head = stream.read(len(_LEGACY_MAGIC) + 2)
    stream.seek(-len(head), io.SEEK_CUR)
    bounded = _Bounded(stream)
    if head[2:] == _LEGACY_MAGIC:
        # torch.save before 1.6: magic number, protocol version and system info are pickles before the object's.
        for _ in range(3):
            for _ in pickletools.genops(bounded):
                pass
    return _classify(bounded)


def _classify(stream: _Bounded) -> Pickled:
    names: list[str] = []
    strings: set[str] = set()
    recent: list[str] = []
    memo: dict[int, str] = {}
    memoized = 0
    last = first = ""
    for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        if count > _MAX_OPCODES:
            raise ValueError("more opcodes than a model's pickle has")
        name = opcode.name
        pushed = argument if isinstance(argument, str) and "UNICODE" in name else ""
        if name in _PUTS:
            if last:
                memo[memoized if argument is None else int(argument)] = last
            memoized += 1
        elif name in _GETS:
            pushed = memo.get(int(argument or 0), "")
        elif name == "GLOBAL":
            names.append(str(argument).replace(" ", "."))
        elif name == "STACK_GLOBAL" and len(recent) == 2:
            names.append(".".join(recent))
        if pushed:
            recent = [*recent[-1:], pushed]
            strings.add(pushed)
        elif not first and name not in _PUTS and name not in ("PROTO", "FRAME"):
            first = name
        last = pushed
    root = names[0] if names and first in ("GLOBAL", "STACK_GLOBAL") else ""
    return Pickled(_kind(names, strings), tuple(name for name in names if not _is_plain(name)), root)


def _kind(names: list[str], strings: set[str]) -> str:
    if strings >= _MODULE_MARKS:
        return "module"
    if any(name.startswith(_TENSORS) for name in names):
        return "checkpoint" if strings & _TRAINING_MARKS else "weights"
    return "object"


def _is_plain(name: str) -> bool:
    return name.startswith(_PLUMBING) or (name.startswith("torch.") and name.endswith("Storage"))
