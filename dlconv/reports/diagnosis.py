"""A diagnosis of the machine as lines for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlconv.reports.table import size, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlconv.hardware.doctor import Check, Diagnosis


def lines(diagnosis: Diagnosis) -> Iterator[str]:
    """The lines, in order: the machine, what works, and what does not with its mend."""
    machine = diagnosis.machine
    yield f"{machine['processor']}, {machine['cores']} cores, {size(machine['memory_bytes'])}, {machine['system']}"
    yield f"Python {machine['python']} at {machine['interpreter']}"
    yield ""
    rows = [
        (check.kind, check.name, check.standing, check.detail or "; ".join(check.problems[:1]))
        for check in diagnosis.checks
    ]
    yield from table(("kind", "name", "standing", "how"), rows)
    amiss = [check for check in diagnosis.checks if not check.works]
    needed, optional = ([check for check in amiss if check.is_optional is kind] for kind in (False, True))
    yield ""
    if not needed:
        yield "all works" + (", but for what this machine may do without" if optional else "")
    yield from _mends(needed, "cannot work:")
    yield from _mends(optional, "is not here, and not needed:")


def _mends(broken: list[Check], what: str) -> Iterator[str]:
    """Each mend once, with all that it mends."""
    for mend in dict.fromkeys(check.mend for check in broken):
        concerned = [check for check in broken if check.mend == mend]
        yield f"{', '.join(check.name for check in concerned)} {what}"
        for problem in dict.fromkeys(problem for check in concerned for problem in check.problems):
            yield f"  - {problem}"
        yield f"  next: {mend}"
