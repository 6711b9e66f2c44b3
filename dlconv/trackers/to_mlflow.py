"""MLflow: a run for each outcome, with the files of its bundle and the page. Needs mlflow or mlflow-skinny.

Where: a tracking URI; without, MLFLOW_TRACKING_URI or MLflow's own default. The experiment is MLFLOW_EXPERIMENT_NAME,
else "dlconv".
"""

from __future__ import annotations

import json
import os
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from dlconv.errors import PackagesMissing, TrackerError, cause_of
from dlconv.reports.as_json import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dlconv.trackers.base import Entry

_LONGEST_TAG: Final = 5000
"""The least limit of MLflow's stores on a tag's length, in characters."""


class MLflow:
    """The tracker "mlflow"."""

    def check(self) -> None:
        """Raises PackagesMissing without a client of MLflow."""
        try:
            import mlflow
        except ImportError as error:
            raise PackagesMissing(f"MLflow is not here: {error}", mend="pip install 'dlconv[mlflow]'") from error
        _ = mlflow

    def log(self, entries: Sequence[Entry], page: str, where: str) -> str:
        """Log the entries as runs; says at which URI. Raises TrackerError."""
        import mlflow

        try:
            client = mlflow.MlflowClient(tracking_uri=where or None)
            experiment = _experiment(client)
            for entry in entries:
                _log(client, experiment, entry, page)
            return f"{client.tracking_uri}, experiment {experiment}"
        except Exception as error:  # MLflow's stores raise errors of their databases and of the network as they are
            met = f"MLflow: {cause_of(str(error))}"
            raise TrackerError(met, mend="--log-to mlflow:URI, or set MLFLOW_TRACKING_URI") from error


def _experiment(client: Any) -> str:
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "dlconv"
    found = client.get_experiment_by_name(name)
    return str(client.create_experiment(name) if found is None else found.experiment_id)


def _log(client: Any, experiment: str, entry: Entry, page: str) -> None:
    run = client.create_run(experiment, run_name=entry.name).info.run_id
    for key, value in entry.tags.items():
        client.set_tag(run, key, value[:_LONGEST_TAG])
    for key, number in entry.metrics.items():
        client.log_metric(run, key, number)
    for path, file in entry.files.items():
        folder = PurePosixPath("bundle", path).parent
        client.log_artifact(run, str(file), folder.as_posix())
    client.log_text(run, json.dumps(plain(dict(entry.receipt)), indent=2), "receipt.json")
    client.log_text(run, page, "report.html")
    if entry.reasons:
        client.log_text(run, "\n".join(entry.reasons) + "\n", "reasons.txt")
    # A run "failed" where it did not pass: so do MLflow's own pages tell it.
    client.set_terminated(run, "FINISHED" if entry.metrics["passed"] else "FAILED")


TRACKER = MLflow()
