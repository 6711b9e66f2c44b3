"""Samples: the inputs on which a conversion is judged. Read from the user's file, or drawn (`dlconv.drawing`).

A sample is a tensor a name. All of a model's samples are kept in one .npz whose keys are `NNN.name`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.errors import SamplesError
from dlconv.model import BFLOAT16

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dlconv.model import Signature, TensorSpec

Sample = dict[str, "np.ndarray[Any, Any]"]


@dataclass(frozen=True)
class SampleSet:
    """Samples and where they are from: "user" or "drawn" (then with the seed)."""

    samples: tuple[Sample, ...]
    origin: str
    seed: int | None = None

    @property
    def digest(self) -> str:
        """SHA-256 over names, dtypes, shapes and bytes, in order."""
        whole = hashlib.sha256()
        for sample in self.samples:
            for name in sorted(sample):
                array = np.asarray(sample[name], order="C")
                whole.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
                whole.update(array.tobytes())
        return "sha256:" + whole.hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """As receipts tell it."""
        return {"count": len(self.samples), "origin": self.origin, "seed": self.seed, "digest": self.digest}


def read_npz(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of an .npz file. SamplesError if it is none, or if it would need unpickling."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            if not hasattr(archive, "files"):
                raise SamplesError(
                    f"{path} holds one array, not named ones", wanted="an .npz: np.savez(path, name=...)"
                )
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise SamplesError(f"there is no samples file {path}") from error
    except (OSError, ValueError, EOFError) as error:
        raise SamplesError(f"{path} cannot be read as samples: {error}", wanted="an .npz of plain arrays") from error
    except Exception as error:  # zipfile.BadZipFile and zlib.error among others: all mean a damaged file
        raise SamplesError(f"{path} is damaged: {error}", wanted="an .npz of plain arrays") from error


def read_samples(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The user's arrays by input: an .npz, or a directory of .npz files with the same names, whose arrays are joined
    along their first axis in the order of the files' names, or of .npy files, each named for an input.

    SamplesError for what is none of these, or does not fit together.
    """
    if not path.is_dir():
        return read_npz(path)
    files = sorted(file for file in path.iterdir() if file.suffix in (".npz", ".npy"))
    kinds = {file.suffix for file in files}
    if len(kinds) != 1:
        met = f"{path} holds no samples" if not kinds else f"{path} holds .npz and .npy files"
        raise SamplesError(met, wanted="files of one kind: .npz with an array an input, or INPUT.npy")
    if kinds == {".npy"}:
        return {file.stem: _read_npy(file) for file in files}
    parts = {file: read_npz(file) for file in files}
    names = set(parts[files[0]])
    strange = [file.name for file, arrays in parts.items() if set(arrays) != names]
    if strange:
        raise SamplesError(
            f"{', '.join(strange)} in {path} have other names than {files[0].name}", wanted=", ".join(sorted(names))
        )
    try:
        return {name: np.concatenate([parts[file][name] for file in files]) for name in sorted(names)}
    except ValueError as error:
        raise SamplesError(
            f"the files in {path} do not fit together: {error}", wanted="arrays of equal sizes but for the first axis"
        ) from error


def _read_npy(path: Path) -> np.ndarray[Any, Any]:
    try:
        array: np.ndarray[Any, Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise SamplesError(f"{path} cannot be read as samples: {error}", wanted="an .npy of plain numbers") from error
    return array


def examples(arrays: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, dict[str, Any]]:
    """Dtype, and shape with a batch of one, of each input as a file of samples suggests them."""
    return {
        name: {"dtype": array.dtype.name, "shape": [1, *array.shape[1:]] if array.ndim else []}
        for name, array in arrays.items()
    }


def split(arrays: Mapping[str, np.ndarray[Any, Any]], signature: Signature, path: Path) -> tuple[Sample, ...]:
    """The user's arrays as samples.

    An array with one axis more than its input has a leading axis of samples. One of the same rank is cut along
    its first axis into samples as large as the input's first dimension (one, if that dimension is free).
    Integers are narrowed or widened to the input's integer dtype where all values fit; nothing else is cast,
    but float64 to the model's float32.

    SamplesError lists everything that does not fit.
    """
    if all(_numbered(name) for name in arrays):
        return _numbered_samples(arrays, signature, path)
    names = [spec.name for spec in signature.inputs]
    problems = [f"no array for the input '{name}'" for name in names if name not in arrays]
    problems += [f"'{name}' is no input of the model" for name in arrays if name not in names]
    columns: dict[str, list[np.ndarray[Any, Any]]] = {}
    for spec in signature.inputs:
        if spec.name in arrays:
            try:
                columns[spec.name] = _rows(arrays[spec.name], spec)
            except SamplesError as error:
                problems.append(error.met)
    if not problems and len({len(rows) for rows in columns.values()}) > 1:
        counts = ", ".join(f"{name}: {len(rows)}" for name, rows in columns.items())
        problems.append(f"the arrays hold different numbers of samples ({counts})")
    if problems:
        raise SamplesError(
            f"the samples in {path} do not fit the model",
            wanted=", ".join(str(spec) for spec in signature.inputs),
            mend="one array an input, named for it, with a leading axis of samples",
            problems=tuple(problems),
        )
    return tuple(dict(zip(columns, rows, strict=True)) for rows in zip(*columns.values(), strict=True))


def _numbered(name: str) -> bool:
    number, dot, _ = name.partition(".")
    return bool(dot) and number.isdecimal()


def _numbered_samples(
    arrays: Mapping[str, np.ndarray[Any, Any]], signature: Signature, path: Path
) -> tuple[Sample, ...]:
    samples: dict[str, Sample] = {}
    for key in arrays:
        number, _, name = key.partition(".")
        samples.setdefault(number, {})[name] = arrays[key]
    specs = {spec.name: spec for spec in signature.inputs}
    for number, sample in samples.items():
        if set(sample) != set(specs):
            raise SamplesError(f"sample {number} of {path} has {sorted(sample)}", wanted=f"{sorted(specs)}")
        for name, array in sample.items():
            sample[name] = _cast(array, specs[name])
            if not _fits(array.shape, specs[name]):
                raise SamplesError(f"sample {number} of {path}: '{name}' is {array.shape}", wanted=str(specs[name]))
    return tuple(samples[number] for number in sorted(samples))


def _rows(array: np.ndarray[Any, Any], spec: TensorSpec) -> list[np.ndarray[Any, Any]]:
    array = _cast(array, spec)
    if spec.shape is None:
        raise SamplesError(f"the rank of '{spec.name}' is unknown: give --input {spec.name}:SHAPE")
    if array.ndim == len(spec.shape) + 1 and _fits(array.shape[1:], spec):
        return [np.asarray(row, order="C") for row in array]
    if array.ndim == len(spec.shape) and array.ndim > 0 and _fits((None, *array.shape[1:]), spec):
        size = spec.shape[0] if isinstance(spec.shape[0], int) else 1
        if array.shape[0] and array.shape[0] % size == 0:
            return [np.asarray(part, order="C") for part in np.split(array, array.shape[0] // size)]
    if array.ndim == 0 and not spec.shape:
        return [array]
    raise SamplesError(f"'{spec.name}' has the shape {array.shape}, the model takes {spec!s}")


def _fits(shape: Sequence[int | None], spec: TensorSpec) -> bool:
    if spec.shape is None or len(shape) != len(spec.shape):
        return False
    return all(size is None or isinstance(dim, str) or size == dim for size, dim in zip(shape, spec.shape, strict=True))


def _cast(array: np.ndarray[Any, Any], spec: TensorSpec) -> np.ndarray[Any, Any]:
    wanted = spec.array_dtype
    if array.dtype == wanted:
        return to_bfloat16(array) if spec.dtype == BFLOAT16 else array
    if array.dtype.kind in "iu" and wanted.kind in "iu":
        bounds = np.iinfo(wanted)
        if array.size and (int(array.min()) < bounds.min or int(array.max()) > bounds.max):
            raise SamplesError(f"'{spec.name}' has values beyond {wanted.name}")
        return array.astype(wanted)
    if array.dtype == np.float64 and wanted == np.float32:
        return array.astype(wanted)
    raise SamplesError(f"'{spec.name}' is {array.dtype.name}, the model takes {wanted.name}")


def sizes_of(signature: Signature, samples: Sequence[Sample]) -> dict[str, int]:
    """The size that the first sample has for each of the signature's free dimensions."""
    sizes: dict[str, int] = {}
    for spec in signature.inputs:
        for axis, dim in enumerate(spec.shape or ()):
            if isinstance(dim, str):
                sizes.setdefault(dim, int(samples[0][spec.name].shape[axis]))
    return sizes


def resized(samples: Sequence[Sample], signature: Signature, sizes: Mapping[str, int]) -> Sample:
    """A sample in which each free dimension has another size: the samples joined along it and cut, from the last on,
    and repeated where there are too few. What has no free dimension is the first sample's."""
    made: Sample = {}
    for spec in signature.inputs:
        array = samples[0][spec.name]
        for axis, dim in enumerate(spec.shape or ()):
            if not isinstance(dim, str):
                continue
            parts = [array]
            for sample in reversed(samples):
                alike = sample[spec.name]
                if sum(part.shape[axis] for part in parts) >= sizes[dim] + array.shape[axis]:
                    break
                if np.delete(alike.shape, axis).tolist() == np.delete(array.shape, axis).tolist():
                    parts.insert(0, alike)
            joined = np.concatenate(parts, axis)
            array = np.take(joined, np.arange(sizes[dim]) % joined.shape[axis], axis)
        made[spec.name] = np.asarray(array, order="C")
    return made


def to_bfloat16(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """float32 rounded to the values that bfloat16 has, to the nearest and ties to even; NaN stays NaN."""
    bits = np.asarray(array, dtype=np.float32).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
    return np.where(np.isnan(array), np.float32(np.nan), rounded)


def to_arrays(samples: Sequence[Sample]) -> dict[str, np.ndarray[Any, Any]]:
    """Samples as the arrays of one .npz: keys `NNN.name`. An empty sample leaves its number out."""
    return {f"{index:03d}.{name}": array for index, sample in enumerate(samples) for name, array in sample.items()}


def from_arrays(arrays: Mapping[str, np.ndarray[Any, Any]]) -> tuple[Sample, ...]:
    """What `to_arrays` took apart. SamplesError where the numbers are not 0, 1, 2, ..."""
    found: dict[int, Sample] = {}
    for key, array in arrays.items():
        number, dot, name = key.partition(".")
        if not dot or not number.isdecimal():
            raise SamplesError(f"{key!r} names no tensor of a sample", wanted="NNN.name")
        found.setdefault(int(number), {})[name] = array
    if sorted(found) != list(range(len(found))):
        raise SamplesError(f"samples {sorted(found)} are there", wanted="all of them, numbered from 0")
    return tuple(found[number] for number in range(len(found)))


def read_labels(path: Path, outputs: Sequence[str]) -> dict[str, np.ndarray[Any, Any]]:
    """Right classes by output: an .npz with an array for an output's name, or one array for a model with one output.
    SamplesError for what fits no output."""
    arrays = read_npz(path)
    if len(arrays) == 1 and len(outputs) == 1:
        arrays = dict(zip(outputs, arrays.values(), strict=True))
    strange = [name for name in arrays if name not in outputs]
    if strange or not arrays:
        raise SamplesError(
            f"the labels in {path} are named {', '.join(map(repr, arrays)) or 'nothing'}",
            wanted=f"of the outputs {', '.join(outputs)}",
        )
    wrong = [name for name, array in arrays.items() if array.dtype.kind not in "iu"]
    if wrong:
        raise SamplesError(f"the labels {', '.join(wrong)} in {path} are no integers", wanted="a class each")
    return arrays


def save_npz(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Write named arrays as an .npz, uncompressed."""
    # numpy's own signature takes the names as keywords, where one might be a parameter's.
    np.savez(path, **dict(arrays))  # type: ignore[arg-type]
