"""Plugins: what other packages add to dlconv, as data: converters, runtimes with their targets, toolchains, validators.

A package names its `Plugin` by an entry point in the group `dlconv.plugins`. Plugins are added to the explicit tables
in the order of their names, so that two machines with the same packages have the same routes. One that cannot be
loaded is an error, and never left out: the verdict would be another.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from dlconv.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

GROUP: Final = "dlconv.plugins"


@dataclass(frozen=True)
class Plugin:
    """What a package adds.

    converters: edges (`dlconv.convert.graph.Converter`) between stages, or to a target of this plugin's.
    runtimes: what runs a target, by the target's name (`dlconv.candidate.TargetRuntime`, whose `factor` says how many
    noise floors a right artifact may be away). toolchains: of these (`dlconv.workers.toolchains.Toolchain`); a
    requirement is the package itself, since its modules run in their workers, and `lock` is "".
    validators: further questions to what was measured, each a pure function of the `Evidence` and of the `Bars` that
    were asked; the checks that it answers are joined with the others, and can make a verdict worse alone.
    """

    converters: tuple[Any, ...] = ()
    runtimes: Mapping[str, Any] = field(default_factory=dict)
    toolchains: tuple[Any, ...] = ()
    validators: tuple[Callable[[Any, Any], Iterable[Any]], ...] = ()


@cache
def installed() -> Mapping[str, Plugin]:
    """All plugins by name. Raises PluginError for one that cannot be loaded, or that takes another's name."""
    from importlib import metadata  # here: a worker that asks for no plugin does not wait for it

    found: dict[str, Plugin] = {}
    for point in sorted(metadata.entry_points(group=GROUP), key=lambda point: point.name):
        mend = "mend that package, or uninstall it"
        if point.name in found:
            raise PluginError(f"two plugins are called {point.name}", mend=mend)
        try:
            plugin = point.load()
        except Exception as error:  # a foreign module at its import: whatever it raises
            met = f"the plugin {point.name} cannot be loaded: {type(error).__name__}: {error}"
            raise PluginError(met, wanted=f"a Plugin at {point.value}", mend=mend) from error
        if not isinstance(plugin, Plugin):
            met = f"the plugin {point.name} is a {type(plugin).__name__}"
            raise PluginError(met, wanted="a dlconv.plugins.Plugin", mend=mend)
        _check(point.name, plugin, found)
        found[point.name] = plugin
    return found


def _check(name: str, plugin: Plugin, others: Mapping[str, Plugin]) -> None:
    """Names that files and reports are called by are plain, and each is one plugin's."""
    names = [*plugin.runtimes, *(toolchain.name for toolchain in plugin.toolchains)]
    strange = [each for each in names if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", each)]
    known = {*(target for other in others.values() for target in other.runtimes)}
    known |= {toolchain.name for other in others.values() for toolchain in other.toolchains}
    taken = [each for each in names if each in known]
    if strange or taken:
        met = f"the plugin {name} calls something {', '.join(strange or taken)}"
        raise PluginError(met, wanted="names of its own, of small letters, digits and -", mend="mend that package")


def converters() -> tuple[Any, ...]:
    """The edges of all plugins."""
    return tuple(edge for plugin in installed().values() for edge in plugin.converters)


def runtimes() -> dict[str, Any]:
    """The runtimes of all plugins, by target."""
    return {target: runtime for plugin in installed().values() for target, runtime in plugin.runtimes.items()}


def toolchains() -> tuple[Any, ...]:
    """The toolchains of all plugins."""
    return tuple(toolchain for plugin in installed().values() for toolchain in plugin.toolchains)


def validators() -> dict[str, Callable[[Any, Any], Iterable[Any]]]:
    """The validators of all plugins, each by its plugin's name and its own."""
    return {
        f"{name}.{getattr(validator, '__name__', 'validator')}": validator
        for name, plugin in installed().items()
        for validator in plugin.validators
    }
