"""A release: every model of a project for every target, exported where it is not there yet, verified, in one report."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from dlconv import opening, pipeline, planning
from dlconv.errors import DlconvError, ToolchainMissing
from dlconv.hardware.provided import check_required
from dlconv.latency.gating import gated
from dlconv.records.bundle import is_bundle, open_bundle
from dlconv.records.outcome import Outcome, Report, skipped
from dlconv.verification import verify

if TYPE_CHECKING:
    from dlconv.asked.options import ExportOptions
    from dlconv.asked.precisions import Precision
    from dlconv.events import Listener
    from dlconv.project.file import Project, ProjectModel
    from dlconv.verification import VerifyOptions


def verify_project(project: Project, options: VerifyOptions, listener: Listener | None = None) -> Report:
    """Export what is missing or was made of something else, and verify the rest.

    A bundle that was just exported was just judged: it is not run again. What this machine lacks a toolchain for is
    SKIPPED, which is no pass unless it is allowed.
    """
    check_required(options.require, [model.targets for model in project.models])
    outcomes = [
        outcome
        for model in project.models
        for precision in model.precisions
        for outcome in _release(model, precision, options, listener)
    ]
    return Report(tuple(outcomes), project.allowed(options.allow_skip) - options.require)


def _release(
    model: ProjectModel, precision: Precision, options: VerifyOptions, listener: Listener | None
) -> list[Outcome]:
    found: dict[str, Outcome] = {}
    for export in model.options(precision=precision):
        try:
            found |= _release_alike(model, export, options, listener)
        except DlconvError as error:  # of the model as a whole: each of its targets is told
            found |= {target: _unmade(model, target, precision, error) for target in export.targets}
    return [found[target] for target in model.targets]


def _release_alike(
    model: ProjectModel, export: ExportOptions, options: VerifyOptions, listener: Listener | None
) -> dict[str, Outcome]:
    """The outcomes of the targets that have the same bars, by target."""
    artifact = opening.open_artifact(model.path)
    request = export.request_digest()
    there = [target for target in export.targets if _is_made(model, target, export, artifact.digest, request)]
    kept = replace(
        options, bars=export.bars, labels=options.labels or model.labels, metric=options.metric or model.metric
    )
    found: dict[str, Outcome] = {}
    if there:
        verified = verify([model.bundle(target, export.precision) for target in there], kept, listener, model.path)
        found |= {outcome.target: outcome for outcome in verified.outcomes}
    missing = tuple(target for target in export.targets if target not in there)
    if not missing:
        return found
    plan = planning.make(artifact.format, replace(export, targets=missing))
    for goal in plan.targets:
        if goal.chosen is None:
            try:
                replace(plan, targets=(goal,)).check()
            except ToolchainMissing as error:
                found[goal.target] = _unmade(model, goal.target, export.precision, error)
    possible = tuple(target for target in missing if target not in found)
    if possible:
        asked = replace(
            export,
            targets=possible,
            labels=kept.labels,
            metric=kept.metric,
            memory_limit_bytes=options.memory_limit_bytes,
            timeout_s=options.timeout_s,
            jobs=options.jobs,
        )
        made = pipeline.export(model.path, asked, listener)
        own = export.bars.latency
        found |= {each.target: gated(each, options.gate, own, model.path, listener) for each in made.outcomes}
    return found


def _is_made(model: ProjectModel, target: str, export: ExportOptions, digest: str, request: str) -> bool:
    place = model.bundle(target, export.precision)
    if not is_bundle(place):
        return False
    receipt = open_bundle(place).receipt
    return bool(receipt["source"]["digest"] == digest and receipt["request"] == request)


def _unmade(model: ProjectModel, target: str, precision: Precision, error: DlconvError) -> Outcome:
    name = model.bundle(target, precision).name
    verdict = skipped(error) if isinstance(error, ToolchainMissing) else None
    below = () if precision == "fp32" else ("--precision", precision)
    again = shlex.join(("dlconv", "export", os.path.relpath(model.path), "--to", target, *below))
    return Outcome(name, model.path.name, target, precision, model.path, verdict, error=error, again=again)
