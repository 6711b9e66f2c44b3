"""Operators that are not PyTorch's own: the package that registers them is imported where a file asks for it."""

from __future__ import annotations

import importlib
import re
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Final, TypeVar

from dlconv.errors import PackagesMissing, SourceError

if TYPE_CHECKING:
    from collections.abc import Callable

_Loaded = TypeVar("_Loaded")

PACKAGES: Final = {
    name: name
    for name in ("torchvision", "torchaudio", "torch_scatter", "torch_sparse", "torch_cluster", "torch_spline_conv")
}
"""By the namespace of operators: the package that registers them when it is imported. Others are not imported: a file
that somebody made does not choose what code runs here."""

_UNKNOWN: Final = (
    re.compile(r"Unknown builtin op: (\w+)::(\w+)"),  # torch.jit.load
    re.compile(r"failed to resolve torch\.ops\.(\w+)\.(\w+)"),  # torch.export.load
)


def with_extensions(load: Callable[[], _Loaded]) -> _Loaded:
    """What `load` gives, once the packages are imported whose operators it lacks.

    Raises PackagesMissing where such a package is not here or does not go with this PyTorch, SourceError for operators
    of a package that dlconv does not know.
    """
    imported: set[str] = set()
    while True:
        try:
            return load()
        except RuntimeError as error:
            lacking = _operator_in(str(error))
            if lacking is None or lacking[0] in imported:
                raise
            _import(*lacking)
            imported.add(lacking[0])


def _operator_in(message: str) -> tuple[str, str] | None:
    found = next((match for pattern in _UNKNOWN if (match := pattern.search(message))), None)
    return None if found is None else (found[1], found[2])


def _import(namespace: str, operator: str) -> None:
    package = PACKAGES.get(namespace)
    if package is None:
        raise SourceError(
            f"the model has the operator {namespace}::{operator}, which PyTorch does not have",
            wanted=f"PyTorch's own operators, or those of {', '.join(PACKAGES)}",
            mend="export the model to ONNX where the operator is registered, and give dlconv that",
        )
    try:
        importlib.import_module(package)
    except Exception as error:  # a package of another PyTorch's raises whatever it likes
        is_here = not isinstance(error, ModuleNotFoundError) or error.name != package
        why = f"does not go with PyTorch {version('torch')} ({error})" if is_here else "is not installed here"
        raise PackagesMissing(
            f"the model has the operator {namespace}::{operator}, and {package} {why}",
            wanted=f"the release of {package} that goes with PyTorch {version('torch')}",
            mend=f"{sys.executable} -m pip install {package}",
        ) from error
