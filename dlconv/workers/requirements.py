"""Requirements of a toolchain held against what is installed. Nothing of it is imported to find out."""

from __future__ import annotations

import importlib.metadata
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from packaging.requirements import Requirement


def judged(requirements: Sequence[str], installed: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The versions that satisfy the requirements, of all that are installed (name: version), and what is missing.

    "A | B" is satisfied by either.
    """
    from packaging.utils import canonicalize_name

    versions: dict[str, str] = {}
    problems: list[str] = []
    # tf_keras is tf-keras.
    present = {str(canonicalize_name(name)): version for name, version in installed.items()}
    for requirement in requirements:
        found, problem = _alternative(requirement, present)
        versions.update(found)
        problems += [problem] if problem else []
    return versions, problems


def installed_here(requirements: Sequence[str]) -> dict[str, str]:
    """The versions in this interpreter of the distributions that are named."""
    found: dict[str, str] = {}
    for wanted in (each for requirement in requirements for each in _parsed(requirement)):
        try:
            found[wanted.name] = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _alternative(requirement: str, installed: Mapping[str, str]) -> tuple[dict[str, str], str]:
    alternatives = _parsed(requirement)
    present = [(wanted.name, installed[wanted.name], wanted) for wanted in alternatives if wanted.name in installed]
    for name, version, wanted in present:
        if wanted.specifier.contains(version, prereleases=True):
            return {name: version}, ""
    met = " and ".join(f"{name} {version}" for name, version, _ in present)
    return {}, f"{alternatives[0]} is needed; " + (f"{met} is here" if met else "it is not installed here")


@lru_cache
def _parsed(requirement: str) -> tuple[Requirement, ...]:
    from packaging.requirements import Requirement

    return tuple(Requirement(text.strip()) for text in requirement.split("|"))
