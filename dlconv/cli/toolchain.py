"""`dlconv toolchain`: where the converters and runtimes live: listed, installed, named, removed."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import click

from dlconv.cli.reporting import Reporting, reported
from dlconv.reports.table import size, table

if TYPE_CHECKING:
    from dlconv.workers.toolchains import Toolchain


@click.group()
def toolchain() -> None:
    """List, install and remove managed environments, or name a Python of your own.

    A toolchain is the packages that a converter or a runtime needs. dlconv uses the Python that you named for it
    (`use`), else its own interpreter's where they satisfy it, else an environment of the toolchain's own, made from a
    lock, in the user's data folder or in $DLCONV_HOME/toolchains.
    """


@toolchain.command("list")
@reported
def list_(reporting: Reporting) -> None:
    """Tell where each toolchain is, or what it lacks."""
    from dlconv.workers.install import managed
    from dlconv.workers.toolchains import Missing, every, home, locate

    sizes = {environment.path.name: environment for environment in managed()}
    found = {toolchain.name: locate(toolchain) for toolchain in every()}
    rows: list[tuple[str, str, str]] = []
    for each in every():
        where = found[each.name]
        if isinstance(where, Missing):
            rows.append((each.name, "missing", f"{each.purpose}; to install: {where.mend}"))
        else:
            versions = ", ".join(f"{name} {version}" for name, version in where.versions.items())
            rows.append((each.name, where.origin, versions))
    reporting.say("\n".join(table(("toolchain", "where", "what"), rows)))
    for environment in sizes.values():
        state = "in use" if environment.is_current else "of another lock" if environment.is_whole else "not whole"
        reporting.say(f"{environment.path}: {size(environment.size_bytes)}, {state}")
    reporting.answer(
        {
            "home": str(home()),
            "toolchains": [_told(each, found[each.name]) for each in every()],
            "managed": [{**vars(environment), "path": str(environment.path)} for environment in sizes.values()],
        }
    )


@toolchain.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@reported
def install(reporting: Reporting, names: tuple[str, ...]) -> None:
    """Make the managed environment of each NAME, from its lock."""
    from dlconv.workers import toolchains
    from dlconv.workers.install import install as make

    wanted = [toolchains.get(name) for name in names]
    told: list[dict[str, Any]] = []
    for each in wanted:
        reporting.say(f"installing {each.name}: {each.purpose}")
        located = make(each, functools.partial(reporting.say, level=1))
        reporting.say(f"{each.name} is at {located.interpreter}")
        told.append(_told(each, located))
    reporting.answer({"toolchains": told})


@toolchain.command()
@click.argument("name")
@click.argument("python")
@reported
def use(reporting: Reporting, name: str, python: str) -> None:
    """Let PYTHON, an interpreter that has the packages of NAME, serve it: before dlconv's own and managed ones.

    For packages that are not to be had elsewhere: a TensorRT or tflite-runtime that came with the system. `remove`
    ends it, and leaves the interpreter as it is.
    """
    from dlconv.workers import toolchains
    from dlconv.workers.install import use as adopt

    each = toolchains.get(name)
    located = adopt(each, python)
    versions = ", ".join(f"{package} {version}" for package, version in located.versions.items())
    reporting.say(f"{name} is served by {located.interpreter}: {versions}")
    reporting.answer({"toolchains": [_told(each, located)]})


@toolchain.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@reported
def remove(reporting: Reporting, names: tuple[str, ...]) -> None:
    """Remove the managed environments of each NAME, older ones too; forget the Python that was named for it."""
    from dlconv.workers import toolchains
    from dlconv.workers.install import remove as discard

    for name in names:
        toolchains.get(name)
    freed = {name: discard(name, reporting.say) for name in names}
    for name, freed_bytes in freed.items():
        reporting.say(
            f"removed {name}: freed {size(freed_bytes)}" if freed_bytes else f"{name} had no managed environment"
        )
    reporting.answer({"freed_bytes": freed})


def _told(each: Toolchain, where: Any) -> dict[str, Any]:
    """A toolchain and its place, as data."""
    is_here = not hasattr(where, "problems")
    return {
        "name": each.name,
        "purpose": each.purpose,
        "requirements": list(each.requirements),
        "is_here": is_here,
        "origin": where.origin if is_here else None,
        "interpreter": str(where.interpreter) if is_here else None,
        "versions": where.versions if is_here else {},
        "problems": [] if is_here else list(where.problems),
        "mend": "" if is_here else where.mend,
    }
