"""Pictures as samples: a folder of them, through a preprocessing (`dlconv.asked.preprocess`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dlconv.errors import PackagesMissing, RequestError, SamplesError

if TYPE_CHECKING:
    from pathlib import Path

    from dlconv.asked.preprocess import Preprocess
    from dlconv.model import Signature, TensorSpec
    from dlconv.samples import Sample

SUFFIXES: Final = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""Of the files that make a folder one of images."""

_CHANNELS: Final = {"rgb": "RGB", "bgr": "RGB", "grey": "L"}
_LOSSLESS: Final = {"1", "L", "P", "RGB", "CMYK", "YCbCr"}
"""Pillow's modes of 8 bits without transparency: turned to RGB or grey without a choice."""
_LISTED: Final = 20


def are_images(folder: Path) -> bool:
    """Whether the folder, or one in it, holds a picture, and no array."""
    found = {path.suffix.lower() for path in _files(folder)}
    return bool(found & SUFFIXES) and not found & {".npz", ".npy"}


def read(folder: Path, how: Preprocess, signature: Signature) -> tuple[Sample, ...]:
    """A sample a picture, in the order of the files' paths; folders in the folder are gone into, hidden files are not.

    Raises SamplesError with all files that are no picture or not such a one, RequestError where the model's input is
    not made for such arrays, PackagesMissing without Pillow.
    """
    spec = _input_of(how, signature)
    opened = _pillow()
    samples: list[Sample] = []
    problems: list[str] = []
    for path in _files(folder):
        try:
            samples.append({spec.name: _fitting(_array(opened, path, how), spec, how)})
        except SamplesError as error:
            problems.append(f"{path.relative_to(folder)}: {error.met}")
    if problems:
        more = [f"and {len(problems) - _LISTED} more"] if len(problems) > _LISTED else []
        raise SamplesError(
            f"{len(problems)} files in {folder} cannot be used",
            wanted=f"pictures that the preprocessing makes {spec}",
            mend="take them out of the folder, or change --preprocess",
            problems=(*problems[:_LISTED], *more),
        )
    return tuple(samples)


def _files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _input_of(how: Preprocess, signature: Signature) -> TensorSpec:
    inputs = signature.own.inputs
    chosen = [spec for spec in inputs if how.name in ("", spec.name)]
    if len(inputs) != 1 or not chosen:
        raise RequestError(
            f"pictures are samples of one input, and the model has {', '.join(map(str, inputs))}",
            wanted=f"the input {how.name}" if how.name and not chosen else "a model of one input",
            mend="an .npz with an array an input",
        )
    (spec,) = chosen
    if spec.dtype not in ("float32", "float64", "uint8"):
        raise RequestError(f"pictures give float32 or uint8, and the model takes {spec}", mend="an .npz of samples")
    if spec.dtype == "uint8" and (how.scale != 1 or how.mean or how.std):
        raise RequestError(f"the model takes {spec}: values from 0 to 255 as they are", mend="scale=1, no mean, no std")
    return spec


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise PackagesMissing(
            f"pictures cannot be read here: {error}", wanted="the extra `images`", mend="pip install 'dlconv[images]'"
        ) from error
    return Image


def _array(opened: Any, path: Path, how: Preprocess) -> np.ndarray[Any, Any]:
    """The picture as float64, one axis for the batch."""
    from PIL import ImageOps

    try:
        with opened.open(path) as image:
            if getattr(image, "n_frames", 1) > 1:
                raise SamplesError(f"it has {image.n_frames} frames")
            if image.mode not in _LOSSLESS or "transparency" in image.info:
                raise SamplesError(f"it is {image.mode}, with transparency or more than 8 bits a channel")
            turned = ImageOps.exif_transpose(image).convert(_CHANNELS[how.channels])
            array = np.asarray(_sized(opened, turned, how), np.float64)
    except SamplesError:
        raise
    except Exception as error:  # of damaged files Pillow raises whatever its decoders do
        raise SamplesError(f"it is no picture that can be read: {error}") from error
    array = array[:, :, np.newaxis] if array.ndim == 2 else array
    array = array[:, :, ::-1] if how.channels == "bgr" else array
    array = array * float(how.scale) - (np.asarray(how.mean) if how.mean else 0.0)
    array = array / (np.asarray(how.std) if how.std else 1.0)
    return (array.transpose(2, 0, 1) if how.layout == "nchw" else array)[np.newaxis]


def _sized(opened: Any, image: Any, how: Preprocess) -> Any:
    width, height = image.size
    if how.resize is not None:
        if isinstance(how.resize, int):
            short = min(width, height)
            height, width = (max(1, round(side * how.resize / short)) for side in (height, width))
        else:
            height, width = how.resize
        image = image.resize((width, height), getattr(opened.Resampling, how.filter.upper()))
    if how.crop is not None:
        tall, wide = how.crop
        if tall > height or wide > width:
            raise SamplesError(f"it is {height}x{width}, and {tall}x{wide} cannot be cut out of it")
        top, left = (height - tall) // 2, (width - wide) // 2
        image = image.crop((left, top, left + wide, top + tall))
    return image


def _fitting(array: np.ndarray[Any, Any], spec: TensorSpec, how: Preprocess) -> np.ndarray[Any, Any]:
    """As the input takes it: an input of rank 3 has no batch."""
    shape = spec.shape
    if shape is not None and len(shape) == array.ndim - 1:
        array = array[0]
    if shape is not None and (
        len(shape) != array.ndim
        or any(isinstance(dim, int) and dim != size for dim, size in zip(shape, array.shape, strict=True))
    ):
        raise SamplesError(f"{how.layout} makes it {'x'.join(map(str, array.shape))}, and the model takes {spec}")
    return np.asarray(array, spec.dtype, order="C")
