"""An exported JAX program (`jax.export`), opened: its StableHLO module, and names for what it takes and gives."""

# pyright: reportAttributeAccessIssue=false
# Where JAX is not installed, pyright takes jax.py beside this file for it.

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlconv.errors import FormatError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ARGUMENT = re.compile(r"""[A-Za-z_][A-Za-z0-9_]*""")
_QUOTED = re.compile(r'loc\("((?:[^"\\]|\\.)*)"')
_EXPORT = 'jax.export.export(jax.jit(f), platforms=["cpu"])(*examples)'


@dataclass(frozen=True)
class Program:
    """An opened program. inputs and outputs are its leaves' names, in the order of JAX's flattening.

    module is its StableHLO, as MLIR.
    """

    exported: Any
    module: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def call(self, values: list[Any]) -> list[Any]:
        """The outputs for the inputs, both flat and in order."""
        import jax

        args, keywords = jax.tree_util.tree_unflatten(self.exported.in_tree, values)
        return list(jax.tree_util.tree_leaves(self.exported.call(*args, **keywords)))


def open_program(path: Path, *, trust: bool = False) -> Program:
    """The program at `path`, on the CPU and with 64-bit types as the program itself has them.

    Raises FormatError where it cannot be read, Unsupported for a program that cannot run here: other platforms, several
    devices, effects, and calls of foreign code that JAX does not vouch for, which take `trust`.
    """
    import jax

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", True)
    exported = _deserialized(path)
    _refuse_what_cannot_run(exported)
    module = _module_of(exported)
    if not trust:
        _refuse_foreign_calls(module)
    told = list(_told_arguments(exported, module))
    return Program(exported, module, _names(_paths(exported.in_tree), told), _output_names(exported.out_tree))


def _deserialized(path: Path) -> Any:
    from jax import export

    try:
        return export.deserialize(bytearray(path.read_bytes()))
    except ValueError as error:
        if "custom" in str(error) or "namedtuple" in str(error).lower() or "regist" in str(error):
            raise Unsupported(
                f"the program takes or gives a Python type of its own: {_line(error)}",
                wanted="inputs and outputs in tuples, lists and dicts, which the file can hold",
                mend=f"export a function that takes such: {_EXPORT}",
            ) from error
        raise _damaged(path, error) from error
    except Exception as error:  # a damaged FlatBuffer or module raises whatever it likes
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> FormatError:
    return FormatError(
        f"{path.name} cannot be read as an exported JAX program: {_line(error)}",
        wanted="a whole file, of a version of JAX that the toolchain still reads",
        mend=f"export it again: {_EXPORT}.serialize()",
    )


def _line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200] if lines else ''}"


def _refuse_what_cannot_run(exported: Any) -> None:
    mend = f"export it for that: {_EXPORT}"
    if "cpu" not in exported.platforms:
        raise Unsupported(
            f"the program was exported for {', '.join(exported.platforms)} alone",
            wanted="a program for the CPU among others: its answers are the reference",
            mend=mend,
        )
    if exported.nr_devices != 1:
        raise Unsupported(f"the program is for {exported.nr_devices} devices", wanted="one device", mend=mend)
    effects = [str(effect) for effect in (*exported.ordered_effects, *exported.unordered_effects)]
    if effects:
        raise Unsupported(
            f"the program does more than to compute: {', '.join(effects)}", wanted="a pure function", mend=mend
        )


def _refuse_foreign_calls(module: Any) -> None:
    # The list of JAX's own: calls whose meaning it keeps. Others may be given a pointer into the process by the file.
    from jax._src.export import _export

    known: set[str] = _export._CUSTOM_CALL_TARGETS_GUARANTEED_STABLE
    foreign: set[str] = set()
    for operation in operations(module.body.operations):
        if operation.operation.name == "stablehlo.custom_call":
            foreign.add(str(operation.attributes["call_target_name"]).strip('"'))
    if foreign - known:
        raise Unsupported(
            f"the program calls code outside of itself: {', '.join(sorted(foreign - known))}",
            wanted="a program without such calls, or a file that you trust",
            mend="--trust, if you know where it is from",
        )


def _module_of(exported: Any) -> Any:
    """The program's StableHLO as a module of MLIR, in a context of its own."""
    from jax._src.interpreters import mlir
    from jaxlib.mlir.dialects import stablehlo

    with mlir.make_ir_context() as context:
        return stablehlo.deserialize_portable_artifact(context, exported.mlir_module_serialized)


def without_composites(program: Program) -> Program:
    """The same program with each composite (a top k, say) as a call of what it is composed of."""
    from jaxlib.mlir import ir
    from jaxlib.mlir.dialects import func, stablehlo

    module = _module_of(program.exported)
    found = [
        each.operation for each in operations(module.body.operations) if each.operation.name == "stablehlo.composite"
    ]
    if not found:
        return program
    with module.context:
        for composite in found:
            kinds = [result.type for result in composite.results]
            with ir.InsertionPoint(composite), composite.location:
                call = func.CallOp(kinds, composite.attributes["decomposition"], list(composite.operands))
            for before, after in zip(composite.results, call.results, strict=True):
                before.replace_all_uses_with(after)
            composite.erase()
        # As JAX's own export has it.
        version = stablehlo.get_version_from_compatibility_requirement(
            stablehlo.StablehloCompatibilityRequirement.WEEK_4
        )
        content = stablehlo.serialize_portable_artifact(module, version, True)
    exported = replace(program.exported, mlir_module_serialized=content)
    return replace(program, exported=exported, module=module)


def operations(block: Iterable[Any]) -> Iterator[Any]:
    """Every operation of a block and of all regions below, the outer ones first."""
    for operation in block:
        yield operation
        for region in operation.operation.regions:
            for inner in region.blocks:
                yield from operations(inner.operations)


def _told_arguments(exported: Any, module: Any) -> Iterator[tuple[int, str]]:
    """Which flat inputs the module keeps, and what it calls them ("params['w']"; "" where it does not say).

    The functions' arguments bear the parameters' names as locations; with symbolic sizes only those of the wrapped one.
    """
    functions = {str(each.name).strip('"'): each for each in module.body.operations}
    kept = exported.module_kept_var_idx
    named = [""] * len(kept)
    for name in ("main", "_wrapped_jax_export_main"):
        function = functions.get(name)
        if function is None:
            continue
        arguments = list(function.arguments)
        # Platform index, sizes and tokens come first.
        for place, argument in enumerate(arguments[len(arguments) - len(kept) :]):
            found = _QUOTED.match(str(argument.location))
            named[place] = named[place] or (found.group(1) if found else "")
    yield from zip(kept, named, strict=True)


def _paths(tree: Any) -> list[tuple[str, ...]]:
    """The way to each leaf: the position or the keyword of the argument, then keys."""
    import jax

    marked = jax.tree_util.tree_unflatten(tree, list(range(tree.num_leaves)))
    found = jax.tree_util.tree_flatten_with_path(marked)[0]
    return [tuple(_key(step) for step in path) for path, _ in found]


def _key(step: Any) -> str:
    for attribute in ("key", "idx", "name"):
        if hasattr(step, attribute):
            return str(getattr(step, attribute))
    return str(step)


def _names(paths: list[tuple[str, ...]], told: list[tuple[int, str]]) -> tuple[str, ...]:
    """A name a flat input: the argument's as the module tells it, else "arg0", ..., and the keys below it."""
    roots: dict[str, str] = {}
    for place, text in told:
        _, position, *_ = paths[place]
        found = _ARGUMENT.match(text)
        if paths[place][0] == "0" and found:
            roots.setdefault(position, found.group())
    return _unique(
        [
            ".".join((roots.get(position, f"arg{position}") if side == "0" else position, *keys))
            for side, position, *keys in paths
        ]
    )


def _output_names(tree: Any) -> tuple[str, ...]:
    """The keys to each leaf joined by dots; numbers alone are told as outputs: "output", "output_0", "output_1"."""
    paths = _paths(tree)
    names = [".".join(keys) or "output" for keys in paths]
    return _unique([f"output_{name}" if name[0].isdigit() else name for name in names])


def _unique(names: list[str]) -> tuple[str, ...]:
    kept: list[str] = []
    for name in names:
        clean = re.sub(r"[^A-Za-z0-9_.\-]", "_", name)
        number, candidate = 1, clean
        while candidate in kept:
            number += 1
            candidate = f"{clean}_{number}"
        kept.append(candidate)
    return tuple(kept)
