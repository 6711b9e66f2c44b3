"""Targets that an execution provider of ONNX Runtime runs: their runtime, and what this machine lacks for it."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dlconv import candidate
from dlconv.asked import providers
from dlconv.errors import HardwareMissing, PackagesMissing, RequestError
from dlconv.workers import gates, toolchains
from dlconv.workers.gates import Gap
from dlconv.workers.requirements import installed_here

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dlconv.asked.providers import Provider
    from dlconv.candidate import TargetRuntime
    from dlconv.workers.crew import Crew

TARGET = "onnxruntime"
"""The target that is made for a provider."""


def runtime_for(target: str, provider: str) -> TargetRuntime:
    """As `candidate.runtime_for`; of the target that is made for a provider by that one."""
    found = candidate.runtime_for(target)
    return by_provider(found, provider) if target == TARGET else found


def by_provider(runtime: TargetRuntime, provider: str) -> TargetRuntime:
    """A runtime by a provider, itself for "". Raises RequestError where it has no providers."""
    if not provider:
        return runtime
    found = providers.find(provider)
    if runtime.name != "onnxruntime":
        raise RequestError(
            f"{runtime.name} has no provider {provider!r}: providers are ONNX Runtime's",
            wanted="an ONNX model, or a bundle of the target onnx or onnxruntime",
        )
    if found.is_cpu:
        return runtime
    # The file is not laid out for the CPU: the provider optimises it for itself.
    settings: dict[str, Any] = {**runtime.settings, "optimisation": "all", "provider": found.name}
    return replace(runtime, toolchain=found.toolchain, settings=settings)


def of_bundle(runtime: TargetRuntime, target: str, made_for: str, asked: str) -> TargetRuntime:
    """What runs a bundle by the provider that is asked for, by the one that it was made for where that is "".

    Raises RequestError for one that is laid out for the CPU and shall run elsewhere, and as `check` and `by_provider`.
    """
    if target == TARGET and not made_for and asked not in ("", "cpu"):
        raise RequestError(
            f"the bundle is optimised for the CPU: {asked} could not take what is laid out for it",
            mend=f"dlconv export MODEL --to {TARGET} --provider {asked}; or verify a bundle of the target onnx",
        )
    provider = asked or made_for
    if made_for and asked == "cpu":  # it was left as it is, and is optimised when it is loaded
        return replace(runtime, settings={**runtime.settings, "optimisation": "all"})
    found = by_provider(runtime, provider)
    if provider:
        check(provider)
    return found


def lacks(provider: str) -> tuple[Gap, ...]:
    """What a provider needs besides its toolchain and is not here; nothing is imported to find out."""
    found = providers.find(provider)
    if found.systems and sys.platform not in found.systems:
        problem = f"{found.execution} is not made for this system ({sys.platform})"
        return (Gap(found.device, problem, f"another --provider, or another machine: {found.mend}"),)
    return (*gates.gaps(found.gate), *_package(found))


def check(provider: str) -> None:
    """Raises HardwareMissing or PackagesMissing with all that `lacks` finds."""
    gaps = lacks(provider)
    if gaps:
        kind = HardwareMissing if providers.find(provider).gate else PackagesMissing
        raise kind(
            f"this machine lacks what the provider {provider} needs",
            mend="\n".join(dict.fromkeys(gap.mend for gap in gaps)),
            problems=tuple(f"{gap.name}: {gap.problem}" for gap in gaps),
        )


def check_required(required: frozenset[str], names: Iterable[Iterable[str]]) -> None:
    """Raises RequestError for a required target or provider that none of the artifacts has; names: of each."""
    strange = sorted(required.difference(*names))
    if strange:
        met = f"{', '.join(strange)} is required, and nothing of it is named"
        raise RequestError(met, mend="name a bundle of it, or leave it out of --require")


def prove(provider: str, crew: Crew) -> None:
    """Run a tiny model by a provider, before any work. Raises MachineError where it does not do it."""
    found = providers.find(provider)
    if found.is_cpu:
        return
    with crew.lease(found.toolchain) as worker:
        worker.call(
            f"{candidate.RUNTIMES[TARGET].adapter}:probe",
            what=f"the proof of the provider {provider}",
            provider=provider,
        )


def _package(found: Provider) -> tuple[Gap, ...]:
    where = toolchains.locate(toolchains.get(found.toolchain))
    if isinstance(where, toolchains.Missing) or not found.packages:
        return ()  # told as the toolchain's lack; or nobody knows before it is asked
    present = set(where.versions)
    if where.origin == "this interpreter":
        present |= installed_here(found.packages).keys()
    if present & set(found.packages):
        return ()
    here = ", ".join(f"{name} {version}" for name, version in where.versions.items() if "onnxruntime" in name)
    return (Gap(found.packages[0], f"it is not installed here, but {here}", found.mend),)
