"""The values that travel: tensor specifications, signatures, artifacts. All immutable."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from dlconv.formats import Format

BFLOAT16: Final = "bfloat16"
"""No dtype of NumPy's: arrays of such tensors are float32, of values that bfloat16 has."""

Dim = int | str
"""A dimension: its size, or the name of a size that is free."""


@dataclass(frozen=True)
class TensorSpec:
    """A named input or output.

    dtype is NumPy's name of it ("float32", "int64", "bool"; "bfloat16" and "string" besides).
    shape holds sizes and names; an unknown rank is None.
    source is the name of the source model's tensor that this one stands for ("" where it is the same name).
    permutation tells the layout: axis i of this tensor is axis permutation[i] of the source's tensor
    (empty where the axes are the same).
    scale and zero_point: of a tensor that its model quantises. An integer q stands for scale * (q - zero_point); a
    float is rounded to steps of scale inside the model, 0.0 where each call finds its own step ("dynamic range").
    scale is None where nothing is quantised.
    boundary: the source's dtype, where this tensor has another on purpose: what goes in is rounded to
    it (to the integers of scale and zero_point, where it has them), what comes out is read by it. "" where it is the
    same.
    """

    name: str
    dtype: str
    shape: tuple[Dim, ...] | None
    source: str = ""
    permutation: tuple[int, ...] = ()
    scale: float | None = None
    zero_point: int = 0
    boundary: str = ""

    @property
    def source_name(self) -> str:
        return self.source or self.name

    @property
    def array_dtype(self) -> np.dtype[Any]:
        """Of the arrays that hold such a tensor. Raises TypeError for a dtype that NumPy lacks ("string")."""
        import numpy as np  # the command line does without it until it works

        return np.dtype("float32" if self.dtype == BFLOAT16 else self.dtype)

    @property
    def is_dynamic(self) -> bool:
        return self.shape is None or any(isinstance(size, str) for size in self.shape)

    def to_dict(self) -> dict[str, Any]:
        """As JSON; "scale" and "zero_point" stand there only where the tensor is quantised, "boundary" where it has
        another dtype than the source's."""
        return {
            "name": self.name,
            "dtype": self.dtype,
            "shape": None if self.shape is None else list(self.shape),
            "source": self.source_name,
            "permutation": list(self.permutation),
            **({} if self.scale is None else {"scale": self.scale, "zero_point": self.zero_point}),
            **({"boundary": self.boundary} if self.boundary else {}),
        }

    @staticmethod
    def from_dict(data: dict[str, Any]) -> TensorSpec:
        shape = data["shape"]
        source = data.get("source", "")
        return TensorSpec(
            name=data["name"],
            dtype=data["dtype"],
            shape=None if shape is None else tuple(shape),
            source="" if source == data["name"] else source,
            permutation=tuple(data.get("permutation", ())),
            scale=data.get("scale"),
            zero_point=data.get("zero_point", 0),
            boundary=data.get("boundary", ""),
        )

    def __str__(self) -> str:
        """As `--input` writes it: NAME:SHAPE:DTYPE."""
        shape = "?" if self.shape is None else "x".join(str(size) for size in self.shape)
        return f"{self.name}:{shape}:{self.dtype}"


@dataclass(frozen=True)
class StateSpec:
    """A piece of state that an artifact is given and gives back: the names of its input and of its output, and the
    attribute of the source that holds it there."""

    input: str
    output: str
    attribute: str

    def to_dict(self) -> dict[str, Any]:
        return {"input": self.input, "output": self.output, "attribute": self.attribute}

    @staticmethod
    def from_dict(data: dict[str, Any]) -> StateSpec:
        return StateSpec(data["input"], data["output"], data["attribute"])


@dataclass(frozen=True)
class Signature:
    """Named inputs and outputs, in the order of the model's own declaration.

    constants are arguments of the source that are no tensors (a sample rate, a flag): they are baked into
    what is made from it.
    state: of the inputs and outputs, those that the source keeps inside. What a call gives as one is what the next
    call takes; the first takes the values that lie beside the artifact (`dlconv.runtimes.state`).
    entry: which of a file's entry points this is (the key of a SavedModel's or a TFLite file's signature), "" where
    there are none by name.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...] = ()
    constants: tuple[tuple[str, int | float | bool | str | None], ...] = ()
    state: tuple[StateSpec, ...] = ()
    entry: str = ""

    @property
    def own(self) -> Signature:
        """The signature without state: what the source takes and gives as well."""
        taken, given = {state.input for state in self.state}, {state.output for state in self.state}
        return Signature(
            tuple(spec for spec in self.inputs if spec.name not in taken),
            tuple(spec for spec in self.outputs if spec.name not in given),
            self.constants,
            entry=self.entry,
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON; "state" and "entry_point" stand there only where there are some."""
        return {
            "inputs": [spec.to_dict() for spec in self.inputs],
            "outputs": [spec.to_dict() for spec in self.outputs],
            "constants": [list(pair) for pair in self.constants],
            **({"state": [state.to_dict() for state in self.state]} if self.state else {}),
            **({"entry_point": self.entry} if self.entry else {}),
        }

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Signature:
        return Signature(
            inputs=tuple(TensorSpec.from_dict(spec) for spec in data["inputs"]),
            outputs=tuple(TensorSpec.from_dict(spec) for spec in data["outputs"]),
            constants=tuple((name, value) for name, value in data.get("constants", ())),
            state=tuple(StateSpec.from_dict(state) for state in data.get("state", ())),
            entry=data.get("entry_point", ""),
        )


@dataclass(frozen=True)
class Artifact:
    """A model on disk. path is a file or a directory; digest is that of its content."""

    path: Path
    format: Format
    signature: Signature | None
    digest: str


def files_of(path: Path) -> Iterator[Path]:
    """The files that `path` consists of, in a stable order: itself, or all below it."""
    if path.is_dir():
        yield from sorted(p for p in path.rglob("*") if p.is_file())
    else:
        yield path


def digest_of(path: Path) -> str:
    """SHA-256 of a file's content, or of the names and digests of a directory's files, as 'sha256:HEX'."""
    if not path.is_dir():
        with path.open("rb") as file:
            return "sha256:" + _sha256(file)
    whole = hashlib.sha256()
    for file_path in files_of(path):
        whole.update(file_path.relative_to(path).as_posix().encode() + b"\0")
        with file_path.open("rb") as file:
            whole.update(_sha256(file).encode() + b"\n")
    return "sha256:" + whole.hexdigest()


def _sha256(file: Any) -> str:
    # hashlib.file_digest came with Python 3.11; 3.10 is supported.
    state = hashlib.sha256()
    while block := file.read(1 << 20):
        state.update(block)
    return state.hexdigest()
