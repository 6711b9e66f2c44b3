"""A validator: how many units in the last place an output may be away, whatever the model's own noise is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlconv.validators.verdict import Check, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlconv.asked.bars import Bars
    from dlconv.validators.evidence import Evidence

MOST = 10_000.0


def few_ulps(evidence: Evidence, bars: Bars) -> Iterator[Check]:
    """A check for each float output whose distance in units in the last place is known."""
    for output in evidence.outputs:
        if output.max_ulp is None:
            continue
        figures = {"max_ulp": str(output.max_ulp), "most": MOST}
        if output.max_ulp <= MOST:  # written so that a NaN fails
            yield Check("ulps", Verdict("PASS"), output.name, figures)
        else:
            reason = f"{output.name}: {output.max_ulp:g} units in the last place, at most {MOST:g} are wanted"
            yield Check("ulps", Verdict("FAIL", (reason,)), output.name, figures)
