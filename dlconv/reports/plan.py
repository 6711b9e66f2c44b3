"""A plan as lines for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlconv.planning import Lack, Plan, TargetPlan


def lines(plan: Plan) -> Iterator[str]:
    """The lines, in order: each target with its routes, then what is missing, each thing with its mend."""
    yield f"from {plan.source}"
    for goal in plan.targets:
        yield ""
        yield f"{goal.target}: {goal.why}"
        yield from _routes(goal)
        yield from (f"  {note}" for note in goal.notes)
    lacks: dict[str, Lack] = {}
    for goal in plan.targets:
        for lack in _lacks(goal):
            lacks.setdefault(lack.toolchain, lack)  # told of the first that needs it
    if lacks:
        yield ""
        yield "missing here:"
    for lack in lacks.values():
        yield f"  {lack.toolchain}, for {lack.needed_for}: {lack.problem}"
        yield f"    next: {lack.mend}"


def _routes(goal: TargetPlan) -> Iterator[str]:
    for planned in goal.routes:
        lacking = ", ".join(dict.fromkeys(lack.toolchain for lack in planned.lacks))
        if planned is goal.chosen:
            mark, state = "->", "taken first"
        elif lacking:
            mark, state = "  ", f"lacks {lacking}"
        else:
            mark, state = "  ", f"number {planned.rank}, if those before fail"
            if planned.is_for_halves:
                state = "where the source is in float16 or bfloat16, and those before fail"
        yield f"  {mark} {planned.route}  ({state})"


def _lacks(goal: TargetPlan) -> tuple[Lack, ...]:
    return (*goal.lacks, *(lack for planned in goal.routes for lack in planned.lacks))
