"""A tracker: a line of JSON for each outcome, appended to a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from dlconv.errors import TrackerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dlconv.trackers.base import Entry


class JsonLines:
    """The tracker "jsonl"; where: the file, "dlconv.jsonl" without."""

    def check(self) -> None:
        """It needs nothing."""

    def log(self, entries: Sequence[Entry], page: str, where: str) -> str:
        """Append the lines. Raises TrackerError."""
        path = Path(where or "dlconv.jsonl")
        try:
            with path.open("a", encoding="utf-8") as file:
                for entry in entries:
                    told = {"name": entry.name, **entry.tags, **entry.metrics, "reasons": entry.reasons}
                    file.write(json.dumps(told) + "\n")
        except OSError as error:
            raise TrackerError(f"{path} cannot be written: {error.strerror}", mend="--log-to jsonl:FILE") from error
        return str(path)


TRACKER = JsonLines()
