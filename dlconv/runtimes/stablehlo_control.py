"""StableHLO's calls, composites, loops and branches in `jax.lax`."""

# pyright: reportAttributeAccessIssue=false
# Where JAX is not installed, pyright takes jax.py beside this file for it.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.errors import Unsupported
from dlconv.runtimes import stablehlo_attributes as told
from dlconv.runtimes.stablehlo_sizes import known_sizes

if TYPE_CHECKING:
    from dlconv.runtimes.stablehlo_replay import Replay, Values

_COMPOSITES = {"chlo.erf": "erf", "chlo.erfc": "erfc", "chlo.erf_inv": "erf_inv", "chlo.square": "square"}
_KEPT_OUT = {"shape_assertion"}
_IDENTITIES = {"Sharding", "annotate_device_placement"}


def call(replay: Replay, operation: Any, values: Values) -> Values:
    """A function of the module."""
    return replay.call(told.text_of(operation.attributes["callee"]), values)


def custom_call(replay: Replay, operation: Any, values: Values) -> Values:
    """A call of what XLA knows by name: nothing for what only checks or places. Raises Unsupported for others."""
    target = told.text_of(operation.attributes["call_target_name"])
    if target in _KEPT_OUT:
        return []
    if target in _IDENTITIES:
        return values
    if target == "stablehlo.dynamic_top_k":
        from jax import lax

        return list(lax.top_k(replay.arrays(operation, values)[0], known_sizes(operation, values[1].reshape(1))[0]))
    raise Unsupported(f"the call of {target} is not replayed", mend="another route is tried")


def composite(replay: Replay, operation: Any, values: Values) -> Values:
    """A composite as the function of lax that it stands for, else as what it is composed of."""
    from jax import lax

    name = told.text_of(operation.attributes["name"])
    arrays = replay.arrays(operation, values)
    if name in _COMPOSITES:
        return [getattr(lax, _COMPOSITES[name])(*arrays)]
    if name == "chlo.top_k":
        return list(lax.top_k(arrays[0], int(operation.attributes["composite_attributes"]["k"].value)))
    return replay.call(told.text_of(operation.attributes["decomposition"]), values)


def loop(replay: Replay, operation: Any, *values: Any) -> Any:
    """A while loop."""
    from jax import lax
    from jax import numpy as jnp

    condition, body = replay.region(operation, 0), replay.region(operation, 1)
    start = tuple(jnp.asarray(value) for value in values)

    def advance(carried: Any) -> Any:
        made = body(*carried)
        return made if isinstance(made, tuple) else (made,)

    return lax.while_loop(lambda carried: condition(*carried), advance, start)


def branch(replay: Replay, operation: Any, values: Values) -> Values:
    """An if or a case; known at tracing, the branch alone."""
    from jax import lax

    [which] = values
    count = len(operation.regions)
    is_condition = operation.name == "stablehlo.if"
    if isinstance(which, np.ndarray) and not told.is_sizes(which):
        place = int(not which) if is_condition else int(which)
        return replay.block(operation.regions[place if 0 <= place < count else count - 1].blocks[0], [])
    [which] = replay.arrays(operation, values)
    branches = [replay.region(operation, place) for place in range(count)]
    if is_condition:
        made = lax.cond(which, branches[0], branches[1])
    else:
        # Out of range takes the last branch, on either side; lax clamps.
        safe = lax.select_n(
            lax.bitwise_or(lax.lt(which, np.int32(0)), lax.ge(which, np.int32(count))), which, np.int32(count - 1)
        )
        made = lax.switch(safe, branches)
    return list(made) if isinstance(made, tuple) else [made]
