"""Calibration: the samples on which an int8 edge finds the ranges of activations. One set serves all targets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dlconv import images
from dlconv import samples as sampling
from dlconv.asked import named_function, preprocess
from dlconv.asked.precisions import CALIBRATED
from dlconv.drawing import draw
from dlconv.errors import RequestError, SamplesError
from dlconv.samples import SampleSet

if TYPE_CHECKING:
    from dlconv.asked.options import ExportOptions
    from dlconv.model import Signature
    from dlconv.reference.source import Source

RECOMMENDED: Final = 32
"""Samples. Fewer leave ranges to chance: a note says so."""


def check(options: ExportOptions) -> None:
    """Raises, before any work, RequestError where there is nothing to calibrate on, SamplesError for no such file."""
    if options.precision not in CALIBRATED:
        return
    if options.calibration:
        _require_there(options.calibration)
        _require_said(options.calibration, options.preprocess)
    elif options.samples is None and not options.allow_random_calibration:
        raise RequestError(
            f"{options.precision} needs calibration samples: ranges that random numbers give fit no real input",
            wanted=f"real inputs, {RECOMMENDED} or more",
            mend="--calibration FILE.npz|DIR|MODULE:FUNCTION, or --samples FILE.npz; "
            "--allow-random-calibration to do without, which the verdict tells",
        )


def of(options: ExportOptions, source: Source) -> SampleSet | None:
    """The calibration samples that an export uses; None where its precision needs none.

    They are those of `--calibration`, else the user's own `--samples`, else, where that is allowed, drawn ones. Raises
    as `check`, and SamplesError for what does not fit the source's signature.
    """
    if options.precision not in CALIBRATED:
        return None
    check(options)
    if options.calibration:
        return SampleSet(read(options.calibration, source.signature, options.preprocess), "user")
    if source.samples.origin == "user":
        first, *others = source.samples.samples
        # Those of other sizes are made of these, and some methods take samples of one size alone.
        alike = [each for each in others if all(each[name].shape == array.shape for name, array in first.items())]
        return SampleSet((first, *alike), "user")
    sizes = sampling.sizes_of(source.signature, source.samples.samples)
    # Other numbers than the samples' own, or the judge would be shown what the ranges were fitted to.
    return draw(source.signature, RECOMMENDED, options.seed + 1000, sizes, source.bounds, source.features)


def notes_on(chosen: SampleSet, options: ExportOptions) -> tuple[str, ...]:
    """What is to be known of the calibration besides."""
    notes = []
    if options.preprocess:
        notes.append(f"calibrated on {len(chosen.samples)} pictures: {preprocess.parse(options.preprocess)}")
    if chosen.origin == "drawn":
        notes.append("calibrated on random numbers: real inputs may exceed their ranges; give --calibration")
    elif not options.calibration:
        notes.append("calibrated on the samples that it is judged by: give --calibration for samples of its own")
    if len(chosen.samples) < RECOMMENDED:
        notes.append(f"calibrated on {len(chosen.samples)} samples: {RECOMMENDED} or more are recommended")
    return tuple(notes)


def read(text: str, signature: Signature, how: str = "") -> tuple[sampling.Sample, ...]:
    """The samples of a `--calibration`: a file or a directory as `samples.read_samples` takes it, a directory of
    pictures with the preprocessing that `preprocess.parse` reads, or MODULE:FUNCTION, a function without arguments that
    gives samples: arrays by input, or for a model of one input arrays alone.

    Raises SamplesError for what is none, or does not fit the signature; RequestError for a function that is not there.
    """
    _require_there(text)
    path = Path(text)
    if how:
        _require_said(text, how)
        found = images.read(path, preprocess.parse(how), signature)
    elif path.exists():
        found = sampling.split(sampling.read_samples(path), signature, path)
    else:
        found = tuple(_fitting(each, signature, text) for each in named_function.load(text, "--calibration")())
    if not found:
        raise SamplesError(f"there are no samples in {text}", wanted=f"{RECOMMENDED} or more")
    return found


def _require_there(text: str) -> None:
    if ":" not in text and not Path(text).exists():
        raise SamplesError(f"there is no calibration file {text}", wanted="an .npz, a directory, or MODULE:FUNCTION")


def _require_said(text: str, how: str) -> None:
    """Pictures have a preprocessing, and nothing else has."""
    has_pictures = Path(text).is_dir() and images.are_images(Path(text))
    if has_pictures and not how:
        raise RequestError(
            f"{text} holds pictures, and how they become the model's input is not said: nothing is guessed",
            wanted="size, order of channels, scale, mean, std and layout, as the model was trained",
            mend=preprocess.EXAMPLE,
        )
    if how and not has_pictures:
        raise RequestError(f"--preprocess is for a directory of pictures, and {text} is none", mend="leave it out")


def _fitting(given: Any, signature: Signature, text: str) -> sampling.Sample:
    inputs = signature.own.inputs
    if not isinstance(given, dict):
        if len(inputs) != 1:
            raise SamplesError(
                f"{text} gives arrays alone", wanted=f"a dict of {', '.join(spec.name for spec in inputs)}"
            )
        given = {inputs[0].name: given}
    missing = [spec.name for spec in inputs if spec.name not in given]
    if missing:
        raise SamplesError(f"a sample of {text} lacks {', '.join(missing)}", wanted="an array an input")
    arrays = {f"000.{spec.name}": np.asarray(given[spec.name]) for spec in inputs}
    return sampling.split(arrays, signature, Path(text))[0]
