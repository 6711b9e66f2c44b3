"""Operators of a TFLite file that an interpreter may lack, found before it is opened: one that it lacks can end it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dlconv.errors import MachineError, Unsupported
from dlconv.runtimes.tflite_operators import FLEX

if TYPE_CHECKING:
    from dlconv.runtimes.tflite_flatbuffer import FlatModel

EDGETPU: Final = "edgetpu-custom-op"
"""What the Edge TPU's compiler puts in place of the operators that the device computes."""
_CUSTOM_AT_HOME: Final = frozenset({"TFLite_Detection_PostProcess", "Mfcc", "AudioSpectrogram", "NumericVerify"})
"""Custom operators by name, whose kernels the interpreter registers with the builtin ones (its register.cc)."""
_NEWER: Final = re.compile(r"Didn't find op for builtin opcode '(\w+)' version '(\d+)'")


def custom_of(model: FlatModel) -> tuple[str, ...]:
    """Operators that no interpreter here has."""
    found = {each.custom for each in model.operators if each.custom} - _CUSTOM_AT_HOME
    return tuple(sorted(name for name in found if not name.startswith(FLEX)))


def refuse_newer(error: Exception, runtime: str) -> None:
    """Raise MachineError if the interpreter refused the file for an operator that it knows in older versions alone."""
    lacking = sorted({f"{name} of version {version}" for name, version in _NEWER.findall(str(error))})
    if lacking:
        raise MachineError(
            f"{runtime} is older than the file: it has not {', '.join(lacking)}",
            wanted="a runtime of the file's time or later",
            mend="dlconv toolchain install tflite   (or: pip install 'dlconv[tflite]')",
        ) from error


def flex_of(model: FlatModel) -> tuple[str, ...]:
    """TensorFlow's own operators (Select TF), by TensorFlow's names."""
    return tuple(sorted({each.custom[len(FLEX) :] for each in model.operators if each.custom.startswith(FLEX)}))


def refuse(model: FlatModel) -> None:
    """Raise Unsupported for operators that the interpreter lacks, each named."""
    custom = custom_of(model)
    if EDGETPU in custom:
        raise Unsupported(
            "the file is compiled for the Coral Edge TPU: without that device and its delegate it does not run",
            wanted=f"a file without {EDGETPU}, or a machine with the device",
            mend="give the file that edgetpu_compiler was given",
        )
    if custom:
        raise Unsupported(
            f"the file has custom operators, whose kernels are in no runtime here: {', '.join(custom)}",
            wanted="operators of TFLite's own",
            mend="give the part of the model without them, or the model that the file was made from",
        )
    flex = flex_of(model)
    if flex:
        # The full TensorFlow's interpreter lacks them too: its packages come without the Flex delegate (seen: 2.21).
        raise Unsupported(
            f"the file has operators of TensorFlow (Select TF), which no interpreter here has: {', '.join(flex)}",
            wanted="operators of TFLite's own",
            mend="convert the model that the file was made from",
        )
