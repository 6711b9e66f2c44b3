"""ONNX to the model that ONNX Runtime optimises for this machine's CPU; for another provider, which compiles the model
itself when it loads it, to the model that it shall be given."""

from __future__ import annotations

import shutil
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

from dlconv.asked import providers
from dlconv.convert.edge import Made, Step
from dlconv.convert.onnx_for_provider import CLEANED, ENTRY, as_before, written_for
from dlconv.errors import StepError, Unsupported
from dlconv.graphs import onnx_clean, onnx_graph
from dlconv.runtimes.onnxruntime import PROVIDER, session_options

_DATA = ENTRY + ".data"
_INLINE_LIMIT_BYTES = 1_900_000_000


def convert(step: Step) -> Made:
    """The optimised model, "model.onnx" (and "model.onnx.data" where the weights were outside, or are over 1.9 GB).

    It is saved as ONNX and not in the ORT format: that one ends at 2 GB, other tools cannot read it, and its kernels
    are pinned to it no less. It holds kernels laid out for this CPU, so it belongs to this machine.
    For another provider than the CPU it is the model as it was: parts that such a one compiled cannot be saved, and
    what is laid out for the CPU would keep it from taking the nodes.
    settings: "level" ("all", "extended" or "basic"), "provider" ("cpu", the default, or another).
    """
    provider = providers.find(step.settings.get("provider", ""))
    if not provider.is_cpu:
        if step.settings.get("level", "all") != "all":
            raise Unsupported(f"for {provider.execution} the model is left as it is: there is no other level of that")
        return written_for(step, provider)
    ort: Any = import_module("onnxruntime")
    model = onnx_graph.read_model(step.source)
    names = _names(onnx_graph.signature_of(model))
    source = step.source
    if onnx_clean.clean(model):
        source = onnx_clean.save_cleaned(model, step.source, step.out_dir / CLEANED)
    # Weights that already lie outside would stay where they are, with the source.
    is_outside = bool(onnx_graph.locations_of(model)) or source.stat().st_size > _INLINE_LIMIT_BYTES
    del model
    options = session_options(step.settings.get("level", "all"), 0)
    options.optimized_model_filepath = str(step.out_dir / ENTRY)
    if is_outside:
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", _DATA)
        options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
    # Weights that are stored smaller would be folded into float32 ones.
    kept = ["ConstantFolding"] if _stores_smaller(step.source) else []
    ort.InferenceSession(str(source), options, providers=[PROVIDER], disabled_optimizers=kept)
    shutil.rmtree(step.out_dir / CLEANED, ignore_errors=True)
    made = onnx_graph.read_model(step.out_dir / ENTRY)
    signature = onnx_graph.signature_of(made)
    if _names(signature) != names:
        raise StepError(f"ONNX Runtime changed the signature to {_names(signature)}", wanted=f"{names}")
    return Made(ENTRY, as_before(signature, step.signature), _notes_on(made))


def _stores_smaller(path: Path) -> bool:
    """Whether the model casts float16 weights to float32 where it reads them."""
    graph = onnx_graph.read_model(path).graph
    halves = {tensor.name for tensor in graph.initializer if onnx_graph.DTYPES.get(tensor.data_type) == "float16"}
    return any(node.op_type == "Cast" and node.input[0] in halves for node in graph.node)


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
