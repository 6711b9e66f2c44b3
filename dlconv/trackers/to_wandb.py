"""Weights & Biases: a run for each outcome, all of a report in a group; the bundle is an artifact of the run.

Where: a project, or ENTITY/PROJECT; without, WANDB_PROJECT or "dlconv". WANDB_MODE=offline writes to WANDB_DIR alone.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

from dlconv.errors import PackagesMissing, TrackerError, cause_of
from dlconv.reports.as_json import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dlconv.trackers.base import Entry


class WeightsAndBiases:
    """The tracker "wandb"."""

    def check(self) -> None:
        """Raises PackagesMissing without its client."""
        try:
            import wandb
        except ImportError as error:
            raise PackagesMissing(
                f"Weights & Biases is not here: {error}", mend="pip install 'dlconv[wandb]'"
            ) from error
        _ = wandb

    def log(self, entries: Sequence[Entry], page: str, where: str) -> str:
        """Log the entries as runs; says where the last one is. Raises TrackerError."""
        import wandb

        entity, _, project = where.rpartition("/")
        settings: dict[str, Any] = {
            "entity": entity or None,
            "project": project or os.environ.get("WANDB_PROJECT") or "dlconv",
            "group": os.environ.get("WANDB_RUN_GROUP") or f"dlconv-{int(time.time())}",
        }
        place = ""
        try:
            for entry in entries:
                run = wandb.init(
                    name=entry.name,
                    config=dict(entry.tags),
                    tags=[entry.tags["verdict"]],
                    job_type="dlconv",
                    settings=wandb.Settings(console="off", silent=True),
                    reinit="finish_previous",
                    **settings,
                )
                place = str(run.dir if run.offline else run.url)
                _log(wandb, run, entry, page)
                run.finish(exit_code=0 if entry.metrics["passed"] else 1)
            return place
        except Exception as error:  # its client raises errors of the network and of its service process as they are
            met = f"Weights & Biases: {cause_of(str(error))}"
            raise TrackerError(met, mend="wandb login, or WANDB_MODE=offline") from error


def _log(wandb: Any, run: Any, entry: Entry, page: str) -> None:
    run.log({**entry.metrics, "report": wandb.Html(page, inject=False)})
    run.summary.update({**entry.metrics, "verdict": entry.tags["verdict"], "reasons": list(entry.reasons)})
    name = "".join(char if char.isalnum() or char in "_-." else "-" for char in entry.name)
    artifact = wandb.Artifact(name, "model", metadata=dict(entry.tags))
    for path, file in entry.files.items():
        artifact.add_file(str(file), path)
    with artifact.new_file("receipt.json", mode="w", encoding="utf-8") as written:
        json.dump(plain(dict(entry.receipt)), written, indent=2)
    run.log_artifact(artifact)


TRACKER = WeightsAndBiases()
