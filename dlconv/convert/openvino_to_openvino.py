"""OpenVINO's IR as it is, for a precision that its plugins lower it to when they load it: bfloat16."""

from __future__ import annotations

import shutil

from dlconv.convert.edge import Made, Step

_HINT = "INFERENCE_PRECISION_HINT=bf16"


def convert(step: Step) -> Made:
    """A copy of the IR; the precision is asked for where it is loaded, and a note says how."""
    shutil.copytree(step.source.parent, step.out_dir, dirs_exist_ok=True)
    return Made(step.source.name, step.signature, (f"load it with {_HINT}: the file itself is in float32",))
