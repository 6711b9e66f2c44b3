"""StableHLO replayed by `jax.lax`: a program becomes a JAX function again, one lax function an operator.

For tracing (a converter that reads JAX's own operators) and for running in float64. Sizes stay sizes: what a program
computes from the sizes of its inputs is computed at tracing, with JAX's symbols where they are free.
"""

# pyright: reportAttributeAccessIssue=false
# Where JAX is not installed, pyright takes jax.py beside this file for it.

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.errors import Unsupported
from dlconv.runtimes.stablehlo_attributes import dtype_of, is_sizes, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dlconv.runtimes.jax_program import Program

Values = list[Any]
"""Values of tensors: JAX's arrays or tracers; NumPy's arrays are known, and those of objects hold sizes."""


def replayed(program: Program, *, double: bool = False) -> Callable[..., tuple[Any, ...]]:
    """A JAX function of the program's flat inputs that gives its flat outputs.

    double: every floating type is float64. The inputs' shapes may be symbolic. Raises Unsupported, when called, for an
    operator that is not replayed, and for one that has no meaning in float64 where that is asked for.
    """
    functions = {text_of(each.attributes["sym_name"]): each for each in program.module.body.operations
                 if each.operation.name == "func.func"}  # fmt: skip
    replay = Replay(functions, double)

    def call(*inputs: Any) -> tuple[Any, ...]:
        exported = program.exported  # the program is kept: its module's operations do not outlive it
        values = [replay.widened(inputs[place]) for place in exported.module_kept_var_idx]
        platform = np.array(exported.platforms.index("cpu"), np.int32)
        main = functions["main"]
        ahead = len(main.arguments) - len(values)
        results = replay.call("main", [*[platform] * ahead, *values])
        return tuple(replay.array(value, kind) for value, kind in zip(results, main.type.results, strict=True))

    return call


@dataclass
class Replay:
    """The walk over functions and regions. functions: by name. double: in float64."""

    functions: dict[str, Any]
    double: bool
    scopes: list[dict[Any, Any]] = field(default_factory=list)

    def call(self, name: str, arguments: Values) -> Values:
        """The results of a function; it sees nothing of its caller."""
        outer, self.scopes = self.scopes, []
        try:
            return self.block(self.functions[name].regions[0].blocks[0], arguments)
        finally:
            self.scopes = outer

    def block(self, block: Any, arguments: Sequence[Any]) -> Values:
        """What a block returns; it sees what is around it."""
        from dlconv.runtimes.stablehlo_operators import OPERATORS

        scope = dict(zip(block.arguments, arguments, strict=True))
        self.scopes.append(scope)
        try:
            for operation in block.operations:
                name = operation.operation.name
                values = [self.value(operand) for operand in operation.operation.operands]
                if name in ("func.return", "stablehlo.return"):
                    return values
                operator = OPERATORS.get(name)
                if operator is None:
                    raise Unsupported(f"the operator {name} is not replayed", mend="another route is tried")
                results = operator(self, operation.operation, values)
                scope.update(zip(operation.operation.results, results, strict=True))
        finally:
            self.scopes.pop()
        return []

    def region(self, operation: Any, place: int = 0) -> Callable[..., Any]:
        """A region as a function for lax: of arrays, one result alone, several as a tuple."""
        block = operation.regions[place].blocks[0]
        kinds = [operand.type for operand in list(block.operations)[-1].operation.operands]
        around = list(self.scopes)

        def body(*arguments: Any) -> Any:
            before, self.scopes = self.scopes, list(around)
            try:
                found = self.block(block, arguments)
                results = [self.array(value, kind) for value, kind in zip(found, kinds, strict=True)]
            finally:
                self.scopes = before
            return results[0] if len(results) == 1 else tuple(results)

        return body

    def value(self, name: Any) -> Any:
        """What an operand stands for here."""
        return next(scope[name] for scope in reversed(self.scopes) if name in scope)

    def arrays(self, operation: Any, values: Values) -> Values:
        """The operation's operands as JAX's."""
        return [self.array(value, operand.type) for value, operand in zip(values, operation.operands, strict=True)]

    def array(self, value: Any, kind: Any) -> Any:
        """The value as JAX's, of a tensor of that type: sizes become numbers computed from the inputs' shapes."""
        if not is_sizes(value):
            return value
        from jax import lax
        from jax._src import core

        # JAX keeps the symbols; as values they are integers.
        whole = dtype_of(kind).type
        flat = [
            whole(size) if isinstance(size, int) else lax.convert_element_type(core.dimension_as_value(size), whole)
            for size in value.ravel()
        ]
        if all(isinstance(size, whole) for size in flat):
            return np.array(flat, whole).reshape(value.shape)
        parts = [lax.reshape(size, (1,)) if not isinstance(size, whole) else np.full(1, size) for size in flat]
        return lax.reshape(lax.concatenate(parts, 0), value.shape)

    def dtype(self, kind: Any) -> Any:
        """The NumPy dtype of a tensor's type, widened where floats are."""
        return self.wide(dtype_of(kind))

    def wide(self, dtype: Any) -> Any:
        """float64 for a floating dtype, if that is asked for; complex and others stay."""
        from jax import numpy as jnp

        return np.dtype(np.float64) if self.double and jnp.issubdtype(dtype, jnp.floating) else dtype

    def widened(self, value: Any) -> Any:
        """The array in the dtype that it has here."""
        from jax import lax

        wide = self.wide(value.dtype)
        return value if wide == value.dtype else lax.convert_element_type(value, wide)
