"""Each tracker by its own client, for real: what was logged is read back. Nothing leaves the machine."""

from __future__ import annotations

import json
import runpy
import socket
import sys
import time
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dlconv.cli import main as door
from dlconv.errors import PackagesMissing, RequestError, TrackerError
from dlconv.records.outcome import Report
from dlconv.records.recorded import read
from dlconv.trackers.base import BUILT_IN, Entry, entries_of, find, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

REPORTS = Path(__file__).parents[1] / "reports"
MADE: dict[str, Any] = runpy.run_path(str(REPORTS / "made.py"))
RECORDS: dict[str, Any] = runpy.run_path(str(REPORTS / "records.py"))
PAGE = "<!doctype html><title>a page</title>"


@pytest.fixture
def report(tmp_path: Path, digits_bundle: Callable[[str], Path]) -> Report:
    """A bundle that passed, a receipt that failed."""
    bad = RECORDS["write"](tmp_path, "net-tflite-fp32", RECORDS["receipt"]("tflite", wrong_by=2e-3))
    return read([digits_bundle("onnx"), bad]).report


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever connects to anything but this machine fails."""
    real = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"{address} was asked")
        real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)


def test_an_entry_tells_of_its_outcome(report: Report) -> None:
    good, bad = entries_of(report)
    assert (good.tags["verdict"], good.metrics["passed"]) == ("PASS", 1.0)
    assert (bad.tags["verdict"], bad.metrics["passed"]) == ("FAIL", 0.0)
    assert bad.metrics["error/logits"] == pytest.approx(2e-3, rel=1e-2)
    assert bad.metrics["bar/logits"] < 1e-5 and bad.reasons
    assert set(good.files) == {"dlconv.json", "model.onnx"} and good.metrics["size_bytes"] > 0
    assert good.tags["version.onnxruntime"] and good.tags["source_digest"].startswith("sha256:")


def test_latency_is_told(report: Report) -> None:
    first, *_ = report.outcomes
    timed = replace(first, body={**first.body, "latency": RECORDS["latency"]().to_dict()})
    (entry,) = entries_of(Report((timed,)))
    assert entry.metrics["latency/this release/ratio"] == 1.2
    assert entry.metrics["latency/this release/p50_ms"] == pytest.approx(2.4, rel=0.05)


@pytest.mark.parametrize("name", MADE["REPORTS"])
def test_every_report_has_entries_that_a_tracker_takes(name: str) -> None:
    report, _ = MADE["REPORTS"][name]
    entries = entries_of(report)
    assert [entry.name for entry in entries] == [outcome.name for outcome in report.outcomes]
    for entry in entries:
        assert entry.tags["verdict"] in ("PASS", "FAIL", "INCONCLUSIVE", "SKIPPED", "ERROR")
        assert entry.metrics["passed"] == float(entry.tags["verdict"] == "PASS")
        assert all(plain(key) == key and abs(value) < float("inf") for key, value in entry.metrics.items())


def test_an_error_that_is_no_number_is_told_as_text() -> None:
    (_, ugly) = entries_of(MADE["REPORTS"]["ugly"][0])
    assert "nan" in [value for name, value in ugly.tags.items() if name.startswith("error/")]
    assert not [name for name in ugly.metrics if name.startswith("error/")]


@pytest.mark.trackers
@pytest.mark.onnx
@pytest.mark.slow
def test_mlflow_keeps_it_in_a_database(report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    tracker, where = find(f"mlflow:{uri}")
    assert uri in tracker.log(entries_of(report), PAGE, where)
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("dlconv")
    assert experiment is not None
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"digits-onnx-fp32", "net-tflite-fp32"}
    good, bad = runs["digits-onnx-fp32"], runs["net-tflite-fp32"]
    assert (good.info.status, bad.info.status) == ("FINISHED", "FAILED")
    assert (good.data.tags["verdict"], bad.data.tags["verdict"]) == ("PASS", "FAIL")
    assert bad.data.metrics["error/logits"] > bad.data.metrics["bar/logits"]
    kept = {file.path for file in client.list_artifacts(good.info.run_id)}
    assert kept == {"bundle", "receipt.json", "report.html"}
    assert {file.path for file in client.list_artifacts(good.info.run_id, "bundle")} == {
        "bundle/dlconv.json",
        "bundle/model.onnx",
    }
    folder = Path(good.info.artifact_uri.removeprefix("file://"))
    assert (folder / "report.html").read_text() == PAGE
    assert json.loads((folder / "receipt.json").read_text())["target"] == "onnx"
    assert "logits" in Path(bad.info.artifact_uri.removeprefix("file://"), "reasons.txt").read_text()


@pytest.mark.trackers
@pytest.mark.onnx
def test_wandb_keeps_it_offline(report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    for name in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / name))
    tracker, where = find("wandb:a-team/releases")
    tracker.log(entries_of(report), PAGE, where)
    runs = [whole_records_of(file) for file in sorted(tmp_path.rglob("run-*.wandb"))]
    assert {told["name"] for told in runs} == {"digits-onnx-fp32", "net-tflite-fp32"}
    assert {told["project"] for told in runs} == {"releases"} and len({told["group"] for told in runs}) == 1
    by_name = {told["name"]: told for told in runs}
    good, bad = by_name["digits-onnx-fp32"], by_name["net-tflite-fp32"]
    assert good["summary"]["verdict"] == "PASS" and bad["summary"]["verdict"] == "FAIL"
    assert bad["summary"]["error/logits"] > bad["summary"]["bar/logits"]
    assert {"dlconv.json", "model.onnx", "receipt.json"} <= set(good["artifact"])
    assert (good["exit_code"], bad["exit_code"]) == (0, 1)
    assert any(PAGE in file.read_text() for file in tmp_path.rglob("*.html"))


def chunks(data: bytes) -> Iterator[bytes]:
    """The records of a log as LevelDB writes it: blocks of 32 KiB, in them pieces with a checksum, a length and a kind
    (whole, first, middle, last); before all a header of seven bytes."""
    assert data[:4] == b":W&B"
    at, whole = 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        piece = data[at + 7 : at + 7 + length]
        whole = piece if kind in (1, 2) else whole + piece
        if kind in (1, 4):
            yield whole
        at += 7 + length


def whole_records_of(path: Path) -> dict[str, Any]:
    """The same once the client's own process has written the last of them, which it does behind the run's end."""
    deadline = time.monotonic() + 60
    while not {"name", "exit_code"} <= set(told := records_of(path)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return told


def records_of(path: Path) -> dict[str, Any]:
    """What an offline run's log holds: the client's own messages."""
    from wandb.proto import wandb_internal_pb2

    told: dict[str, Any] = {"summary": {}, "artifact": []}
    for data in chunks(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "run":
            told |= {"name": record.run.display_name, "project": record.run.project, "group": record.run.run_group}
        for item in (*record.summary.update, *record.history.item):
            told["summary"][item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
        if record.WhichOneof("record_type") == "exit":
            told["exit_code"] = record.exit.exit_code
        if record.WhichOneof("record_type") == "artifact":
            told["artifact"] += [entry.path for entry in record.artifact.manifest.contents]
        if record.request.log_artifact.artifact.name:
            told["artifact"] += [entry.path for entry in record.request.log_artifact.artifact.manifest.contents]
    return told


@pytest.mark.trackers
@pytest.mark.onnx
def test_tensorboard_keeps_it_in_event_files(report: Report, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracker, where = find(f"tensorboard:{tmp_path / 'runs'}")
    assert tracker.log(entries_of(report), PAGE, where) == str(tmp_path / "runs")
    verdicts = {}
    for name in ("digits-onnx-fp32", "net-tflite-fp32"):
        events = EventAccumulator(str(tmp_path / "runs" / name))
        events.Reload()
        (passed,) = events.Scalars("passed")
        (verdict,) = events.Tensors("verdict/text_summary")
        verdicts[name] = (verdict.tensor_proto.string_val[0].decode(), passed.value)
    assert verdicts == {"digits-onnx-fp32": ("PASS", 1.0), "net-tflite-fp32": ("FAIL", 0.0)}
    assert events.Scalars("error/logits")[0].value > events.Scalars("bar/logits")[0].value
    assert "logits" in events.Tensors("reasons/text_summary")[0].tensor_proto.string_val[0].decode()
    assert (tmp_path / "runs" / "dlconv.html").read_text().startswith(PAGE)


@pytest.mark.trackers
def test_hostile_names_are_logged(tmp_path: Path) -> None:
    tracker, where = find(f"tensorboard:{tmp_path}")
    tracker.log(entries_of(MADE["REPORTS"]["ugly"][0]), PAGE, where)
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 2
    assert not [path for path in tmp_path.rglob("*") if not path.resolve().is_relative_to(tmp_path)]


@pytest.mark.trackers
def test_a_tracker_that_does_not_take_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("in the way")
    path = str(RECORDS["write"](tmp_path, "net", RECORDS["receipt"]()))
    tracker, _ = find("tensorboard")
    with pytest.raises(TrackerError, match="cannot be written"):
        tracker.log(entries_of(read([Path(path)]).report), PAGE, str(tmp_path / "file"))
    assert door.run(["report", path, "--log-to", f"tensorboard:{tmp_path / 'file'}"]) == 3
    assert "--log-to tensorboard:DIR" in capsys.readouterr().err
    assert door.run(["judge", path, "-q", "--log-to", f"tensorboard:{tmp_path / 'file'}"]) == 3, "and no pass"
    assert door.run(["judge", path, "-q", "--log-to", f"tensorboard:{tmp_path / 'runs'}"]) == 0
    assert (tmp_path / "runs" / "dlconv.html").is_file()


def test_an_unknown_tracker_is_a_wrong_request() -> None:
    with pytest.raises(RequestError, match="no tracker 'abacus'") as told:
        find("abacus:x")
    assert all(name in told.value.wanted for name in BUILT_IN)


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_client_that_is_not_here_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(PackagesMissing) as told:
        find(name)
    assert told.value.mend == f"pip install 'dlconv[{name}]'"


class Kept:
    """A plugin's tracker."""

    entries: Sequence[Entry] = ()

    def check(self) -> None:
        pass

    def log(self, entries: Sequence[Entry], page: str, where: str) -> str:
        Kept.entries = entries
        return where


def test_a_plugin_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        name, value = "kept", "a:b"

        def load(self) -> Kept:
            return Kept()

    monkeypatch.setattr(metadata, "entry_points", lambda group: [Point()] if group == "dlconv.trackers" else [])
    tracker, where = find("kept:there")
    assert tracker.log(entries_of(MADE["REPORTS"]["all passed"][0]), PAGE, where) == "there"
    assert [entry.name for entry in Kept.entries] == ["digits-onnx-fp32"]
