"""What `--preprocess` says: how a picture becomes a model's input. Stated whole; nothing of it is guessed.

The steps, in this order: turned as EXIF says, channels, resize, crop, times scale, less mean, by std, layout.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from dlconv.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

EXAMPLE: Final = (
    "--preprocess 'resize=256 crop=224 channels=rgb scale=1/255 mean=0.485,0.456,0.406 std=0.229,0.224,0.225 "
    "layout=nchw'"
)
_CHANNELS: Final = ("rgb", "bgr", "grey")
_LAYOUTS: Final = ("nchw", "nhwc")
_FILTERS: Final = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")


@dataclass(frozen=True)
class Preprocess:
    """How a picture becomes an array.

    channels: "rgb", "bgr" or "grey". layout: "nchw" or "nhwc". scale: factor of the values 0 to 255, before mean and
    std, a value a channel, or one for all; none of the two where they are (). resize: the shorter side's length, or
    height and width; crop: of the middle, the same. filter: Pillow's, of the resize. name: of the input, "" for the
    only one.
    """

    channels: str
    layout: str
    scale: Fraction
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    resize: int | tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    filter: str = "bilinear"
    name: str = ""

    def __str__(self) -> str:
        """Every step, in the grammar of `parse`."""
        sized = self.resize if isinstance(self.resize, int | None) else "{}x{}".format(*self.resize)
        words: dict[str, Any] = {
            "channels": self.channels,
            "resize": sized,
            "filter": self.filter if self.resize else None,
            "crop": None if self.crop is None else "{}x{}".format(*self.crop),
            "scale": self.scale,
            "mean": ",".join(f"{value:g}" for value in self.mean) or None,
            "std": ",".join(f"{value:g}" for value in self.std) or None,
            "layout": self.layout,
            "input": self.name or None,
        }
        return " ".join(f"{key}={value}" for key, value in words.items() if value is not None)


def parse(text: str) -> Preprocess:
    """The preprocessing that `KEY=VALUE KEY=VALUE ...` says. RequestError with all that is wrong or left out."""
    read, problems = _read(text)
    if problems:
        raise RequestError(f"--preprocess {text!r} is no preprocessing", problems=tuple(problems), mend=EXAMPLE)
    return Preprocess(**read)


def problems_of(text: str) -> list[str]:
    """All that is wrong with a preprocessing, or left out."""
    return [f"--preprocess: {problem}" for problem in _read(text)[1]]


def _read(text: str) -> tuple[dict[str, Any], list[str]]:
    """The fields of a Preprocess, and all that is wrong with the words that say them."""
    words: dict[str, str] = {}
    problems: list[str] = []
    for word in text.split():
        key, equals, value = word.partition("=")
        if key not in _KEYS or not equals:
            problems.append(f"{word!r}: there are {', '.join(f'{name}=' for name in _KEYS)}")
        elif key in words:
            problems.append(f"{key} is said twice")
        else:
            words[key] = value
    read: dict[str, Any] = {}
    for key, value in words.items():
        try:
            read["name" if key == "input" else key] = _KEYS[key](value)
        except (ValueError, ZeroDivisionError) as error:
            problems.append(f"{key}={value}: {error}")
    problems += [f"{key}= is left out" for key in ("channels", "scale", "layout") if key not in words]
    wanted = 1 if words.get("channels") == "grey" else 3
    problems += [
        f"{key} has {len(read[key])} values, and there are {wanted} channels"
        for key in ("mean", "std")
        if len(read.get(key, ())) not in (0, 1, wanted)
    ]
    if any(value == 0 for value in read.get("std", ())):
        problems.append("std divides by zero")
    return read, problems


def _one_of(known: tuple[str, ...]) -> Callable[[str], str]:
    def read_word(text: str) -> str:
        if text.lower() not in known:
            raise ValueError(f"there are {', '.join(known)}")
        return text.lower()

    return read_word


def _size(text: str) -> tuple[int, int]:
    sides = [int(side) for side in text.lower().split("x")]
    if len(sides) not in (1, 2) or min(sides) < 1:
        raise ValueError("wanted N or HEIGHTxWIDTH")
    return sides[0], sides[-1]


def _resize(text: str) -> int | tuple[int, int]:
    return _size(text) if "x" in text.lower() else _size(text)[0]


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(Fraction(number)) for number in text.split(","))


_KEYS: Final[Mapping[str, Callable[[str], Any]]] = {
    "resize": _resize,
    "filter": _one_of(_FILTERS),
    "crop": _size,
    "channels": _one_of(_CHANNELS),
    "scale": Fraction,
    "mean": _numbers,
    "std": _numbers,
    "layout": _one_of(_LAYOUTS),
    "input": str,
}
"""What `--preprocess` knows, and what reads it."""
