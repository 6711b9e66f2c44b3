"""ONNX to the model that ONNX Runtime optimises for this machine's CPU."""

from __future__ import annotations

from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

from dlconv.convert import onnx_clean, onnx_graph
from dlconv.convert.edge import Made, Step
from dlconv.errors import StepError
from dlconv.runtimes.onnxruntime import PROVIDER, session_options

ENTRY = "model.onnx"
_DATA = ENTRY + ".data"
_CLEANED = "cleaned.onnx"
_INLINE_LIMIT_BYTES = 1_900_000_000


def convert(step: Step) -> Made:
    """The optimised model, "model.onnx" (and "model.onnx.data" over 1.9 GB).

    It is saved as ONNX and not in the ORT format: that one ends at 2 GB, other tools cannot read it, and its kernels
    are pinned to it no less. It holds kernels laid out for this CPU, so it belongs to this machine.
    settings: "level" ("all", "extended" or "basic").
    """
    ort: Any = import_module("onnxruntime")
    model = onnx_graph.read_model(step.source)
    names = _names(onnx_graph.signature_of(model))
    size_bytes = sum(file.stat().st_size for file in _files_of(model, step.source))
    options = session_options(step.settings.get("level", "all"), 0)
    options.optimized_model_filepath = str(step.out_dir / ENTRY)
    if size_bytes > _INLINE_LIMIT_BYTES:
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", _DATA)
        options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
    ort.InferenceSession(_without_deadly(model, step.source), options, providers=[PROVIDER])
    made = onnx_graph.read_model(step.out_dir / ENTRY)
    signature = onnx_graph.signature_of(made)
    if _names(signature) != names:
        raise StepError(f"ONNX Runtime changed the signature to {_names(signature)}", wanted=f"{names}")
    return Made(ENTRY, signature, _notes_on(made))


def _notes_on(made: Any) -> tuple[str, ...]:
    domains = Counter(node.domain for node in onnx_graph.nodes_of(made.graph))
    laid_out = domains.pop("com.microsoft.nchwc", 0)
    fused = sum(count for domain, count in domains.items() if domain not in ("", "ai.onnx"))
    notes = (
        f"{laid_out} operators are laid out for this machine's CPU" if laid_out else "",
        f"{fused} operators are ONNX Runtime's own" if fused else "",
    )
    return tuple(note for note in notes if note)


def _names(signature: Any) -> list[tuple[str, str]]:
    return [(spec.name, spec.dtype) for spec in (*signature.inputs, *signature.outputs)]


def _files_of(model: Any, source: Path) -> list[Path]:
    locations = {entry.value for tensor in onnx_graph.external_tensors(model) for entry in tensor.external_data
                 if entry.key == "location"}  # fmt: skip
    return [source, *(source.parent / location for location in sorted(locations))]


def _without_deadly(model: Any, source: Path) -> str | bytes:
    """What to load: the file itself, or, where a clean-up must keep the optimiser alive, its cleaned bytes."""
    done = onnx_clean.clean(model)
    if not any("trailing" in line for line in done) or any(onnx_graph.external_tensors(model)):
        return str(source)
    cleaned: bytes = model.SerializeToString()
    return cleaned
