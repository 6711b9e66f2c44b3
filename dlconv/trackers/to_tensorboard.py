"""TensorBoard: event files, a folder for each outcome, with scalars and texts; files it does not hold.

Where: the log folder; without, "runs", where TensorBoard's users look first.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlconv.errors import PackagesMissing, TrackerError
from dlconv.reports.as_json import plain, write
from dlconv.reports.markdown import fenced, table, text
from dlconv.trackers.base import plain as plain_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dlconv.trackers.base import Entry


class TensorBoard:
    """The tracker "tensorboard"."""

    def check(self) -> None:
        """Raises PackagesMissing without the package."""
        try:
            import tensorboard
        except ImportError as error:
            raise PackagesMissing(
                f"TensorBoard is not here: {error}", mend="pip install 'dlconv[tensorboard]'"
            ) from error
        _ = tensorboard

    def log(self, entries: Sequence[Entry], page: str, where: str) -> str:
        """Write the event files; says into which folder. Raises TrackerError."""
        folder = Path(where or "runs")
        try:
            for entry in entries:
                _log(folder / plain_name(entry.name).replace("/", "_"), entry)
            write(folder / "dlconv.html", page)
        except OSError as error:
            met = f"{folder} cannot be written: {error.strerror or error}"
            raise TrackerError(met, mend="--log-to tensorboard:DIR") from error
        return str(folder)


def _log(folder: Path, entry: Entry) -> None:
    # The writer and the messages that PyTorch's own SummaryWriter is made of; they need no TensorFlow.
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    event_pb2, summary_pb2 = _proto("event_pb2"), _proto("summary_pb2")

    writer = EventFileWriter(str(folder))
    values = [summary_pb2.Summary.Value(tag=name, simple_value=value) for name, value in entry.metrics.items()]
    tags = "\n".join(table(("", ""), [(text(name), text(value)) for name, value in entry.tags.items()]))
    receipt = "\n".join(["```json", json.dumps(plain(dict(entry.receipt)), indent=2).replace("```", "'''"), "```"])
    texts = {"verdict": entry.tags["verdict"], "tags": tags, "receipt": receipt}
    if entry.reasons:
        texts["reasons"] = "\n".join(f"- {text(reason)}" for reason in entry.reasons)
    if entry.tags.get("command"):
        texts["command"] = "\n".join(fenced(entry.tags["command"]))
    values += [_text(name, value) for name, value in texts.items()]
    writer.add_event(event_pb2.Event(step=0, summary=summary_pb2.Summary(value=values)))
    writer.close()


def _text(name: str, value: str) -> Any:
    names = ("summary_pb2", "tensor_pb2", "tensor_shape_pb2", "types_pb2")
    summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2 = (_proto(name) for name in names)
    plugin = summary_pb2.SummaryMetadata.PluginData(plugin_name="text")
    shape = tensor_shape_pb2.TensorShapeProto(dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=1)])
    told = value.encode("utf-8", "backslashreplace")
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=[told], tensor_shape=shape)
    return summary_pb2.Summary.Value(
        tag=f"{name}/text_summary", metadata=summary_pb2.SummaryMetadata(plugin_data=plugin), tensor=tensor
    )


def _proto(name: str) -> Any:
    return import_module(f"tensorboard.compat.proto.{name}")


TRACKER = TensorBoard()
