"""The names that each generation of TensorRT really has, and classes that have no others.

names.json was read from the real bindings of 8.5.3, 10.16, 11.0 and 11.4. No bindings of 8.6 were at hand: it is 8.5
with what is known to have come with it.
"""

from __future__ import annotations

import json
import os
from enum import IntEnum
from pathlib import Path
from typing import Any

FACTS = json.loads(Path(__file__).with_name("names.json").read_text())
GENERATION = os.environ.get("FAKE_TENSORRT", "11.4")
_BASE = "8.5" if GENERATION == "8.6" else GENERATION
VERSION = "8.6.1" if GENERATION == "8.6" else FACTS["versions"][_BASE]
IS_8 = GENERATION.startswith("8")
_ADDED = {
    "IBuilderConfig": {"builder_optimization_level", "hardware_compatibility_level"},
    "Runtime": {"engine_host_code_allowed"},
}
_ADDED_MEMBERS = {
    "BuilderFlag": {"VERSION_COMPATIBLE": 15},
    "HardwareCompatibilityLevel": {"NONE": 0, "AMPERE_PLUS": 1},
}


def has_class(name: str) -> bool:
    return _BASE in FACTS["classes"][name]["in"].split()


def members(name: str) -> set[str]:
    """What a class has in this generation."""
    groups = FACTS["classes"][name]["members"].items()
    found = {member for versions, names in groups if _BASE in versions.split() for member in names.split()}
    return found | (_ADDED.get(name, set()) if GENERATION == "8.6" else set())


def enum(name: str) -> Any:
    """An enumeration, None where this generation does not have it."""
    found = dict(FACTS["enums"][name].get(_BASE, {}))
    found |= _ADDED_MEMBERS.get(name, {}) if GENERATION == "8.6" else {}
    return IntEnum(name, found) if found else None


class Strict:
    """An object with the attributes that its class has in this generation: others are neither read nor set."""

    def __getattribute__(self, name: str) -> Any:
        kind = type(self).__name__
        if not name.startswith("_") and name not in members(kind):
            raise AttributeError(f"TensorRT {VERSION}: {kind} has no {name}")
        return super().__getattribute__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        kind = type(self).__name__
        if not name.startswith("_") and name not in members(kind):
            raise AttributeError(f"TensorRT {VERSION}: {kind} has no {name}")
        super().__setattr__(name, value)
