"""A diagnosis of the machine as lines for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlconv.reports.table import size, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlconv.doctor import Check, Diagnosis


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
    needed, devices = ([check for check in broken if (check.kind == "device") is kind] for kind in (False, True))
    yield ""
    if not needed:
        yield "all works"
    yield from _mends(needed, "cannot work:")
    yield from _mends(devices, "is not used:")


def _mends(broken: list[Check], what: str) -> Iterator[str]:
    """Each mend once, with all that it mends."""
    for mend in dict.fromkeys(check.mend for check in broken):
        concerned = [check for check in broken if check.mend == mend]
        yield f"{', '.join(check.name for check in concerned)} {what}"
        for problem in dict.fromkeys(problem for check in concerned for problem in check.problems):
            yield f"  - {problem}"
        yield f"  next: {mend}"
