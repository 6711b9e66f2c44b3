"""Where a finding is shown: the file in the repository that stands for an outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlconv.records.bundle import RECEIPT

if TYPE_CHECKING:
    from pathlib import Path

    from dlconv.records.outcome import Outcome


def location(outcome: Outcome, root: Path) -> str:
    """The receipt of a bundle, the model file where there is none, else the model's name; relative to `root` with
    forward slashes where it lies below it."""
    if outcome.path is None:
        return outcome.model
    path = root / outcome.path
    receipt = path / RECEIPT
    path = receipt if receipt.is_file() else path
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
