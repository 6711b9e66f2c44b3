"""A function of the user's that is named MODULE:FUNCTION."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from dlconv.errors import RequestError


def load(text: str, option: str) -> Callable[..., Any]:
    """The function that `text` names, found as `python -m` would from here. RequestError where there is none."""
    name, _, function = text.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found: Callable[..., Any] = getattr(import_module(name), function)
    except (ImportError, AttributeError) as error:
        raise RequestError(
            f"{option} {text!r}: {error}", wanted="MODULE:FUNCTION that can be imported from here"
        ) from error
    if not callable(found):
        raise RequestError(f"{option} {text!r} is no function", wanted="MODULE:FUNCTION")
    return found
