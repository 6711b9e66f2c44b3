"""The receipt: what was done, with what, and how well. Made here as data; `receipt.schema.json` describes it."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dlconv import __version__
from dlconv.hardware.here import cpu_features, cpu_name
from dlconv.model import digest_of
from dlconv.validators.judging import bar_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dlconv.asked.options import ExportOptions
    from dlconv.candidate import Candidate, Trial
    from dlconv.model import TensorSpec
    from dlconv.reference.source import Reference, Source

SCHEMA: Final = 1


def made(
    target: str,
    source: Source,
    reference: Reference,
    candidate: Candidate,
    routes: list[dict[str, Any]],
    folder: Path,
    deployed: list[Path],
    options: ExportOptions,
    reduction: Mapping[str, Any] | None,
    task: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The receipt as data; `receipt.schema.json` describes it."""
    files: list[dict[str, Any]] = [
        {"path": path.as_posix(), "digest": digest_of(folder / path), "size_bytes": (folder / path).stat().st_size}
        for path in deployed
    ]
    product, provider = candidate.product, candidate.trial.placement.get("provider", "cpu")
    return {
        "schema": SCHEMA,
        "dlconv": __version__,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "source": {
            "name": source.artifact.path.name,
            "digest": source.artifact.digest,
            "format": source.artifact.format.value,
            "signature": source.signature.to_dict(),
            "facts": source.facts,
            "notes": list(source.notes),
            "input_flag": source.flag,
        },
        "request": options.request_digest(),
        **({"command": options.command} if options.command else {}),
        "target": target,
        **({"provider": provider} if provider != "cpu" else {}),
        "precision": candidate.trial.evidence.precision,
        **({"reduction": reduction} if reduction is not None else {}),
        "routes": routes,
        "artifact": {
            "entry": product.entry,
            "files": files,
            "size_bytes": sum(file["size_bytes"] for file in files),
            "inputs": [tensor_of(spec) for spec in product.signature.inputs],
            "outputs": [tensor_of(spec) for spec in product.signature.outputs],
            "state": [state.to_dict() for state in product.signature.state],
            **({"entry_point": product.signature.entry} if product.signature.entry else {}),
        },
        "reference": reference.to_dict(),
        **({"task": task} if task is not None else {}),
        "evidence": evidence_of(candidate.trial),
        "bars": candidate.trial.bars.to_dict(),
        "verdict": candidate.trial.verdict.to_dict(),
        "environment": environment(candidate.trial.versions),
    }


def tensor_of(spec: TensorSpec) -> dict[str, Any]:
    """A deployed tensor: its name here and in the source, dtype, shape, and layout in words."""
    layout = "as the source"
    if spec.permutation:
        layout = "source axes " + ",".join(map(str, spec.permutation))
    return {**spec.to_dict(), "layout": layout}


def evidence_of(trial: Trial) -> dict[str, Any]:
    """What was measured, each output with its bar."""
    evidence = trial.evidence
    return {
        "runtime": trial.runtime,
        "versions": trial.versions,
        "placement": trial.placement,
        "seconds": round(trial.seconds, 3),
        **evidence.to_dict(),
        "outputs": [
            {**output.to_dict(), "bar": bar_of(output, evidence.factor, trial.bars)} for output in evidence.outputs
        ],
        "limits": list(trial.limits),
    }


def environment(versions: dict[str, str]) -> dict[str, Any]:
    """Where this was done: CPU, cores, system, Python, and the packages that took part."""
    return {
        "cpu": cpu_name(),
        "cpu_features": list(cpu_features()),
        "cores": os.cpu_count() or 1,
        "os": platform.platform(),
        "python": platform.python_version(),
        "packages": {"dlconv": __version__, "numpy": np.__version__, **versions},
    }
