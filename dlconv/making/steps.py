"""Steps: one edge run in a worker, kept in the cache, and shared by all routes that begin the same way."""

from __future__ import annotations

import shutil
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlconv.asked.precisions import CALIBRATED
from dlconv.convert.edge import Made, Step
from dlconv.errors import FormatError, OutputError, SamplesError, StepError
from dlconv.events import Event
from dlconv.files.jsonfile import read_json, write_json
from dlconv.making import tensorrt_asked
from dlconv.model import Signature
from dlconv.samples import save_npz, to_arrays
from dlconv.validators.pairing import to_artifact
from dlconv.workers import toolchains

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dlconv.asked.options import ExportOptions
    from dlconv.convert.graph import Converter
    from dlconv.events import Listener
    from dlconv.making.cache import Cache
    from dlconv.samples import Sample, SampleSet
    from dlconv.workers.crew import Crew
    from dlconv.workers.worker import Worker


@dataclass(frozen=True)
class StepRecord:
    """What the receipt tells of one step. seconds and peak_memory_bytes are of the run that made it, cached or not."""

    edge: str
    toolchain: str
    versions: dict[str, str]
    settings: dict[str, Any]
    seconds: float
    peak_memory_bytes: int
    cached: bool
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "notes": list(self.notes)}


@dataclass(frozen=True)
class Product:
    """A model between or at the end of steps: `entry` in `folder`, and all that was done to get it.

    key identifies it: a digest of everything that determines it. logs are what the steps' workers printed.
    """

    folder: Path
    entry: str
    signature: Signature
    key: str
    records: tuple[StepRecord, ...] = ()
    logs: tuple[Path, ...] = ()

    @property
    def path(self) -> Path:
        return self.folder / self.entry


class StepRunner:
    """Runs chains of edges from one source. A chain that was run already, by any thread, is not run again."""

    def __init__(
        self,
        crew: Crew,
        cache: Cache,
        source: Product,
        samples: tuple[Sample, ...],
        listener: Listener,
        options: ExportOptions,
        calibration: SampleSet | None = None,
        kept_tensors: Mapping[str, Sequence[Sequence[str]]] | None = None,
    ) -> None:
        self._crew = crew
        self._cache = cache
        self._source = source
        self._samples = samples
        self._listener = listener
        self._options = options
        self._calibration = calibration
        self._kept_tensors = kept_tensors or {}
        self._lock = threading.Lock()
        self._done: dict[tuple[Converter, ...], Future[Product]] = {}

    def asked(
        self, options: ExportOptions, kept_tensors: Mapping[str, Sequence[Sequence[str]]] | None = None
    ) -> StepRunner:
        """A runner for the same source by other options. kept_tensors: of the nodes that are kept, the tensors of the
        ONNX graph by which other formats know them (`onnx_reducible.outputs`)."""
        return StepRunner(
            self._crew,
            self._cache,
            self._source,
            self._samples,
            self._listener,
            options,
            self._calibration,
            kept_tensors,
        )

    def run(self, edges: tuple[Converter, ...], target: str) -> Product:
        """The product of a chain of edges. Raises the StepError of the first that failed, now or earlier."""
        if not edges:
            return self._source
        with self._lock:
            future = self._done.get(edges)
            mine = future is None
            if future is None:
                future = self._done[edges] = Future()
        if mine:
            try:
                future.set_result(self._run_last(edges, target))
            except BaseException as error:  # every thread that waits for this step is told, this one too
                future.set_exception(error)
        return future.result()

    def known_failure(self, edges: tuple[Converter, ...]) -> str:
        """The edge of the chain that is known to fail, "" if none is."""
        for end in range(1, len(edges) + 1):
            future = self._done.get(edges[:end])
            if future is not None and future.done() and future.exception() is not None:
                return edges[end - 1].name
        return ""

    def _run_last(self, edges: tuple[Converter, ...], target: str) -> Product:
        before = self.run(edges[:-1], target)
        edge = edges[-1]
        located = toolchains.locate(toolchains.get(edge.toolchain))
        if isinstance(located, toolchains.Missing):
            raise located.error()
        settings = self._settings(edge, before)
        key = _key(before, edge, settings, located.versions, self._samples[0])
        folder = self._cache.get(key) if self._options.use_cache else None
        if folder is not None:
            self._listener.on(Event("cached", target, f"{edge.name}: from the cache", data={"edge": edge.name}))
            return _load(folder, key, before)
        self._listener.on(Event("step-started", target, edge.name, data={"edge": edge.name}))
        folder = self._cache.begin()
        try:
            record = self._run_edge(edge, settings, located.versions, before, folder)
            folder = self._cache.put(key, folder, f"{edge.name} of {self._source.entry}")
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise OutputError(
                f"the cache at {self._cache.root} cannot be written: {error}",
                mend="free some space, or set DLCONV_HOME to a folder that can be written",
            ) from error
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._listener.on(
            Event("step-ended", target, edge.name, record["seconds"], {"edge": edge.name, "notes": record["notes"]})
        )
        product = _load(folder, key, before)
        return replace(product, records=(*before.records, replace(product.records[-1], cached=False)))

    def _settings(self, edge: Converter, before: Product) -> dict[str, Any]:
        """The edge's own, and what the user asked of its kind."""
        settings = dict(edge.settings)
        if self._options.opset is not None and edge.target == "onnx-as-given":
            settings["opset"] = self._options.opset
        if self._options.layout and edge.target == "onnx":
            settings["layout"] = self._options.layout
        if edge.puts and self._options.keep:
            settings["keep"] = sorted(self._options.keep)
            if edge.source in ("tflite", "openvino"):
                settings["outputs"] = {
                    name: [list(each) for each in groups] for name, groups in self._kept_tensors.items()
                }
        if edge.puts and self._options.boundary.dtypes:
            settings["boundary"] = self._options.boundary.to_dict()
        if edge.puts in CALIBRATED and self._calibration is not None:
            settings["calibration"] = self._calibration.to_dict()
        if edge.target == "tensorrt":
            settings |= tensorrt_asked.settings(self._options, before.signature, self._samples)
        if self._options.provider and edge.target == "onnxruntime":
            settings["provider"] = self._options.provider
        return settings

    def _run_edge(
        self, edge: Converter, settings: dict[str, Any], versions: dict[str, str], before: Product, folder: Path
    ) -> dict[str, Any]:
        out_dir = folder / "out"
        out_dir.mkdir()
        sample = to_artifact(self._samples[0], before.signature)
        calibration = None
        if "calibration" in settings and self._calibration is not None:
            calibration = folder / "calibration.npz"
            samples = [to_artifact(each, before.signature) for each in self._calibration.samples]
            save_npz(calibration, to_arrays(samples))
        step = Step(before.path, out_dir, before.signature, sample, settings, self._options.trust, calibration)
        with self._crew.lease(edge.toolchain) as worker:
            offset = worker.log.stat().st_size
            start = time.perf_counter()
            done = _made(worker, edge, step, is_source=not before.records)
            with worker.log.open("rb") as log:
                log.seek(offset)
                (folder / f"{edge.name}.log").write_bytes(log.read())
            record = {
                "edge": edge.name,
                "toolchain": edge.toolchain,
                "versions": versions,
                "settings": {name: value for name, value in settings.items() if name not in tensorrt_asked.OWN},
                "seconds": round(time.perf_counter() - start, 3),
                "peak_memory_bytes": worker.peak_memory_bytes,
                "notes": done["made"]["notes"],
            }
        if calibration is not None:
            calibration.unlink()  # its digest stands in the settings
        write_json(folder / "step.json", {"made": done["made"], "record": record})
        return record


def _made(worker: Worker, edge: Converter, step: Step, *, is_source: bool) -> dict[str, Any]:
    try:
        done: dict[str, Any] = worker.call(
            "dlconv.workers.tasks:run_edge", what=edge.name, module=edge.module, step=step.to_dict()
        )
    except FormatError as error:
        if is_source:
            raise
        # The step before made the file, not the user: this route is at its end, and no more.
        raise StepError(f"what the step before {edge.name} made cannot be read: {error.met}", log=error.log) from error
    except SamplesError as error:
        if is_source:
            raise
        # The user's samples are known to fit the source: what was made takes others, and another route may not.
        raise StepError(error.met, wanted=error.wanted, log=error.log) from error
    return done


def _key(before: Product, edge: Converter, settings: dict[str, Any], versions: dict[str, str], sample: Sample) -> str:
    from dlconv.making.cache import key_of
    from dlconv.samples import SampleSet

    return key_of(
        before=before.key,
        edge=edge.name,
        settings=settings,
        versions=versions,
        signature=before.signature.to_dict(),
        sample=SampleSet((sample,), "").digest,
    )


def _load(folder: Path, key: str, before: Product) -> Product:
    kept = read_json(folder / "step.json")
    made = Made.from_dict(kept["made"])
    told: dict[str, Any] = {**kept["record"], "notes": tuple(kept["record"]["notes"]), "cached": True}
    record = StepRecord(**told)
    return Product(
        folder / "out",
        made.entry,
        made.signature,
        key,
        (*before.records, record),
        (*before.logs, *folder.glob("*.log")),
    )
