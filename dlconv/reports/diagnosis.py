"""A diagnosis of the machine as lines for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlconv.reports.table import size, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlconv.doctor import Diagnosis


def lines(diagnosis: Diagnosis) -> Iterator[str]:
    """The lines, in order: the machine, what works, and what does not with its mend."""
    machine = diagnosis.machine
    yield f"{machine['processor']}, {machine['cores']} cores, {size(machine['memory_bytes'])}, {machine['system']}"
    yield f"Python {machine['python']} at {machine['interpreter']}"
    yield ""
    rows = [
        (check.kind, check.name, "works" if check.works else "no", check.detail or "; ".join(check.problems[:1]))
        for check in diagnosis.checks
    ]
    yield from table(("kind", "name", "works", "how"), rows)
    broken = [check for check in diagnosis.checks if not check.works]
    mends = dict.fromkeys(check.mend for check in broken)
    yield ""
    if not broken:
        yield "all works"
        return
    for mend in mends:
        concerned = [check for check in broken if check.mend == mend]
        yield f"{', '.join(check.name for check in concerned)} cannot work:"
        for problem in dict.fromkeys(problem for check in concerned for problem in check.problems):
            yield f"  - {problem}"
        yield f"  next: {mend}"
